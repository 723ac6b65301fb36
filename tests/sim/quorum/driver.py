"""The real consensus driver, watched: every save, message, application and answer is checked.

What a node has promised is kept beside it, as the core's simulation keeps it (`tests.sim.raft`):
a shadow of the disk, which grows when a save has returned and is made anew from what the real
files give back at a start. So what was saved and is not found again is seen as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from logd.consensus import Entry, RaftCore, Ready, Role
from logd.consensus.log_types import SnapshotMeta, Voter
from logd.consensus.messages import InstallSnapshot, Message
from logd.metadata import ClusterImage
from logd.model.ids import NO_NODE, LogIndex, NodeId
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.image_codec import decode_image
from logd.runtime.raft_store import Found
from logd.runtime.snapshots import Snapshot
from logd.testing.disk import CrashError
from tests.sim.raft.clock import DriftingClock
from tests.sim.raft.disk import Contents, Disk
from tests.sim.raft.oracle import Violation
from tests.sim.raft.watch import Watch
from tests.sim.raft.world import DEATHS_IN_WORDS, Death

if TYPE_CHECKING:
    from tests.sim.quorum.simulation import Simulation

#: Calls after which a core is looked at.
CALLS = ("tick", "step", "propose", "propose_voters", "read_index", "transfer", "advance")


class WatchedDriver(ConsensusDriver):
    """See the module. `node_id`, `voter` and `clock` are what `Watch` asks for."""

    def __init__(self, world: Simulation, **parts: Any) -> None:
        super().__init__(**parts)
        self.world = world
        self.node_id: NodeId = self._member.identity.node_id
        self.machine = world.members[self.node_id]
        directory_id = self._member.identity.directory_id
        self.machine.directory_id = directory_id
        self.voter = Voter(self.node_id, directory_id, self._member.address)
        self.disk = world.disks.setdefault(directory_id, Disk(directory_id))
        self.watch = Watch(world.surroundings)
        self.state = world.oracle.start
        self._working: Ready | None = None
        self._death: Death | None = None

    @property
    def clock(self) -> DriftingClock:
        return self.machine.clock.drifting

    # --- the start

    def _make_core(self, found: Found) -> RaftCore:
        world = self.world
        if self._member.founder and found.hard_state is None:
            world.found(self.voter)
        if self.disk.hard_state is not None:
            self._check_found(found)
        self.disk = world.disks[self.disk.directory_id] = self._shadow(found)
        self.machine.saving = None
        core = super()._make_core(found)
        self.machine.core = core
        world.trace(f"core {self.node_id} {core.term} {core.end_index}")
        self.watch.begin(core)
        for name in CALLS:
            setattr(core, name, self._looking(core, name))
        return core

    def _shadow(self, found: Found) -> Disk:
        disk, world = Disk(self.disk.directory_id), self.world
        disk.hard_state = found.hard_state
        if found.snapshot is not None:
            world.sometimes("start from a snapshot")
            disk.snapshot = self._contents(found.snapshot.meta)
        elif not found.entries:
            world.sometimes("start without a log")
        disk.append(found.entries)
        return disk

    def _contents(self, meta: SnapshotMeta) -> Contents:
        state = self.world.oracle.states.get(meta.point.index)
        if state is None or state.term != meta.point.term:
            self._fault(f"has a snapshot {meta} of what was never committed")
        return Contents(meta, state.digest)

    def _check_found(self, found: Found) -> None:
        """What was durable before is there again, but for what a save under way took back."""
        old, saving = self.disk, self.machine.saving
        before, now = old.hard_state, found.hard_state
        assert before is not None
        if now is None or now.term < before.term:
            self._fault(f"promised {before} and starts with {now}")
        if now.term == before.term and before.vote not in (NO_NODE, now.vote):
            self._fault(f"voted {before} and starts with {now}")
        start = found.snapshot.meta.point.index if found.snapshot else LogIndex(0)
        kept = {entry.next_index: entry for entry in found.entries}
        end = self._kept_to(saving)
        for entry in old.entries:
            if start < entry.next_index <= end and kept.get(entry.next_index) != entry:
                self._fault(f"saved {entry}, and starts without it")
        if saving is not None and saving.entries:
            whole = kept.get(saving.entries[-1].next_index) == saving.entries[-1]
            self.world.sometimes(f"save under way was {'kept' if whole else 'lost'}")

    def _kept_to(self, saving: Ready | None) -> int:
        if saving is None:
            return 1 << 62
        if saving.snapshot is not None:
            return 0
        return saving.entries[0].index if saving.entries else 1 << 62

    def _looking(self, core: RaftCore, name: str) -> Callable[..., Any]:
        call = getattr(core, name)

        def looking(*values: Any, **named: Any) -> Any:
            try:
                return call(*values, **named)
            finally:
                self._checked(lambda: self.watch.look(self, core, name))

        return looking

    # --- one round

    async def _process(self, ready: Ready) -> bool:
        self._working, self._death = ready, self.machine.draw_death(ready)
        done = await super()._process(ready)
        if done:
            self._checked(lambda: self._after_round(ready))
        self._working = None
        return done

    def _after_round(self, ready: Ready) -> None:
        oracle, core = self.world.oracle, self._core
        if core.applied_index != self.state.index:
            raise Violation(f"applied {self.state.index}, the core says {core.applied_index}")
        if self.watch.unproved and core.role is Role.LEADER and ready.entries:
            self.watch.unproved = False
            oracle.on_first_save_of_leader(self.disk, self.node_id, core.term)
        if not core.has_ready():
            oracle.check_voters(self.node_id, self.disk, core.voters)

    async def _save(self, ready: Ready) -> bool:
        world, oracle = self.world, self.world.oracle
        self._checked(lambda: oracle.on_save(self.node_id, self.disk, ready, self.state.index))
        self.machine.saving = ready
        if self._death is Death.WITHIN_SAVE:
            self.machine.crash_at_operation(world.rng.randrange(12))
        done = await super()._save(ready)
        if done:
            if ready.snapshot is not None:
                self.disk.received[ready.snapshot] = self._contents(ready.snapshot)
            for step in self.disk.save_steps(ready):
                step()
            self.machine.saving = None
            self._checked(lambda: oracle.check_one_change(self.node_id, self.disk))
            self._dies(Death.BEFORE_MESSAGES)
        return done

    async def _wait_for_space(self) -> None:
        self.world.sometimes("full disk during a save")
        await super()._wait_for_space()

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._checked(partial(self.world.oracle.check_message, self.disk, message))
        if messages and self._death is Death.WITHIN_MESSAGES:
            super()._send(messages[: self.world.rng.randrange(len(messages))])
            self._dies(Death.WITHIN_MESSAGES)
        super()._send(messages)

    def _apply(self, entry: Entry) -> None:
        world, ready = self.world, self._working
        self._dies(Death.BEFORE_APPLY)
        if self.watch.role is Role.LEADER and entry.term < self.watch.term:
            world.sometimes("earlier term committed by the own term")
        self._checked(lambda: self._applied(entry))
        super()._apply(entry)
        self._see(entry.next_index)
        if ready is not None and entry is ready.committed[-1]:
            self._dies(Death.BEFORE_ADVANCE)

    def _applied(self, entry: Entry) -> None:
        if not self.state.index:
            # By now it is known who founded the cluster.
            self.state = self.world.oracle.start
        self.state = self.world.oracle.on_apply(self.node_id, self.disk, self.state, entry)

    def _restore(self, snapshot: Snapshot) -> None:
        index = snapshot.meta.point.index
        self.state = self.world.oracle.states[index]
        super()._restore(snapshot)
        self._see(index, decode_image(snapshot.contents))

    def _see(self, index: LogIndex, image: ClusterImage | None = None) -> None:
        machine: Any = self._machine
        problem = self.world.see(index, image or machine.image)
        if problem:
            self._fault(problem)

    # --- reads and snapshots

    async def read_barrier(self, *, timeout_ms: int, patience_ms: int = 0) -> LogIndex:
        floor = self.world.oracle.commit_index
        index = await super().read_barrier(timeout_ms=timeout_ms, patience_ms=patience_ms)
        if index < floor:
            self._fault(f"stale-read: a read at {index}, {floor} was committed when it was asked")
        self.world.sometimes("read barrier answered")
        return index

    def _look_after_snapshots(self) -> None:
        taken = self._taken
        if taken is not None:
            self.world.sometimes("snapshot taken")
            self.disk.compact(self._contents(taken), trim=False)
        super()._look_after_snapshots()

    # --- what comes in

    def on_message(self, message: Message) -> None:
        """Messages may be lost, come twice, and overtake each other."""
        for delay in self.world.faults.fate(isinstance(message.body, InstallSnapshot)):
            if delay:
                take = super().on_message
                asyncio.get_running_loop().call_later(delay, take, message)
            else:
                super().on_message(message)

    # --- what is wrong

    def _dies(self, where: Death) -> None:
        if self._death is where:
            self._death = None
            self.world.sometimes(DEATHS_IN_WORDS[where])
            raise CrashError(DEATHS_IN_WORDS[where])

    def _checked(self, check: Callable[[], object]) -> None:
        try:
            check()
        except Violation as violation:
            self._fault(str(violation))

    def _fault(self, what: str) -> NoReturn:
        """A promise was broken: the run is over."""
        self.world.fail(f"node {self.node_id}: {what}")
        raise CrashError(what)
