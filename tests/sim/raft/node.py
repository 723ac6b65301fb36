"""One node: the core, what drives it, its disk, its clock, its state machine.

The driver works on one ready at a time: `messages_now`, save, messages, apply, advance. A save may
take time; the core hears messages and ticks meanwhile. A node may die between any two of these,
and within a save or within sending.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from logd.consensus import Entry, RaftCore, Ready, Role
from logd.consensus.log_types import Voter
from logd.consensus.messages import InstallSnapshot, Message
from logd.model.ids import NodeId
from tests.sim.raft.clock import Alarm, DriftingClock
from tests.sim.raft.disk import Contents, Disk, Step
from tests.sim.raft.notice import notice
from tests.sim.raft.oracle import State, Violation
from tests.sim.raft.watch import Watch
from tests.sim.raft.world import DEATHS_IN_WORDS, Death, Pending, World

T = TypeVar("T")

#: So many readies in a row, with nothing new from outside, are no progress.
ROUNDS_MAX = 200


class SimNode:
    """A node that runs (`core`), is down (`core` is None) or is paused."""

    def __init__(self, world: World, node_id: NodeId, disk: Disk, *, founder: bool) -> None:
        self.world = world
        self.node_id = node_id
        self.disk = disk
        self.founder = founder
        self.address = f"n{node_id}:1"
        self.clock = DriftingClock(world.rng.randrange(10_000))
        self.core: RaftCore | None = None
        self.incarnation = 0
        self.state: State = world.oracle.start
        self.paused = False
        self._inbox: list[Callable[[], None]] = []
        #: Saves are through no earlier than this.
        self.full_until_ms = 0.0
        #: The mean time of a save.
        self.save_ms = world.profile.save_ms
        self.next_save_fails = False
        self.old_snapshot: Contents | None = None
        self._forget()

    def _forget(self) -> None:
        """Lose what is in memory."""
        self.ready: Ready | None = None
        self._steps: list[Step] = []
        self._death: Death | None = None
        self.watch = Watch(self.world)
        self.pending: dict[int, Pending] = {}
        #: Reads that wait, with the least index that they may be answered at.
        self.reads: dict[int, tuple[int, float]] = {}
        self._alarm = Alarm(self.world.schedule, self._on_alarm)

    @property
    def voter(self) -> Voter:
        return Voter(self.node_id, self.disk.directory_id, self.address)

    @property
    def seems_to_lead(self) -> bool:
        """Whether clients ask this node, which may stand still."""
        return self.core is not None and self.core.role is Role.LEADER

    @property
    def is_leader(self) -> bool:
        return self.core is not None and self.core.role is Role.LEADER and not self.paused

    # --- life

    def start(self) -> None:
        """Boot from the disk."""
        world, disk = self.world, self.disk
        if disk.recover():
            world.sometimes("restart with an old log beside a new snapshot")
        self.incarnation += 1
        self.state = world.oracle.start
        if disk.snapshot is not None:
            world.sometimes("restart from a snapshot")
            self.state = world.oracle.states[disk.snapshot.meta.point.index]
            if disk.snapshot.digest != self.state.digest:
                raise Violation(f"node {self.node_id} starts from {disk.snapshot}")
        world.trace("start", self.node_id, disk.term, disk.end_index)
        core = self._guarded(lambda: world.make_core(self))
        self.core = core
        self.watch.begin(core)
        self._settle()

    def crash(self) -> None:
        """Lose everything in memory; of a save that is under way the first steps were done."""
        world = self.world
        if self._steps:
            done = self._draw_steps_done()
            if 0 < done < len(self._steps):
                world.sometimes("torn save")
            for step in self._steps[:done]:
                step()
        if any(meta.point.index > self.disk.snapshot_index for meta in self.disk.received):
            world.sometimes("snapshot lost where it was received")
        world.trace("crash", self.node_id, self.disk.term, self.disk.end_index)
        self.core = None
        self._alarm.set(None)
        self.incarnation += 1
        self.paused = False
        self._inbox.clear()
        self.next_save_fails = False
        self._forget()

    def _draw_steps_done(self) -> int:
        """How much of a save is done when the node dies; of a snapshot often nothing but itself."""
        rng, ready = self.world.rng, self.ready
        if ready is not None and ready.snapshot is not None and rng.random() < 0.5:
            return 1 + (ready.hard_state is not None)
        return rng.randrange(len(self._steps) + 1)

    def pause(self) -> None:
        """Stop running; messages and the ends of saves wait."""
        self.paused = True
        self._rearm()

    def resume(self) -> None:
        """Run again: the clock has gone on, and everything comes at once."""
        if self.core is None or not self.paused:
            return
        self.paused = False
        inbox, self._inbox = self._inbox, []
        if self.world.rng.random() < 0.5:
            self.tick()
        incarnation = self.incarnation
        for event in inbox:
            if self.incarnation == incarnation:
                event()
        self._rearm()

    def later(self, delay_ms: float, event: Callable[[], None]) -> None:
        """Call back unless the node has gone down by then; a pause delays it."""
        incarnation = self.incarnation

        def fire() -> None:
            if self.incarnation != incarnation or self.core is None:
                return
            if self.paused:
                self._inbox.append(fire)
            else:
                event()

        self.world.schedule(self.world.now_ms + delay_ms, fire)

    def drift(self, rate: float) -> None:
        """Let the clock run at another speed."""
        self.clock.run_at(self.world.now_ms, rate)
        self._rearm()

    # --- what comes from outside

    def receive(self, message: Message, contents: Contents | None) -> None:
        """A message has arrived."""
        core = self.core
        if core is None:
            return
        if self.paused:
            self._inbox.append(lambda: self.receive(message, contents))
            return
        if contents is not None:
            self.disk.received[contents.meta] = contents
        now = self.clock.at(self.world.now_ms)
        self.world.trace("step", self.node_id, message)
        self.watch.heard[message.sender] = now
        if self.ready is not None:
            self.world.sometimes("saving while messages come")
        check = notice(core, message, self.world.sometimes)
        self._guarded(lambda: core.step(message, now))
        if check is not None:
            check()
        self._observe("step")
        self._settle()

    def tick(self) -> None:
        """The time that the core asked for has come."""
        core = self.core
        if core is None or self.paused:
            return
        now = self.clock.at(self.world.now_ms)
        self.world.trace("tick", self.node_id, now)
        self._guarded(lambda: core.tick(now))
        self._observe("tick")
        if core.role is Role.LEADER:
            self.watch.check_quorum(self, core, now)
        self._settle()

    def after_pause(self, action: Callable[[], None]) -> None:
        """Do something now, or as soon as the node runs again; never if it goes down before."""
        if self.paused:
            self._inbox.append(action)
        else:
            action()

    def ask(self, action: Callable[[RaftCore], object]) -> None:
        """Let the core do something for a client or an operator; errors go to the caller."""
        if self.core is not None:
            try:
                action(self.core)
            finally:
                self._observe("ask")
                self._settle()

    def take_snapshot(self) -> None:
        """Write a snapshot of what is applied; it is durable a while later."""
        core, state = self.core, self.state
        if core is None or self.ready is not None or state.index <= self.disk.snapshot_index:
            return
        meta = self._guarded(lambda: core.applied_snapshot)
        # A log that began before the first voter set does not know the founder.
        if meta.point != (state.term, state.index) or meta.voters not in ((), state.voters):
            raise Violation(f"node {self.node_id} would call {state} {meta}")
        contents = Contents(meta, state.digest)
        self.later(self.world.rng.choice((0, 0, 10, 200)), lambda: self._compact(contents))

    def _compact(self, contents: Contents) -> None:
        core, rng = self.core, self.world.rng
        if core is None or contents.meta.point.index <= core.snapshot_point.index:
            return
        if self.disk.snapshot is not None and rng.random() < 0.5:
            self.old_snapshot = self.disk.snapshot
        self.disk.compact(contents, trim=rng.random() < 0.7)
        self.world.sometimes("compacted")
        self.world.trace("compact", self.node_id, contents.meta.point.index)
        self._guarded(lambda: core.compact(contents.meta))
        self._observe("compact")
        self._settle()

    def snapshot_failed(self, to: NodeId) -> None:
        """The snapshot that was sent to a node has not arrived."""
        core = self.core
        if core is None:
            return
        self.world.sometimes("snapshot could not be delivered")
        self.world.trace("failed", self.node_id, to)
        self._guarded(lambda: core.snapshot_failed(to))
        self._settle()

    def observers_changed(self) -> None:
        """Other nodes are to be sent the log."""
        self._set_observers()
        self._settle()

    def _set_observers(self) -> None:
        """Tell a leader who else is to be sent the log."""
        core = self.core
        if core is not None and core.role is Role.LEADER:
            self._guarded(lambda: core.set_observers(self.world.observers_of(self)))

    # --- work

    def _settle(self) -> None:
        """Work until there is nothing to do or a save is under way, then set the alarm."""
        rounds = 0
        while self.core is not None and self.ready is None and self.core.has_ready():
            self._take()
            rounds += 1
            if rounds > ROUNDS_MAX:
                raise Violation(f"node {self.node_id} is never done with its work")
        if self.core is not None and self.ready is not None:
            for message in self._guarded(self.core.take_messages_now):
                self._send(message)
        self._rearm()

    def _take(self) -> None:
        core, world = self.core, self.world
        if core is None:
            return
        ready = self._guarded(core.ready)
        self.ready = ready
        self._death = self._draw_death(ready)
        if self._dies(Death.BEFORE_SENDING):
            return
        for message in ready.messages_now:
            self._send(message)
        if not ready.has_work:
            self._after_save()
            return
        world.oracle.on_save(self.node_id, self.disk, ready, self.state.index)
        self._steps = self.disk.save_steps(ready)
        if self._dies(Death.WITHIN_SAVE):
            return
        delay = self._save_delay()
        if delay:
            self.later(delay, self._save_is_through)
        else:
            self._saved()

    def _draw_death(self, ready: Ready) -> Death | None:
        """Where in this work the node will die; seldom anywhere."""
        world = self.world
        chance = world.profile.crash_at_work if world.faulty else 0.0
        if ready.snapshot is not None and world.faulty:
            chance = 0.2
        if not chance or world.rng.random() >= chance:
            return None
        if ready.snapshot is not None and world.rng.random() < 0.5:
            return Death.WITHIN_SAVE
        return world.rng.choice(tuple(Death))

    def _save_delay(self) -> float:
        """How long the save takes; while the disk is full it waits."""
        world = self.world
        if not world.faulty:
            return 0
        waits = self.full_until_ms - world.now_ms
        if waits > 0:
            world.sometimes("save waited for space")
            return waits
        return world.rng.randrange(2 * self.save_ms + 1) if self.save_ms else 0

    def _save_is_through(self) -> None:
        self._saved()
        self._settle()

    def _saved(self) -> None:
        if self.next_save_fails:
            self.world.sometimes("save failed")
            self.crash()
            self.world.restart_later(self)
            return
        for step in self._steps:
            step()
        self._steps = []
        self.world.trace("saved", self.node_id, self.disk.term, self.disk.end_index)
        self.world.oracle.check_one_change(self.node_id, self.disk)
        self._after_save()

    def _after_save(self) -> None:
        ready = self.ready
        if ready is None or self._dies(Death.BEFORE_MESSAGES):
            return
        if ready.snapshot is not None:
            self.state = self.world.oracle.states[ready.snapshot.point.index]
        self._send_all(ready.messages)
        if self.core is None or self._dies(Death.BEFORE_APPLY):
            return
        for entry in ready.committed:
            self._apply(entry)
        if self._dies(Death.BEFORE_ADVANCE):
            return
        self._advance(ready)

    def _send_all(self, messages: tuple[Message, ...]) -> None:
        dies_after = -1
        if self._death is Death.WITHIN_MESSAGES and messages:
            dies_after = self.world.rng.randrange(len(messages))
        for number, message in enumerate(messages):
            if number == dies_after:
                self._dies(Death.WITHIN_MESSAGES)
                return
            self._send(message)

    def _advance(self, ready: Ready) -> None:
        core, world = self.core, self.world
        if core is None:
            return
        self.ready = None
        self._guarded(lambda: core.advance(ready))
        if core.applied_index != self.state.index:
            raise Violation(f"applied {self.state.index}, the core says {core.applied_index}")
        self._observe("advance")
        for read in ready.reads:
            self._answer(read.context, read.index)
        for context in ready.reads_failed:
            if self.reads.pop(context, None) is not None:
                world.sometimes("read refused at leadership loss")
        if self.watch.unproved and core.role is Role.LEADER and ready.entries:
            self.watch.unproved = False
            world.oracle.on_first_save_of_leader(self.disk, self.node_id, core.term)
        if not core.has_ready():
            world.oracle.check_voters(self.node_id, self.disk, core.voters)

    def _apply(self, entry: Entry) -> None:
        world = self.world
        self.state = world.oracle.on_apply(self.node_id, self.disk, self.state, entry)
        world.trace("apply", self.node_id, entry.index, self.state.digest)
        if self.watch.role is Role.LEADER and entry.term < self.watch.term:
            world.sometimes("earlier term committed by the own term")
        if len(entry.payloads) > 1:
            world.sometimes("entry of several payloads applied")
        if world.rng.random() < 0.05:
            self.disk.commit_index = entry.next_index
        pending = self.pending.pop(entry.index, None)
        if pending is None:
            return
        if pending.term != entry.term:
            world.sometimes("proposal lost with leadership")
        elif pending.payloads != entry.payloads:
            raise Violation(f"{pending} is acknowledged for {entry}")
        else:
            world.sometimes("acknowledged")
            if self.watch.term != entry.term:
                world.sometimes("acknowledged after a change of leader")

    def _answer(self, context: int, index: int) -> None:
        floor = self.reads.pop(context, None)
        if floor is None:
            raise Violation(f"node {self.node_id}: the read {context} is answered unasked")
        if index < floor[0] or self.state.index < index:
            raise Violation(
                f"node {self.node_id}: a read at {index}, applied {self.state.index}, "
                f"when it was asked {floor[0]} was committed"
            )
        self.world.sometimes("read answered")

    def _send(self, message: Message) -> None:
        world = self.world
        world.oracle.check_message(self.disk, message)
        if isinstance(message.body, InstallSnapshot):
            self._send_snapshot(message, message.body)
        else:
            world.network.send(world.now_ms, message)

    def _send_snapshot(self, message: Message, body: InstallSnapshot) -> None:
        for contents in (self.disk.snapshot, self.old_snapshot):
            if contents is not None and contents.meta == body.snapshot:
                self.world.network.send(self.world.now_ms, message, contents)
                return
        self.later(50, lambda: self.snapshot_failed(message.to))

    # --- after each call

    def _guarded(self, call: Callable[[], T]) -> T:
        """Call the core; whatever it raises, it should not have."""
        try:
            return call()
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"node {self.node_id}: {type(error).__name__}: {error}") from error

    def _dies(self, where: Death) -> bool:
        if self._death is not where:
            return False
        if where in DEATHS_IN_WORDS:
            self.world.sometimes(DEATHS_IN_WORDS[where])
        self.crash()
        self.world.restart_later(self)
        return True

    def _observe(self, cause: str) -> None:
        """Look at what a call has changed."""
        if self.core is not None and self.watch.look(self, self.core, cause):
            self._set_observers()

    def _rearm(self) -> None:
        """See to it that the core is woken at its next deadline."""
        core = self.core
        if core is None or self.paused:
            self._alarm.set(None)
            return
        deadline = core.next_deadline_ms()
        now = self.world.now_ms
        self._alarm.set(None if deadline is None else max(self.clock.when(deadline), now))

    def _on_alarm(self) -> None:
        self.tick()
        wanted = self._alarm.wanted_ms
        if wanted is not None and wanted <= self.world.now_ms:
            raise Violation(f"node {self.node_id} wants to be woken in the past, over and over")
