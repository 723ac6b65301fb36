"""One seed: real nodes as a quorum, real clients, faults; then peace, progress and a verdict.

founding          plan.phase                     at most PEACE_S
| all are up ...  | faults, commands, members    | heal, everybody serves, commands, quiet | verdict
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

from logd.consensus.log_types import Voter
from logd.metadata import ClusterImage
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term
from logd.runtime import membership, snapshot_taker
from logd.testing.clock import SimClock
from logd.testing.loop import VirtualLoop, describe_tasks
from logd.testing.network import LinkProfile, SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.quorum.coverage import Sometimes
from tests.sim.quorum.driver import WatchedDriver
from tests.sim.quorum.faults import Faults
from tests.sim.quorum.load import Client, Operator
from tests.sim.quorum.machine import Machine
from tests.sim.quorum.plan import FAULTS, draw_plan
from tests.sim.quorum.truth import Truth
from tests.sim.raft.disk import Disk
from tests.sim.raft.oracle import Oracle, State
from tests.sim.raft.profile import Profile, draw_profile
from tests.sim.silence import silenced

#: Virtual seconds within which the cluster is founded, and everybody serves after the faults.
FOUNDING_S = 30.0
PEACE_S = 60.0
QUIET_S = 2.5
POLL_S = 0.05
#: A node that is stopped while its disk is full ends as after a crash, and says so.
NO_ROOM_TO_STOP = f"stop: {OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))!r}"


@dataclass(slots=True)
class Outcome:
    """`problems` is empty when the seed passed."""

    seed: int
    digest: str
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    plan: str = ""
    faults: int = 0
    committed: int = 0
    terms: int = 0
    commands: int = 0
    virtual_s: float = 0.0
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {'FAILED' if self.problems else 'ok'}, {self.commands} commands, "
            f"{self.committed} entries, {self.terms} leaders, {self.faults} faults, "
            f"{self.virtual_s:.0f} virtual s, trace {self.digest[:16]}"
        )


class Surroundings:
    """What `tests.sim.raft.watch` asks of a run."""

    def __init__(self, world: Simulation, profile: Profile) -> None:
        self._world = world
        self.profile = profile

    @property
    def now_ms(self) -> float:
        return self._world.loop.time() * 1000

    @property
    def oracle(self) -> Oracle:
        return self._world.oracle

    @property
    def sometimes(self) -> Sometimes:
        return self._world.sometimes

    def trace(self, kind: str, node_id: int, *values: object) -> None:
        self._world.trace(f"{kind} {node_id} {' '.join(map(str, values))}")

    def on_leader(self, node: Any) -> None:
        if any(each.leads and each.node_id != node.node_id for each in self._world.machines):
            self._world.sometimes("two nodes lead at a time")


class Simulation:
    """Everything of one seed."""

    def __init__(
        self, seed: int, *, sink: TextIO | None = None, focus: tuple[str, ...] = ()
    ) -> None:
        self.seed = seed
        self.rng = SimRng(f"quorum/{seed}")
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop.time, sink=sink)
        self.sometimes = Sometimes()
        self.plan = draw_plan(self.rng.child("plan"), focus)
        self.trace(f"plan {self.plan}")
        self.network = SimNetwork(
            self.loop, self.rng.child("network"), self.trace, link=self.plan.link
        )
        self.client_clock = SimClock(self.loop)
        self.truth = Truth()
        self.disks: dict[DirectoryId, Disk] = {}
        self.oracle = Oracle(self.sometimes, self.disks, (), repeats=True)
        self.surroundings = Surroundings(self, draw_profile(self.rng.child("profile")))
        self.problems: list[str] = []
        self.faulty = True
        self.down_max = self.plan.down_max
        self.first_ids = [NodeId(number) for number in range(1, self.plan.voters + 1)]
        #: By node id; the last machine of each.
        self.members: dict[NodeId, Machine] = {}
        self.faults = Faults(self)
        self._failed = asyncio.Event()
        self._made = 0

    @property
    def machines(self) -> list[Machine]:
        """Those that are to run."""
        return [each for each in self.members.values() if not each.retired]

    def start_machine(self, node_id: NodeId, peers: Iterable[NodeId]) -> None:
        """A new machine with an empty disk; its configuration names `peers`."""
        self._made += 1
        name = f"{node_id}/{self._made}"
        self.members[node_id] = Machine(self, node_id, name, sorted({*peers} - {node_id}))

    # --- what the watched drivers tell

    def found(self, founder: Voter) -> None:
        """A node founds the cluster."""
        if self.oracle.end.index == 0:
            start = State(LogIndex(0), Term(0), 0, (founder,))
            self.oracle.start = self.oracle.end = self.oracle.states[0] = start

    def see(self, index: int, image: ClusterImage) -> str:
        """A node has come to an image; returns what is wrong."""
        before = self.truth.image
        problem = self.truth.see(index, image)
        return problem or self._check_fences(before, self.truth.image)

    def _check_fences(self, before: ClusterImage, now: ClusterImage) -> str:
        """Whoever is fenced by the controller has stopped by itself before."""
        for node_id, node in now.nodes.items():
            known = before.nodes.get(node_id)
            if known is None or known.fenced or not node.fenced:
                continue
            if known.incarnation_id != node.incarnation_id:
                continue
            self.sometimes("node fenced")
            process = self.members[node_id].process
            if "drift" not in self.plan.every and process.up and process.node.broker.serving:
                return f"node {node_id} serves although it is fenced"
        return ""

    def fail(self, problem: str) -> None:
        """A promise was broken."""
        self.problems.append(problem)
        self._failed.set()

    # --- the run

    def run(self) -> Outcome:
        """Run to the end; whatever goes wrong is in the outcome's `problems`."""
        try:
            self.loop.run(self._main(), limit_s=FOUNDING_S + self.plan.phase + 5 * PEACE_S)
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        if not self.problems:
            self.problems.extend(self.truth.problems()[:5])
            self.problems.extend(each for each in self.network.failures if each != NO_ROOM_TO_STOP)
        outcome = self._outcome()
        self.loop.finish()
        # What nobody asked a future for comes to light when it is collected.
        gc.collect()
        if not outcome.problems:
            outcome.problems.extend(self.loop.failures)
        return outcome

    def _outcome(self) -> Outcome:
        for before, now in self.oracle.changes:
            self.sometimes("voter added" if len(now) > len(before) else "voter removed")
        return Outcome(
            self.seed,
            self.trace.digest(),
            list(self.problems),
            self.sometimes.counts,
            str(self.plan),
            self.faults.count,
            len(self.oracle.committed),
            len(self.oracle.leaders),
            len(self.truth.commands),
            self.loop.time(),
            self.trace.tail(),
        )

    async def _main(self) -> None:
        work = self.loop.create_task(self._work(), name="work")
        failed = self.loop.create_task(self._failed.wait(), name="failed")
        await asyncio.wait([work, failed], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        failed.cancel()

    async def _work(self) -> None:
        for node_id in self.first_ids:
            self.start_machine(node_id, self.first_ids)
        await self._until(self._is_settled, FOUNDING_S, "the cluster is founded")
        tasks = [
            self.loop.create_task(Client(self, f"c{n}", *self._some_nodes(n)).run(), name=f"c{n}")
            for n in range(self.plan.workers)
        ]
        operator = Operator(self, "operator", *self.first_ids)
        tasks.append(self.loop.create_task(operator.operate(), name="operator"))
        harm = [
            self.loop.create_task(self.faults.repeat(name, mean_s), name=f"fault {name}")
            for name, mean_s in self.plan.every.items()
            if name in FAULTS
        ]
        await asyncio.sleep(self.plan.phase)
        for task in harm:
            task.cancel()
        self._make_peace()
        await self._within(asyncio.gather(*tasks), "clients end")
        self._retire_removed()
        await self._until(self._is_settled, PEACE_S, "everybody serves")
        await self._within(self._progress(), "commands at every node")
        await self._until(self._is_settled, PEACE_S, "everybody has applied all")
        await self._stay_quiet()

    def _some_nodes(self, number: int) -> list[NodeId]:
        """Every second client knows one node only, to begin with."""
        ids = self.first_ids
        return ids if number % 2 else [ids[number % len(ids)]]

    # --- peace

    def _make_peace(self) -> None:
        self.trace("peace")
        self.faulty = False
        self.down_max = 0.05
        self.faults.heal()
        self.network.link = LinkProfile()

    def _retire_removed(self) -> None:
        """Who was removed without anybody hearing of it; and who has not come in yet, and knows
        nobody by its configuration who is still there."""
        image = self.truth.image
        for machine in self.machines:
            lonely = machine.node_id not in image.nodes and not any(
                peer in image.nodes for peer in machine.peers
            )
            if lonely or machine.directory_id in image.removed:
                machine.end(retire=True)

    def _is_settled(self) -> bool:
        """Whether one leads, and everybody serves what the leader has."""
        machines = self.machines
        cores = [each.core for each in machines if each.core is not None and each.process.up]
        leading = [each for each in machines if each.leads]
        if len(leading) != 1 or len(cores) != len(machines):
            return False
        end = leading[0].core
        assert end is not None
        return all(
            core.applied_index == end.end_index and core.leader_id == leading[0].node_id
            for core in cores
        ) and all(each.process.node.broker.serving for each in machines)

    async def _progress(self) -> None:
        """A command and its trace at every node."""
        for machine in self.machines:
            client = Client(self, f"peace-{machine.node_id}", machine.node_id)
            made = await client.do("create", f"peace-{machine.node_id}")
            read = await client.do("read", f"peace-{machine.node_id}")
            await client.admin.close()
            if made.result != "ok" or read.found != made.mark:
                self.fail(f"no progress: {made}; {read}")

    async def _stay_quiet(self) -> None:
        before = {each.node_id: each.core.term for each in self.machines if each.core is not None}
        await asyncio.sleep(QUIET_S)
        now = {each.node_id: each.core.term for each in self.machines if each.core is not None}
        if before != now:
            self.fail(f"no quiet: terms went from {before} to {now}")

    async def _until(self, reached: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = self.loop.time() + seconds
        while not reached():
            if self.loop.time() > deadline:
                raise AssertionError(f"not within {seconds:g} virtual s: {what}; {self._sight()}")
            await asyncio.sleep(POLL_S)

    async def _within(self, work: Awaitable[object], what: str) -> None:
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=PEACE_S)
        if not done:
            hanging = describe_tasks(self.loop)
            raise AssertionError(f"not within {PEACE_S:g} virtual s: {what}\n{hanging}")
        await task

    def _sight(self) -> str:
        """What every node looks like."""
        return "; ".join(
            f"{each.node_id}: {'up' if each.process.up else 'down'}"
            + (
                f" {core.role.value} of {core.leader_id} in {core.term}, {core.applied_index}/"
                f"{core.commit_index}/{core.end_index}, voters {[v.node_id for v in core.voters]}"
                if (core := each.core) is not None
                else ""
            )
            for each in self.machines
        )


@contextmanager
def watched(world: Simulation) -> Iterator[None]:
    """The nodes of this run are watched, and take snapshots often."""
    driver, entries = vars(membership)["ConsensusDriver"], snapshot_taker.SNAPSHOT_ENTRIES
    vars(membership)["ConsensusDriver"] = partial(WatchedDriver, world)
    vars(snapshot_taker)["SNAPSHOT_ENTRIES"] = world.plan.snapshot_entries
    try:
        yield
    finally:
        vars(membership)["ConsensusDriver"] = driver
        vars(snapshot_taker)["SNAPSHOT_ENTRIES"] = entries


def run_seed(seed: int, *, sink: TextIO | None = None, focus: tuple[str, ...] = ()) -> Outcome:
    """Run one seed from nothing; `focus`: these faults and demands, and no others."""
    world = Simulation(seed, sink=sink, focus=focus)
    with silenced(), watched(world):
        return world.run()
