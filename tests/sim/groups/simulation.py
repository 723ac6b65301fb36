"""One seed of a group: the real coordinator on real nodes, real members, faults, calm, a verdict.

0 s            PHASE_S                                       at most CALM_S later
| faults ...   | heal, every member subscribes to everything | all shared out, lag 0 | verdict
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client.values import TopicPartition
from logd_wire.errors import LogdError

from logd.model.ids import TopicId, TopicPartitionId
from logd.runtime.group_coordinator import PARTITIONS
from logd.testing.clock import SimClock
from logd.testing.cluster import address_of
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.coverage import Sometimes
from tests.sim.groups.coverage import RARE, STATES
from tests.sim.groups.faults import GroupNemesis, draw_plan
from tests.sim.groups.freezing import FreezingLoop
from tests.sim.groups.members import Application, Slot
from tests.sim.groups.recorder import GroupRecorder
from tests.sim.groups.topics import Topics
from tests.sim.groups.verdict import findings, read_group_log
from tests.sim.groups.world import GroupWorld
from tests.sim.nodes import Nodes
from tests.sim.producers import ProducerWorker
from tests.sim.silence import silenced

#: Virtual seconds of faults.
PHASE_S = 20.0
#: Virtual seconds for whatever is no matter of the group: starts, the ends of producers.
NODES_S = 90.0
#: Virtual seconds besides session and rebalance timeouts, within which all is shared out and read.
CALM_S = 15.0
#: A run that delivers next to nothing proves nothing.
DELIVERED_MIN = 20
TOPICS = {"orders": 4, "events": 2}


@dataclass(slots=True)
class GroupOutcome:
    """`problems` is empty when the seed passed."""

    seed: int
    digest: str
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    delivered: int = 0
    commits: int = 0
    decisions: int = 0
    faults: int = 0
    calm_s: float = 0.0
    virtual_s: float = 0.0
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        state = "ok" if not self.problems else "FAILED"
        return (
            f"seed {self.seed}: {state}, {self.delivered} records delivered, {self.commits} "
            f"offsets committed, {self.decisions} decisions, {self.faults} faults, calm after "
            f"{self.calm_s:.1f} of {self.virtual_s:.0f} virtual s, trace {self.digest[:16]}"
        )


class GroupSimulation:
    """Everything of one seed."""

    def __init__(
        self, seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()
    ) -> None:
        self.seed = seed
        self.rng = SimRng(f"groups/{seed}")
        self.loop = FreezingLoop()
        self.trace = Trace(self.loop.time, sink=sink)
        self.plan = plan = draw_plan(self.rng.child("plan"), faults)
        self.trace(f"plan {plan}")
        self.network = SimNetwork(self.loop, self.rng.child("network"), self.trace, link=plan.link)
        self.clock = SimClock(self.loop)
        ids = range(1, plan.nodes + 1)
        self.world = GroupWorld(
            loop=self.loop,
            rng=self.rng.child("world"),
            trace=self.trace,
            network=self.network,
            client_clock=self.clock,
            bootstrap=tuple(map(address_of, ids)),
            sometimes=Sometimes(STATES, RARE),
            replicated=plan.nodes > 1,
            group_id=f"readers-{seed}",
            session_ms=plan.session_ms,
            rebalance_ms=plan.rebalance_ms,
            commit_interval_ms=plan.commit_interval_ms,
            subscription=plan.subscription,
        )
        self.nodes = Nodes(
            ids,
            self.world,
            self.clock,
            self.rng,
            latency=plan.latency,
            restart_max=plan.restart_max,
        )
        self.recorder = GroupRecorder(self.nodes.processes, self.world.group_id)
        self.slots = [
            Slot(self.world, f"m{number}", static=number < plan.static)
            for number in range(plan.slots)
        ]
        self._config = {"segment.bytes": str(plan.segment_bytes), "retention.ms": "-1"}
        self.topics = Topics(self.world, self.rng.child("topics"), len(ids), self._config)
        self.nemesis = GroupNemesis(
            plan,
            self.world,
            rng=self.rng.child("nemesis"),
            processes=self.nodes.processes,
            clock=self.clock,
            slots=self.slots,
            topics=self.topics,
        )
        self.problems = self.world.problems
        self.calm_s = 0.0
        self._ids: dict[TopicPartition, TopicPartitionId] = {}
        self._decisions = 0
        self._commits = 0

    def run(self) -> GroupOutcome:
        """Run to the end; whatever goes wrong is in the outcome's `problems`."""
        try:
            self.loop.run(self._main(), limit_s=PHASE_S + 6 * NODES_S)
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        if self.world.topics:
            self._judge()
        notes = self.world.notes
        outcome = GroupOutcome(
            self.seed,
            self.trace.digest(),
            self.problems,
            self.world.sometimes.counts,
            sum(each.last + 1 - each.first for each in notes.delivered),
            self._commits,
            self._decisions,
            self.nemesis.injected,
            self.calm_s,
            self.loop.time(),
            self.trace.tail(),
        )
        outcome.problems.extend(self.loop.failures)
        self.loop.failures.clear()
        self.loop.thaw_all()
        self.loop.finish()
        gc.collect()
        outcome.problems.extend(self.loop.failures)
        return outcome

    async def _main(self) -> None:
        world, loop, nodes = self.world, self.loop, self.nodes
        supervisors = [
            loop.create_task(nodes.supervise(node_id), name=f"supervisor {node_id}")
            for node_id in nodes.ids
        ]
        making = nodes.create_topics(TOPICS, len(nodes.ids), self._config)
        await nodes.within(NODES_S, "topics are made", making)
        workers = [ProducerWorker(world, f"p{n}") for n in range(self.plan.producers)]
        producing = [loop.create_task(each.run(), name="producer") for each in workers]
        members = [loop.create_task(each.run(), name=f"slot {each.name}") for each in self.slots]
        world.calls = self.plan.calls
        world.seek_on_assign = self.plan.seek_on_assign
        nemesis = loop.create_task(self.nemesis.run(), name="nemesis")
        await world.client_clock.sleep_ms(PHASE_S * 1000)
        nemesis.cancel()
        self.nemesis.heal()
        self.network.link = LinkProfile()
        await nodes.within(NODES_S, "topics are there", self.topics.settle())
        world.producing = False
        await nodes.within(NODES_S, "producers end", asyncio.gather(*producing))
        self._ids = {
            TopicPartition(topic.name, number): TopicPartitionId(TopicId(topic.topic_id), number)
            for topic in world.topics
            for number in range(topic.partitions)
        }
        partitions = len(self._ids) + PARTITIONS
        await nodes.within(NODES_S, "every replica is in sync", nodes.wait_in_sync(partitions))
        await self._calm_down()
        for task in (*supervisors, *members):
            task.cancel()
        for process in nodes.processes.values():
            await process.stop()

    # --- progress ----------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """Every partition has its owner, and everything is read and committed."""
        began = self.loop.time()
        limit_s = CALM_S + (2 * self.plan.session_ms + self.plan.rebalance_ms) / 1000
        await self.nodes.within(
            limit_s, "all is shared out and read", self._all_is_read(), self._standing
        )
        self.calm_s = self.loop.time() - began

    async def _all_is_read(self) -> None:
        admin = AdminEngine(
            self.network.transport("admin"),
            self.clock,
            self.rng.child("admin"),
            ClusterConfig(bootstrap_servers=self.world.bootstrap, request_timeout_ms=3_000.0),
        )
        while not (self._is_shared_out() and await self._is_read(admin)):
            await self.clock.sleep_ms(100)
        await admin.close()

    def _members(self) -> list[Application]:
        lives = [slot.current for slot in self.slots]
        return [app for app in lives if app is not None and not app.gone.is_set()]

    def _is_shared_out(self) -> bool:
        members = self._members()
        if len(members) < len(self.slots):
            return False
        sessions = [app.engine.group for app in members if hasattr(app, "engine")]
        held = [
            TopicPartitionId(TopicId(each.topic_id), each.tp.partition)
            for group in sessions
            if group is not None
            for each in group.member.held
        ]
        settled = all(group is not None and group.member.settled for group in sessions)
        return settled and sorted(held) == sorted(self._ids.values())

    async def _is_read(self, admin: AdminEngine) -> bool:
        try:
            committed = await admin.groups.committed(self.world.group_id)
        except LogdError as error:
            self.trace(f"committed: {error}")
            return False
        return all(committed.get(tp, 0) == end for tp, end in self._ends().items())

    def _ends(self) -> Mapping[TopicPartition, int]:
        names = {partition: tp for tp, partition in self._ids.items()}
        return {
            names[each.id]: each.high_watermark
            for node_id in self.nodes.ids
            for each in self.nodes.partitions(node_id)
            if each.id in names and each.is_led_here
        }

    def _standing(self) -> list[str]:
        lines = [f"ends {dict(self._ends())}"]
        for slot in self.slots:
            app = slot.current
            if app is None or not hasattr(app, "engine") or app.engine.group is None:
                lines.append(f"{slot.name}: not begun")
                continue
            member = app.engine.group.member
            positions = {
                f"{tp.topic}/{tp.partition}": (each.position, each.finished, each.settled)
                for tp, each in app.engine.fetcher.state.readers.items()
            }
            lines.append(
                f"{app.name} {'gone' if app.gone.is_set() else member.phase} epoch {member.epoch} "
                f"settled {member.settled} holds {list(member.held)} reads {positions}"
            )
        return lines

    # --- the verdict -------------------------------------------------------------------------

    def _judge(self) -> None:
        for process in self.nodes.processes.values():
            process.files.before = None
        notes = self.world.notes
        log = read_group_log(self.world.group_id, self.recorder.decisions(), notes.seeks)
        self._decisions, self._commits = log.batches, len(log.commits)
        self.problems.extend(findings(log, notes))
        for _ in range(log.went_back):
            self.world.sometimes("commit goes back after a seek")
        self.problems.extend(self.network.failures[:8])
        if len(self.world.notes.delivered) < DELIVERED_MIN:
            self.problems.append(f"void: {len(self.world.notes.delivered)} deliveries")


def run_seed(
    seed: int, *, sink: TextIO | None = None, faults: tuple[str, ...] = ()
) -> GroupOutcome:
    """Run one seed from nothing; `faults` takes the place of those drawn."""
    with silenced():
        return GroupSimulation(seed, sink=sink, faults=faults).run()
