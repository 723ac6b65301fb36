"""What goes wrong in one run: a subset of faults and their figures, drawn from the seed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from logd.testing.clock import SimClock
from logd.testing.disk import CrashError, DiskLatency
from logd.testing.loop import VirtualLoop
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.process import SimProcess
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.coverage import Sometimes
from tests.sim.watch import Watch

FAULTS = (
    "power_loss",
    "kill",
    "crash_at_operation",
    "stop",
    "full_disk",
    "failed_sync",
    "failed_write",
    "short_writes",
    "reset",
    "reset_before_ack",
    "stall",
    "wall_jump",
)

#: Operations among which the one is drawn at which a process crashes.
CRASH_WITHIN_OPERATIONS = 150
CAPACITY = 1 << 40


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures of one seed. Times in seconds unless they say otherwise."""

    faults: tuple[str, ...]
    pause_mean: float
    link: LinkProfile
    latency: DiskLatency
    restart_max: float
    free_bytes_min: int
    segment_bytes: int
    producers: int
    consumers: int


def draw_plan(rng: SimRng) -> Plan:
    """Each fault is in with a chance of a half, so that seeds differ in kind."""
    faults = tuple(name for name in FAULTS if rng.chance(0.5))
    slow_net, slow_disk = rng.chance(0.3), rng.chance(0.3)
    return Plan(
        faults=faults,
        pause_mean=rng.choice((0.3, 0.6, 1.2)),
        link=LinkProfile(
            delay_ms_mean=rng.uniform(10, 60) if slow_net else rng.uniform(0.1, 2),
            window_bytes=rng.choice((2_000, 65_536)),
        ),
        latency=DiskLatency(
            write_ms=2.0 if slow_disk else 0.05, sync_ms=rng.uniform(5, 30) if slow_disk else 0.5
        ),
        restart_max=rng.choice((0.02, 0.2, 0.6)),
        free_bytes_min=rng.choice((0, 16 * 1024)),
        segment_bytes=rng.choice((1024, 4096, 65_536)),
        producers=rng.randint(1, 3),
        consumers=rng.randint(1, 2),
    )


