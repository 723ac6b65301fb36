"""One seed of three nodes: the real nodes, the real client engines, faults, healing, a verdict.

0 s            PHASE_S                                        at most DRAIN_S later
| faults ...   | heal, all in sync, producers and consumers end | logs of all nodes read | verdict

In the end every replica of a partition holds the same bytes, and they are what was acknowledged.
Copies of a compacted topic are judged all the time (`copies`), and need not be equal in bytes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable
from dataclasses import replace
from typing import TextIO, TypeVar

from logd_wire import decode_batch, iter_headers

from logd.runtime.partition import Partition
from logd.testing.clock import SimClock
from logd.testing.cluster import address_of
from logd.testing.loop import VirtualLoop
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.checker import check
from tests.sim.consumers import ConsumerWorker, drain
from tests.sim.coverage import Sometimes
from tests.sim.history import Seen
from tests.sim.keyed import KeyedWorker
from tests.sim.nodes import Nodes
from tests.sim.producers import ProducerWorker
from tests.sim.replicas.changes import Changes
from tests.sim.replicas.copies import KeyedCopies
from tests.sim.replicas.coverage import RARE, STATES
from tests.sim.replicas.faults import Nemesis, draw_plan
from tests.sim.replicas.operator import Operator
from tests.sim.replicas.watch import MIN_ISR, ReplicaWatch
from tests.sim.silence import silenced
from tests.sim.simulation import Outcome
from tests.sim.values import digest_of, name_of
from tests.sim.watch import read_segments
from tests.sim.world import World

T = TypeVar("T")

NODES = (1, 2, 3)
#: Virtual seconds of faults.
PHASE_S = 20.0
#: Virtual seconds within which everything must end after the faults.
DRAIN_S = 90.0
#: A run that loses or refuses nearly everything proves nothing.
ACKS_MIN = 5
TOPICS = {"orders": 2, "events": 1}
#: A pass is due soon, and needs several readings for a map so small.
CLEANER = {"log.cleaner.backoff.ms": "300", "log.cleaner.dedupe.buffer.size": "64KiB"}


class ReplicaSimulation:
    """Everything of one seed."""

    def __init__(
        self, seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()
    ) -> None:
        self.seed = seed
        self.rng = SimRng(f"replicas/{seed}")
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop.time, sink=sink)
        self.sometimes = Sometimes(STATES, RARE)
        self.plan = draw_plan(self.rng.child("plan"))
        if faults:
            self.plan = replace(self.plan, faults=faults)
        self.trace(f"plan {self.plan}")
        self.network = SimNetwork(
            self.loop, self.rng.child("network"), self.trace, link=self.plan.link
        )
        self.clock = SimClock(self.loop)
        self.world = World(
            loop=self.loop,
            rng=self.rng.child("world"),
            trace=self.trace,
            network=self.network,
            client_clock=SimClock(self.loop),
            bootstrap=tuple(map(address_of, NODES)),
            sometimes=self.sometimes,
            replicated=True,
        )
        self.nodes = Nodes(
            NODES,
            self.world,
            self.clock,
            self.rng,
            latency=self.plan.latency,
            restart_max=self.plan.restart_max,
            config=CLEANER,
            may_be_damaged=lambda node_id, found: (node_id, found.id) in self.nemesis.damaged,
        )
        self.processes = self.nodes.processes
        self.operator = Operator(self.world, self.rng.child("operator"), NODES)
        self.nemesis = Nemesis(
            self.plan,
            rng=self.rng.child("nemesis"),
            trace=self.trace,
            processes=self.processes,
            network=self.network,
            clock=self.clock,
            sometimes=self.sometimes,
            operator=self.operator,
        )
        self.watch = ReplicaWatch(
            self.processes, self.sometimes, self.loop.time, damaged=self.nemesis.damaged
        )
        self.network.interceptor = self.watch
        self.changes = Changes(self.sometimes)
        self.problems = self.world.problems

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
            sum(process.incarnation for process in self.processes.values()),
            self.loop.time(),
            self.trace.tail(),
        )
        self.loop.finish()
        gc.collect()
        outcome.problems.extend(self.loop.failures)
        return outcome

    async def _main(self) -> None:
        world, loop = self.world, self.loop
        supervisors = [
            loop.create_task(
                self.nodes.supervise(node_id, self.nemesis.wait_released),
                name=f"supervisor {node_id}",
            )
            for node_id in NODES
        ]
        await self._within("topics are made", self._create_topics())
        workers = [ProducerWorker(world, f"p{n}") for n in range(self.plan.producers)]
        producing = [loop.create_task(each.run(), name="producer") for each in workers]
        keyed = KeyedWorker(world)
        producing.append(loop.create_task(keyed.run(), name="keyed"))
        copies = KeyedCopies(world, keyed, self.processes)
        readers = [ConsumerWorker(world, f"c{n}") for n in range(self.plan.consumers)]
        reading = [loop.create_task(each.run(), name="consumer") for each in readers]
        nemesis = loop.create_task(self.nemesis.run(), name="nemesis")
        observers = [
            loop.create_task(self._observe(), name="observer"),
            loop.create_task(copies.watch(), name="observer of copies"),
        ]
        await world.client_clock.sleep_ms(PHASE_S * 1000)
        nemesis.cancel()
        self.nemesis.heal()
        self.network.link = LinkProfile()
        world.producing = False
        await self._within("producers end", asyncio.gather(*producing))
        await self._within("replicas are brought back", self.operator.bring_back())
        partitions = sum(topic.partitions for topic in world.topics)
        await self._within("every replica is in sync", self.nodes.wait_in_sync(partitions))
        world.consuming = False
        await self._within("consumers end", asyncio.gather(*reading))
        await self._within("everything is read", drain(world))
        await self._within("keys are read", keyed.check())
        await self._within("copies are compacted", copies.check())
        for task in (*supervisors, *observers):
            task.cancel()
        for process in self.processes.values():
            await process.stop()
        self._compare_replicas()

    async def _within(self, what: str, work: Awaitable[T]) -> T:
        return await self.nodes.within(DRAIN_S, what, work)

    async def _create_topics(self) -> None:
        config = {"segment.bytes": str(self.plan.segment_bytes), "retention.ms": "-1"}
        config["min.insync.replicas"] = str(MIN_ISR)
        await self.nodes.create_topics(TOPICS, len(NODES), config)

    # --- nodes -------------------------------------------------------------------------------

    async def _observe(self) -> None:
        """Note what becomes of leaderships and in-sync sets."""
        ends: dict[tuple[int, int, bytes, int], int] = {}
        while True:
            for node_id in NODES:
                for each in self.nodes.partitions(node_id):
                    end_key = (node_id, self.processes[node_id].incarnation, *each.key)
                    end = each.view.written_end_offset
                    if end < ends.get(end_key, 0):
                        self.sometimes("replica cut")
                    ends[end_key] = end
                    self.changes.note(each.id, each.state)
                    self._note_repair(node_id, each)
            await self.world.client_clock.sleep_ms(20)

    def _note_repair(self, node_id: int, each: Partition) -> None:
        """A copy that was damaged, and has none now, is one that was made anew."""
        copy = (node_id, each.id)
        if copy in self.nemesis.damaged and not each.view.damage and node_id in each.state.isr:
            del self.nemesis.damaged[copy]
            self.sometimes("damaged copy made anew")

    # --- the verdict -------------------------------------------------------------------------

    def _compare_replicas(self) -> None:
        for process in self.processes.values():
            process.files.before = None
        for topic in self.world.topics:
            for partition in range(topic.partitions):
                key = f"{topic.name}/{partition}"
                copies = {
                    node_id: b"".join(read_segments(process.files, topic.topic_id, partition))
                    for node_id, process in self.processes.items()
                }
                if len(set(copies.values())) > 1:
                    sizes = {node_id: len(data) for node_id, data in copies.items()}
                    self.problems.append(f"divergent-replicas: {key}, bytes by node {sizes}")
                self.world.history.log[key] = [
                    Seen(record.offset, name_of(record.value), digest_of(record.value))
                    for position, _ in iter_headers(copies[NODES[0]])
                    for record in decode_batch(copies[NODES[0]], position)
                ]

    def _judge(self) -> None:
        verdict = check(self.world.history)
        if not verdict.valid:
            self.problems.append(str(verdict))
        self.problems.extend(self.watch.violations[:8])
        self.problems.extend(self.changes.violations[:8])
        self.problems.extend(self.network.failures[:8])
        if self.watch.acks < ACKS_MIN:
            self.problems.append(f"void: only {self.watch.acks} acknowledgements")


def run_seed(seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()) -> Outcome:
    """Run one seed from nothing; `faults` takes the place of those drawn."""
    # What is there already is not looked at by every collection of the run's own garbage.
    gc.freeze()
    with silenced():
        return ReplicaSimulation(seed, sink=sink, faults=faults).run()
