"""One seed: the real node and the real client engines, faults, healing, a full drain, a verdict.

0 s            PHASE_S                                  at most DRAIN_S later
| faults ...   | heal, producers flush, consumers drain | log read from the files | verdict
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TextIO, TypeVar

from logd_wire import decode_batch, iter_headers

from logd.model.node_config import load_node_config
from logd.storage import ledger
from logd.storage.memory_files import MemoryFiles
from logd.testing.clock import SimClock
from logd.testing.loop import VirtualLoop, describe_tasks
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.process import ProcessDiedError, SimProcess
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.admins import AdminWorker, create_topics
from tests.sim.checker import check
from tests.sim.consumers import ConsumerWorker, drain
from tests.sim.coverage import Sometimes
from tests.sim.faults import Nemesis, Plan, draw_plan
from tests.sim.history import Seen
from tests.sim.keyed import KeyedWorker
from tests.sim.producers import ProducerWorker
from tests.sim.retained import RetainedWorker
from tests.sim.rot import rot
from tests.sim.scratch import ScratchWorker
from tests.sim.silence import silenced
from tests.sim.values import digest_of, name_of
from tests.sim.watch import Watch, read_segments
from tests.sim.world import World

T = TypeVar("T")

ADDRESS = "node:7171"
#: Virtual seconds of faults.
PHASE_S = 12.0
#: Virtual seconds within which everything must end after the faults.
DRAIN_S = 60.0
#: A run that loses or refuses nearly everything proves nothing.
ACKS_MIN = 10
#: Share of acknowledgements held against a power loss at their moment.
ACK_SAMPLE = 0.15
#: So that the ledger is rewritten while the node runs.
LEDGER_STALE_LINES_MAX = 40


@dataclass(slots=True)
class Outcome:
    """`problems` is empty when the seed passed."""

    seed: int
    digest: str
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    acks: int = 0
    checked_acks: int = 0
    faults: int = 0
    restarts: int = 0
    virtual_s: float = 0.0
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        state = "ok" if not self.problems else "FAILED"
        return (
            f"seed {self.seed}: {state}, {self.acks} acks ({self.checked_acks} checked), "
            f"{self.faults} faults, {self.restarts} starts, {self.virtual_s:.0f} virtual s, "
            f"trace {self.digest[:16]}"
        )


class Simulation:
    """Everything of one seed."""

    def __init__(
        self, seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()
    ) -> None:
        self.seed = seed
        self.rng = SimRng(f"seed/{seed}")
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop.time, sink=sink)
        self.sometimes = Sometimes()
        self.plan = draw_plan(self.rng.child("plan"))
        if faults:
            self.plan = replace(self.plan, faults=faults)
        self.trace(f"plan {self.plan}")
        self.network = SimNetwork(
            self.loop, self.rng.child("network"), self.trace, link=self.plan.link
        )
        self.node_clock = SimClock(self.loop)
        self.world = World(
            loop=self.loop,
            rng=self.rng.child("world"),
            trace=self.trace,
            network=self.network,
            client_clock=SimClock(self.loop),
            bootstrap=(ADDRESS,),
            sometimes=self.sometimes,
        )
        self.process = self._make_process(self.plan)
        self.watch = Watch(
            self.process,
            self.rng.child("watch"),
            self.sometimes,
            self.world.floor,
            sample=ACK_SAMPLE,
        )
        self.network.interceptor = self.watch
        self.nemesis = Nemesis(
            self.plan,
            loop=self.loop,
            rng=self.rng.child("nemesis"),
            trace=self.trace,
            process=self.process,
            network=self.network,
            clock=self.node_clock,
            watch=self.watch,
            sometimes=self.sometimes,
        )
        self.problems = self.world.problems
        self._rotting = False

    def _make_process(self, plan: Plan) -> SimProcess:
        config, entries = load_node_config(
            flags={
                "listeners.grpc": ADDRESS,
                "disk.free_bytes_min": str(plan.free_bytes_min),
                "retention.check.interval.ms": "1000",
                "log.cleaner.backoff.ms": "300",
                "log.cleaner.dedupe.buffer.size": "64KiB",
            }
        )
        return SimProcess(
            loop=self.loop,
            network=self.network,
            files=MemoryFiles(),
            clock=self.node_clock,
            rng=self.rng.child("process"),
            trace=self.trace,
            config=config,
            config_entries=entries,
            latency=plan.latency,
        )

    def run(self) -> Outcome:
        """Run to the end; whatever goes wrong is in the outcome's `problems`."""
        try:
            self.loop.run(self._main(), limit_s=PHASE_S + 6 * DRAIN_S)
            self._judge()
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        outcome = Outcome(
            self.seed,
            self.trace.digest(),
            self.problems,
            self.sometimes.counts,
            self.watch.acks,
            self.watch.checked,
            self.nemesis.injected,
            self.process.incarnation,
            self.loop.time(),
            self.trace.tail(),
        )
        self.loop.finish()
        # What nobody asked a future for comes to light when it is collected.
        gc.collect()
        outcome.problems.extend(self.loop.failures)
        return outcome

    async def _main(self) -> None:
        world, loop = self.world, self.loop
        supervisor = loop.create_task(self._supervise(), name="supervisor")
        await self._within("topics are made", create_topics(world, self.plan))
        workers = [ProducerWorker(world, f"p{n}") for n in range(self.plan.producers)]
        producing = [loop.create_task(each.run(), name="producer") for each in workers]
        readers = [ConsumerWorker(world, f"c{n}") for n in range(self.plan.consumers)]
        reading = [loop.create_task(each.run(), name="consumer") for each in readers]
        reading.append(loop.create_task(AdminWorker(world, "a0").run(), name="admin"))
        keyed = KeyedWorker(world)
        producing.append(loop.create_task(keyed.run(), name="keyed"))
        retained = RetainedWorker(world)
        producing.append(loop.create_task(retained.run(), name="retained"))
        scratch = ScratchWorker(world)
        reading.append(loop.create_task(scratch.run(), name="scratch"))
        nemesis = loop.create_task(self.nemesis.run(), name="nemesis")
        await world.client_clock.sleep_ms(PHASE_S * 1000)
        nemesis.cancel()
        self._heal()
        world.producing = False
        await self._within("producers end", asyncio.gather(*producing))
        world.consuming = False
        await self._within("consumers end", asyncio.gather(*reading))
        await self._within("everything is read", drain(world))
        await self._within("topics are described", scratch.check())
        await self._within("keys are read", keyed.check())
        await self._within("what is old goes", retained.check())
        self._note_cleaning()
        self._read_log()
        self._rotting = True
        self.problems += await self._within("what is left is read", rot(world, self.process))
        supervisor.cancel()
        await self.process.stop()

    async def _within(self, what: str, work: Awaitable[T]) -> T:
        """Wait for `work`; when it hangs say where, which `asyncio.timeout` would not."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=DRAIN_S)
        if not done:
            hanging = describe_tasks(self.loop)
            raise AssertionError(f"not within {DRAIN_S:g} virtual s: {what}\n{hanging}")
        return await task

    def _heal(self) -> None:
        self.nemesis.heal()
        self.node_clock.jump_wall(self.world.client_clock.wall_ms() - self.node_clock.wall_ms())
        self.network.link = LinkProfile()

    async def _supervise(self) -> None:
        """Start the node, and again whenever it has ended."""
        rng = self.rng.child("supervisor")
        while True:
            try:
                await self.process.start()
                self._note_recovery()
                reason = await self.process.wait_ended()
                self._note_cleaning()
                self.trace(f"supervisor: {reason}")
            except ProcessDiedError as error:
                self.trace(f"supervisor: {error}")
            await asyncio.sleep(0.005 + rng.random() * self.plan.restart_max)

    def _note_cleaning(self) -> None:
        cleaner = self.process.node._cleaner
        if cleaner.passes:
            self.sometimes("log compacted")
        self.trace(f"cleaner {cleaner.passes} {cleaner.bytes_before} {cleaner.bytes_after}")

    def _note_recovery(self) -> None:
        """Look at what the logs of a node that has just started had to be cured of."""
        for partition in self.process.node._partitions.all():
            report = partition.log.recovery
            self.trace(f"recovery {partition.name} {report}")
            if report.cut_bytes:
                self.sometimes("torn tail repaired")
            if report.copied_bytes:
                self.sometimes("tail beyond the ledger recovered")
            if report.damage and not self._rotting:
                self.problems.append(f"damage in {partition.name}: {report.damage}")

    def _read_log(self) -> None:
        files = self.process.files
        hook, files.before = files.before, None
        for topic in self.world.topics:
            for partition in range(topic.partitions):
                seen = []
                for data in read_segments(files, topic.topic_id, partition):
                    for position, _ in iter_headers(data):
                        for record in decode_batch(data, position):
                            name, digest = name_of(record.value), digest_of(record.value)
                            seen.append(Seen(record.offset, name, digest))
                self.world.history.log[f"{topic.name}/{partition}"] = seen
        files.before = hook

    def _judge(self) -> None:
        verdict = check(self.world.history)
        if not verdict.valid:
            self.problems.append(str(verdict))
        self.problems.extend(self.watch.violations[:8])
        self.problems.extend(self.network.failures[:8])
        if self.watch.acks < ACKS_MIN:
            self.problems.append(f"void: only {self.watch.acks} acknowledgements")


def run_seed(seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()) -> Outcome:
    """Run one seed from nothing; `faults` takes the place of those drawn."""
    with silenced(), small_ledger():
        return Simulation(seed, sink=sink, faults=faults).run()


@contextmanager
def small_ledger() -> Iterator[None]:
    """A small bound, so that the rewrite of the ledger under load is met."""
    before = vars(ledger)["_STALE_LINES_MAX"]
    vars(ledger)["_STALE_LINES_MAX"] = LEDGER_STALE_LINES_MAX
    try:
        yield
    finally:
        vars(ledger)["_STALE_LINES_MAX"] = before