class Nemesis:
    """Does one fault after the other, until it is told to heal."""

    def __init__(
        self,
        plan: Plan,
        *,
        loop: VirtualLoop,
        rng: SimRng,
        trace: Trace,
        process: SimProcess,
        network: SimNetwork,
        clock: SimClock,
        watch: Watch,
        sometimes: Sometimes,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._rng = rng
        self._trace = trace
        self._process = process
        self._network = network
        self._clock = clock
        self._watch = watch
        self._sometimes = sometimes
        self._crash_in = -1
        self._write_error = ""
        self._sync_error = False
        self._clock_is_kept = False
        process.on_file_operation = self._on_file_operation
        process.files.sync_fails = self._on_sync
        self.injected = 0

    async def run(self) -> None:
        """Never returns."""
        if not self._plan.faults:
            await self._clock.sleep_ms(1e9)
        while True:
            pause = self._rng.exponential(self._plan.pause_mean, 5.0)
            await self._clock.sleep_ms(1000 * pause)
            name = self._rng.choice(self._plan.faults)
            self._trace(f"fault {name}")
            self.injected += 1
            act: Callable[[], object] = getattr(self, f"_{name}")
            outcome = act()
            if outcome is not None:
                assert hasattr(outcome, "__await__")
                await outcome

    def heal(self) -> None:
        """Take back what lasts."""
        self._trace("heal")
        files = self._process.files
        files.capacity = CAPACITY
        files.write_limit = None
        files.sync_fails = None
        self._process.on_file_operation = self._observe
        self._watch.cut_acks = 0

    # --- what happens at file operations -----------------------------------------------------

    def _observe(self, operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".log") and path.startswith("partitions/"):
            if not path.endswith(f"{0:020}.log"):
                self._sometimes("segment rolled")
        elif operation == "rename" and path == "clock.tmp":
            self._clock_is_kept = True
        elif operation == "rename" and path == "ledger.tmp" and self._process.up:
            self._sometimes("ledger compaction")
        elif operation == "rename" and path.startswith("partitions/") and path.count("/") == 1:
            self._sometimes("quarantine")

    def _on_file_operation(self, operation: str, path: str) -> None:
        self._observe(operation, path)
        if self._crash_in >= 0:
            self._crash_in -= 1
            if self._crash_in < 0:
                self._sometimes("crash at a file operation")
                if not self._process.up:
                    self._sometimes("crash while starting")
                elif path.endswith((".cleaned", ".swap", "/cleaned.tmp")):
                    self._sometimes("crash in a cleaning")
                raise CrashError(f"at {operation} {path}")
        if self._write_error and operation == "pwrite" and self._process.up:
            kind, self._write_error = self._write_error, ""
            self._sometimes("write failed")
            if path.endswith(".log"):
                self._note_failure(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), kind)

    def _on_sync(self, path: str) -> bool:
        if not (self._sync_error and self._process.up):
            return False
        self._sync_error = False
        self._trace(f"sync of {path} fails")
        self._sometimes("fsync failed")
        self._note_failure(path)
        return True

    def _note_failure(self, path: str) -> None:
        if path.endswith(".cleaned"):
            # Nobody uses it yet: the pass is given up, and the node goes on.
            return
        directory = path.rpartition("/")[0]
        self._watch.failed_paths.add((self._process.incarnation, directory))

    # --- the faults --------------------------------------------------------------------------

    def _power_loss(self) -> None:
        self._sometimes("power loss")
        self._process.crash(power_loss=True)

    def _kill(self) -> None:
        self._sometimes("process killed")
        self._process.crash(power_loss=False)

    def _crash_at_operation(self) -> None:
        self._process.power_loss = self._rng.chance(0.7)
        self._crash_in = self._rng.randrange(CRASH_WITHIN_OPERATIONS)

    async def _stop(self) -> None:
        if self._process.up:
            # A process that was asked to stop goes on stopping when the faults are over.
            await asyncio.shield(self._loop.create_task(self._process.stop(), name="sigterm"))
            self._sometimes("stopped cleanly")
            if self._rng.chance(0.3):
                self._process.files.crash(self._rng)

    async def _full_disk(self) -> None:
        files = self._process.files
        used = files.capacity - files.free_bytes()
        files.capacity = used + self._plan.free_bytes_min + self._rng.randrange(4096)
        await self._clock.sleep_ms(self._rng.uniform(100, 2000))
        files.capacity = CAPACITY
        self._trace("disk freed")

    def _failed_sync(self) -> None:
        self._sync_error = True

    def _failed_write(self) -> None:
        self._write_error = "injected"

    async def _short_writes(self) -> None:
        def limit(path: str, size: int) -> int:
            if size > 1 and self._rng.chance(0.3):
                self._sometimes("short write")
                return self._rng.randrange(1, size)
            return size

        self._process.files.write_limit = limit
        await self._clock.sleep_ms(self._rng.uniform(100, 1000))
        self._process.files.write_limit = None

    def _reset(self) -> None:
        connections = self._network.connections()
        if connections:
            self._rng.choice(connections).reset("reset by the network")

    def _reset_before_ack(self) -> None:
        self._watch.cut_acks = self._rng.randint(1, 3)

    def _stall(self) -> None:
        connections = self._network.connections()
        if connections:
            self._rng.choice(connections).stall(self._rng.uniform(0.1, 3.0))

    async def _wall_jump(self) -> None:
        """Jump, and be set right again a little later: by then batches were refused as coming
        from the future, and what depends on the wall clock may have been taken for old.

        Not before the node has written down what time it was: one that begins with a wrong clock
        keeps records longer."""
        if not self._clock_is_kept:
            return
        self._sometimes("wall clock jumped")
        jump_ms = 60_000 * self._rng.choice((-120, -1, 1, 30, 60 * 24 * 365))
        self._clock.jump_wall(jump_ms)
        await self._clock.sleep_ms(self._rng.uniform(50, 1000))
        self._clock.jump_wall(-jump_ms)
