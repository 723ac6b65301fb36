"""What goes wrong with three nodes in one run: faults and their figures, drawn from the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from logd.metadata import PartitionImage
from logd.model.ids import NO_NODE, TopicPartitionId
from logd.testing.clock import SimClock
from logd.testing.disk import DiskLatency
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.process import SimProcess
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.coverage import Sometimes
from tests.sim.older_disk import roll_back
from tests.sim.replicas.damage import damage_one
from tests.sim.replicas.operator import Operator

FAULTS = (
    "power_loss",
    "kill",
    "kill_leader",
    "all_lose_power",
    "stop",
    "isolate",
    "cut_one_way",
    "reset",
    "stall",
    "full_disk",
    "failed_sync",
    "slow_disk",
    "older_disk",
    "damage",
    "reassign",
    "drain",
    "transfer",
)
CAPACITY = 1 << 40
#: Longer than `node.session_ms` and the news of it take.
FENCED_MS = 2_500


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures of one seed. Times in seconds unless they say otherwise."""

    faults: tuple[str, ...]
    pause_mean: float
    link: LinkProfile
    latency: DiskLatency
    restart_max: float
    segment_bytes: int
    producers: int
    consumers: int


def draw_plan(rng: SimRng) -> Plan:
    """Each fault is in with a chance of a half, so that seeds differ in kind."""
    return Plan(
        faults=tuple(name for name in FAULTS if rng.chance(0.5)),
        pause_mean=rng.choice((0.5, 1.0, 2.5)),
        link=LinkProfile(
            delay_ms_mean=rng.uniform(3, 15) if rng.chance(0.3) else rng.uniform(0.1, 2),
            window_bytes=rng.choice((4_000, 65_536)),
        ),
        latency=DiskLatency(write_ms=0.05, sync_ms=rng.uniform(0.2, 8)),
        restart_max=rng.choice((0.05, 0.5, 3.0)),
        segment_bytes=rng.choice((2048, 16_384)),
        producers=rng.randint(1, 3),
        consumers=rng.randint(1, 2),
    )


