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

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_wire import decode_batch, iter_headers
from logd_wire.errors import LogdError, TopicExistsError

from logd.model.node_config import load_node_config
from logd.runtime.partition import Partition
from logd.storage.memory_files import MemoryFiles
from logd.testing.clock import SimClock
from logd.testing.cluster import address_of, addresses_of, peers_of
from logd.testing.loop import VirtualLoop, describe_tasks
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.process import ProcessDiedError, SimProcess
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.checker import check
from tests.sim.consumers import ConsumerWorker, drain
from tests.sim.coverage import Sometimes
from tests.sim.history import Seen
from tests.sim.keyed import KeyedWorker
from tests.sim.producers import ProducerWorker
from tests.sim.replicas.copies import KeyedCopies
from tests.sim.replicas.coverage import RARE, STATES
from tests.sim.replicas.faults import Nemesis, draw_plan
from tests.sim.replicas.watch import ReplicaWatch
from tests.sim.silence import silenced
from tests.sim.simulation import Outcome
from tests.sim.values import digest_of, name_of
from tests.sim.watch import read_segments
from tests.sim.world import Topic, World

T = TypeVar("T")

NODES = (1, 2, 3)
#: Virtual seconds of faults.
PHASE_S = 20.0
#: Virtual seconds within which everything must end after the faults.
DRAIN_S = 90.0
#: A run that loses or refuses nearly everything proves nothing.
ACKS_MIN = 5
#: Share of acknowledgements held against a power loss of all nodes at their moment.
ACK_SAMPLE = 0.05
TOPICS = {"orders": 2, "events": 1}


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
        self.processes = {node_id: self._make_process(node_id) for node_id in NODES}
        self.watch = ReplicaWatch(
            self.processes,
            self.rng.child("watch"),
            self.sometimes,
            self.loop.time,
            sample=ACK_SAMPLE,
        )
        self.network.interceptor = self.watch
        self.nemesis = Nemesis(
            self.plan,
            rng=self.rng.child("nemesis"),
            trace=self.trace,
            processes=self.processes,
            network=self.network,
            clock=self.clock,
            sometimes=self.sometimes,
        )
        self.problems = self.world.problems

    def _make_process(self, node_id: int) -> SimProcess:
        flags = {
            **addresses_of(node_id),
            "node.id": str(node_id),
            "cluster.peers": peers_of(*NODES),
            "disk.free_bytes_min": "0",
            "log.cleaner.backoff.ms": "300",
            "log.cleaner.dedupe.buffer.size": "64KiB",
        }
        config, entries = load_node_config(flags=flags)
        return SimProcess(
            loop=self.loop,
            network=self.network,
            files=MemoryFiles(),
            clock=self.clock,
            rng=self.rng.child(f"process/{node_id}"),
            trace=self.trace,
            config=config,
            config_entries=entries,
            latency=self.plan.latency,
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
            loop.create_task(self._supervise(node_id), name=f"supervisor {node_id}")
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
        await self._within("every replica is in sync", self._all_in_sync())
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
        """Wait for `work`; when it hangs say where."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=DRAIN_S)
        if not done:
            states = [
                f"{node_id} {each.name} {each.state} end {each.view.durable_end_offset} "
                f"high watermark {each.high_watermark}"
                for node_id in NODES
                for each in self._partitions(node_id)
            ]
            hanging = describe_tasks(self.loop)
            raise AssertionError(
                "\n".join([f"not within {DRAIN_S:g} virtual s: {what}", *states, hanging])
            )
        return await task

    async def _create_topics(self) -> None:
        world = self.world
        admin = AdminEngine(
            world.network.transport("setup"),
            world.client_clock,
            world.rng.child("setup"),
            ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
        )
        for name, partitions in TOPICS.items():
            while True:
                try:
                    topic = await admin.create_topic(
                        name,
                        partitions=partitions,
                        replication_factor=3,
                        config={
                            "segment.bytes": str(self.plan.segment_bytes),
                            "retention.ms": "-1",
                        },
                        exist_ok=True,
                        validate_only=False,
                    )
                    break
                except (LogdError, TopicExistsError) as error:
                    self.trace(f"create {name}: {error}")
                    await world.client_clock.sleep_ms(200)
            topic_id = bytes.fromhex(topic.id.replace("-", ""))
            world.topics.append(Topic(name, topic_id, partitions))
        await admin.close()

    # --- nodes -------------------------------------------------------------------------------

    async def _supervise(self, node_id: int) -> None:
        """Start a node, and again whenever it has ended."""
        rng, process = self.rng.child(f"supervisor/{node_id}"), self.processes[node_id]
        while True:
            await self.nemesis.wait_released(process)
            try:
                await process.start()
                self._check_damage(node_id)
                reason = await process.wait_ended()
                self.trace(f"supervisor {node_id}: {reason}")
            except ProcessDiedError as error:
                self.trace(f"supervisor {node_id}: {error}")
            await asyncio.sleep(0.005 + rng.random() * self.plan.restart_max)

    def _partitions(self, node_id: int) -> list[Partition]:
        process = self.processes[node_id]
        return process.node._partitions.all() if process.up else []

    def _check_damage(self, node_id: int) -> None:
        for partition in self._partitions(node_id):
            damage = partition.log.recovery.damage
            if damage:
                self.problems.append(f"damage in {partition.name} of node {node_id}: {damage}")

    async def _observe(self) -> None:
        """Note what becomes of leaderships and in-sync sets."""
        seen: dict[tuple[bytes, int], tuple[int, tuple[int, ...]]] = {}
        ends: dict[tuple[int, int, bytes, int], int] = {}
        while True:
            for node_id in NODES:
                for each in self._partitions(node_id):
                    end_key = (node_id, self.processes[node_id].incarnation, *each.key)
                    end = each.view.written_end_offset
                    if end < ends.get(end_key, 0):
                        self.sometimes("replica cut")
                    ends[end_key] = end
                    if each.is_led_here:
                        self._note_state(seen, each)
            await self.world.client_clock.sleep_ms(20)

    def _note_state(
        self, seen: dict[tuple[bytes, int], tuple[int, tuple[int, ...]]], each: Partition
    ) -> None:
        state = each.state
        epoch, isr = seen.get(each.key, (state.leader_epoch, state.isr))
        if state.leader_epoch < epoch:
            return
        if state.leader_epoch > epoch:
            self.sometimes("leadership moved")
            if len(state.isr) == 1 and state.eligible:
                self.sometimes("eligible replica elected")
        if len(state.isr) > len(isr):
            self.sometimes("in-sync set grown")
        if len(state.isr) < len(isr):
            self.sometimes("in-sync set shrunk")
        seen[each.key] = (state.leader_epoch, state.isr)

    async def _all_in_sync(self) -> None:
        """Wait until every replica is in sync, and knows it."""
        while not self._is_in_sync():
            await self.world.client_clock.sleep_ms(50)

    def _is_in_sync(self) -> bool:
        ends: dict[tuple[bytes, int], set[tuple[int, int]]] = {}
        for node_id in NODES:
            for each in self._partitions(node_id):
                view = each.view
                marks = (view.durable_end_offset, each.high_watermark)
                ends.setdefault(each.key, set()).add(marks)
                if len(each.state.isr) != len(NODES) or marks[0] != marks[1]:
                    return False
        least = sum(topic.partitions for topic in self.world.topics)
        all_there = all(len(self._partitions(node_id)) == len(ends) >= least for node_id in NODES)
        return all_there and all(len(marks) == 1 for marks in ends.values())

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
        self.problems.extend(self.network.failures[:8])
        if self.watch.acks < ACKS_MIN:
            self.problems.append(f"void: only {self.watch.acks} acknowledgements")


def run_seed(seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()) -> Outcome:
    """Run one seed from nothing; `faults` takes the place of those drawn."""
    with silenced():
        return ReplicaSimulation(seed, sink=sink, faults=faults).run()