class Nemesis:
    """Does one fault after the other, until it is told to heal."""

    def __init__(
        self,
        plan: Plan,
        *,
        rng: SimRng,
        trace: Trace,
        processes: Mapping[int, SimProcess],
        network: SimNetwork,
        clock: SimClock,
        sometimes: Sometimes,
        operator: Operator | None = None,
    ) -> None:
        self._plan = plan
        self._rng = rng
        self._trace = trace
        self._processes = processes
        self._network = network
        self._clock = clock
        self._sometimes = sometimes
        #: None: nobody draws what an operator does.
        self._operator = operator
        #: Copies with damage, by node and partition, until they were made anew.
        self.damaged: dict[tuple[int, TopicPartitionId], None] = {}
        #: (client, address) pairs that do not reach each other, by their ends.
        self._cut: dict[tuple[str, str], None] = {}
        #: Nodes that must not start again yet.
        self._held: dict[str, asyncio.Event] = {}
        self.injected = 0

    async def run(self) -> None:
        """Never returns."""
        while True:
            pause = self._rng.exponential(self._plan.pause_mean, 6.0)
            await self._clock.sleep_ms(1000 * pause)
            if not self._plan.faults:
                continue
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
        self._cut.clear()
        self._network.partition(None)
        for process in self._processes.values():
            process.files.capacity = CAPACITY
            process.files.sync_fails = None
            process.set_latency(self._plan.latency)

    # --- nodes -------------------------------------------------------------------------------

    def _one(self) -> SimProcess:
        return self._processes[self._rng.choice(tuple(self._processes))]

    def _kill(self) -> None:
        self._crash(self._one(), power_loss=False)

    def _power_loss(self) -> None:
        self._crash(self._one(), power_loss=True)

    def _kill_leader(self) -> None:
        """Kill whoever leads most."""

        def led(process: SimProcess) -> int:
            if not process.up:
                return -1
            return sum(each.is_led_here for each in process.node._partitions.all())

        self._crash(max(self._processes.values(), key=led), power_loss=self._rng.chance(0.5))

    def _crash(self, process: SimProcess, *, power_loss: bool) -> None:
        self._sometimes("power loss" if power_loss else "process killed")
        process.crash(power_loss=power_loss)

    def _all_lose_power(self) -> None:
        self._sometimes("all nodes lost power")
        for process in self._processes.values():
            process.crash(power_loss=True)

    async def _stop(self) -> None:
        process = self._one()
        if process.up:
            # A process that was asked to stop goes on stopping when the faults are over.
            await asyncio.shield(process.loop.create_task(process.stop(), name="sigterm"))
            self._sometimes("clean stop")

    async def wait_released(self, process: SimProcess) -> None:
        """Return once a node may start again."""
        held = self._held.get(process.name)
        if held is not None:
            await held.wait()

    async def _older_disk(self) -> None:
        """A node comes back with the partitions of a while ago, when nobody counts on it."""
        process = self._one()
        if not process.up:
            return
        old = process.files.synced()
        await self._clock.sleep_ms(self._rng.uniform(500, 4000))
        held = self._held[process.name] = asyncio.Event()
        try:
            process.crash(power_loss=True)
            await self._clock.sleep_ms(FENCED_MS)
            for _ in range(20):
                if self._is_spared(process):
                    self._sometimes("older disk")
                    roll_back(process.files, old)
                    return
                await self._clock.sleep_ms(100)
        finally:
            del self._held[process.name]
            held.set()

    async def _damage(self) -> None:
        """A node that goes down comes back with bad bytes, where others in sync have good ones."""
        process = self._one()
        if not process.up:
            return
        candidates = self._held_elsewhere(process)
        self._crash(process, power_loss=self._rng.chance(0.5))
        key = damage_one(process.files, candidates, self._rng)
        if key is not None:
            self._trace(f"damage {process.name} {key}")
            self._sometimes("stored range damaged")
            self.damaged[process.config.node.id, key] = None

    def _held_elsewhere(self, process: SimProcess) -> list[TopicPartitionId]:
        """Partitions in sync on this node and on another one, of which no copy is damaged."""
        states, node_id = self._states(), process.config.node.id
        damaged = {key for _, key in self.damaged}
        return [
            found.id
            for found in process.node._partitions.all()
            if not found.config.compacts
            and found.id not in damaged
            and node_id in (isr := states[found.id].isr)
            and len(isr) > 1
        ]

    def _states(self) -> dict[TopicPartitionId, PartitionImage]:
        """What is known last of each partition, by the nodes that are up."""
        states: dict[TopicPartitionId, PartitionImage] = {}
        for other in self._processes.values():
            for found in other.node._partitions.all() if other.up else ():
                known = states.setdefault(found.id, found.state)
                states[found.id] = max(known, found.state, key=age_of)
        return states

    def _is_spared(self, process: SimProcess) -> bool:
        """Whether every partition is led, and none counts on what this node has."""
        states, node_id = self._states(), process.config.node.id
        return len(states) > 0 and all(
            state.leader_id != NO_NODE and node_id not in (*state.isr, *state.eligible)
            for state in states.values()
        )

    # --- the operator ------------------------------------------------------------------------

    def _reassign(self) -> None:
        assert self._operator is not None
        self._operator.reassign()

    def _drain(self) -> None:
        assert self._operator is not None
        self._operator.drain()

    def _transfer(self) -> None:
        assert self._operator is not None
        self._operator.transfer()

    # --- the network -------------------------------------------------------------------------

    async def _isolate(self) -> None:
        """One node reaches no other, and none reaches it; clients do."""
        self._sometimes("node cut off")
        one = self._one()
        others = [each for each in self._processes.values() if each is not one]
        await self._apart(
            [(one.name, each.peer_address) for each in others]
            + [(each.name, one.peer_address) for each in others]
        )

    async def _cut_one_way(self) -> None:
        """One node's connections to another do not get through; those from there do."""
        self._sometimes("one way cut")
        one, other = self._one(), self._one()
        if one is not other:
            await self._apart([(one.name, other.peer_address)])

    async def _apart(self, pairs: list[tuple[str, str]], longest_ms: float = 4000) -> None:
        for pair in pairs:
            self._cut[pair] = None
        self._network.partition(lambda client, address: (client, address) in self._cut)
        await self._clock.sleep_ms(self._rng.uniform(100, longest_ms))
        for pair in pairs:
            self._cut.pop(pair, None)
        self._network.partition(lambda client, address: (client, address) in self._cut)

    def _reset(self) -> None:
        connections = self._network.connections()
        if connections:
            self._rng.choice(connections).reset("reset by the network")

    def _stall(self) -> None:
        connections = self._network.connections()
        if connections:
            self._rng.choice(connections).stall(self._rng.uniform(0.1, 4.0))

    # --- disks -------------------------------------------------------------------------------

    async def _full_disk(self) -> None:
        files = self._one().files
        files.capacity = files.capacity - files.free_bytes() + self._rng.randrange(4096)
        self._sometimes("disk full")
        await self._clock.sleep_ms(self._rng.uniform(100, 3000))
        files.capacity = CAPACITY

    def _failed_sync(self) -> None:
        process = self._one()
        incarnation = process.incarnation

        def fails(_path: str) -> bool:
            if not process.up or process.incarnation != incarnation:
                return False
            process.files.sync_fails = None
            self._sometimes("fsync failed")
            return True

        process.files.sync_fails = fails

    async def _slow_disk(self) -> None:
        process = self._one()
        self._sometimes("slow disk")
        process.set_latency(DiskLatency(write_ms=1.0, sync_ms=self._rng.uniform(50, 900)))
        await self._clock.sleep_ms(self._rng.uniform(200, 3000))
        process.set_latency(self._plan.latency)


def age_of(state: PartitionImage) -> tuple[int, int]:
    """Larger: known later."""
    return state.leader_epoch, state.partition_epoch
