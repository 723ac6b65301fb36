"""A consumer's membership of a group: the heartbeat on the I/O thread, apart from any handler, and
what follows from its answers.

Partitions that stay are not touched. One that goes is held at once, handed over when the
application has come back for more, committed, and only then given up. All that can be seen of it
by the application happens inside of its reads.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import math
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from logd_wire.errors import LogdError, RebalanceError

from logd_client._core.fetch_state import Lease, News
from logd_client._core.group_member import (
    Beat,
    Change,
    GiveUp,
    GroupMember,
    Held,
    Lost,
    Phase,
    Subscription,
    TakeUp,
)
from logd_client._core.group_reading import GroupReading
from logd_client._core.partition_reader import Hold, Reset
from logd_client._core.stall_watch import StallWatch
from logd_client._engine.cluster import Cluster
from logd_client._engine.coordinator import (
    ATTEMPT_TIMEOUT_MS,
    Coordinator,
    HeartbeatCodec,
    answer_of,
)
from logd_client._engine.group_config import GroupConfig
from logd_client._engine.group_offsets import GroupOffsets, Identity, Offsets
from logd_client._engine.ports import Clock, Rng
from logd_client._transport.methods import GROUP_HEARTBEAT
from logd_client.values import TopicPartition

logger = logging.getLogger("logd.client.group")

#: Attempts at one heartbeat that fit into a session.
_ATTEMPTS_PER_SESSION: Final = 4
#: How long a member that leaves waits to be heard.
LEAVE_TIMEOUT_MS: Final = 3_000.0
#: How long a commit may take that others wait for: of what is given up.
_LAST_COMMIT_TIMEOUT_MS: Final = 5_000.0


@dataclass(slots=True)
class _Rebalance:
    """One that is going on, for its line in the log."""

    began_ms: float
    why: str
    before: set[TopicPartition]


class GroupSession:
    """See the module. Runs on the engine's loop; `reading` is for callers, from any thread."""

    def __init__(
        self,
        config: GroupConfig,
        cluster: Cluster,
        clock: Clock,
        rng: Rng,
        *,
        reading: GroupReading,
        reset: Reset,
        call_on_loop: Callable[[Callable[[], None]], object],
    ) -> None:
        self.config = config
        self.reading = reading
        self.coordinator = Coordinator(cluster, clock, rng, config.group_id)
        self.offsets = GroupOffsets(
            cluster,
            clock,
            self.coordinator,
            self.reading,
            identity=self._identity,
            ids=lambda: self._ids if self.subscribed else None,
            hurry=self._hurry,
        )
        self.subscribed = False
        #: When a heartbeat was answered last; None: never.
        self.heard_ms: float | None = None
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._reset = reset
        self._call_on_loop = call_on_loop
        self._loop = asyncio.get_running_loop()
        self._become_another()
        self._told: frozenset[News] = frozenset()
        self._ids: dict[TopicPartition, bytes] = {}
        #: Of these the application does not know that it has them, or not any more.
        self._silent: set[TopicPartition] = set()
        self._memberships = 0
        #: Topic -> its id, and how many partitions it had, when it was subscribed to.
        self._then: dict[str, tuple[bytes, int]] = {}
        self._news = asyncio.Event()
        self._handed_back = asyncio.Event()
        self._commit_now = asyncio.Event()
        self._left = asyncio.Event()
        self._handovers: dict[asyncio.Task[None], None] = {}
        #: Heartbeats that are not answered yet.
        self._calls: dict[asyncio.Task[None], None] = {}
        self._beating: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._leaving = False
        # Whoever takes longer loses everything when a partition has to go.
        self._stalls = StallWatch(config.rebalance_timeout_ms)
        self._rebalance: _Rebalance | None = None
        #: Whether there was one before.
        self._rebalanced = False

    def _become_another(self) -> None:
        """Be a member of which nobody has heard: a late word of one that left is not about it."""
        config = self.config
        self.member = GroupMember(
            _new_member_id(self._rng),
            self._rng,
            session_ms=config.session_timeout_ms,
            rebalance_ms=config.rebalance_timeout_ms,
            static=config.instance_id is not None,
        )
        self._codec = HeartbeatCodec(
            config.group_id,
            self.member.member_id,
            config.said_by(self._cluster.config.client_id),
        )

    # ---- joining and leaving -------------------------------------------------------------------

    def subscribe(self, subscription: Subscription, told: frozenset[News]) -> None:
        """Be a member with this subscription. `told`: what the application wants to hear of."""
        self._told = told
        for topic in subscription.topics:
            state = self._cluster.metadata.topic(topic)
            if state is not None:
                self._then.setdefault(topic, (state.topic_id, len(state.partitions)))
        if not self.subscribed:
            self.subscribed = True
            self._leaving = False
            self._left.clear()
            self.reading.begin(Lease(self._clock.monotonic_ms), self._hand_back)
            self.reading.may_read_until(-math.inf)
        self.member.subscribe(subscription, self._clock.monotonic_ms())
        if self._beating is None:
            self._beating = self._start(self._beat(), "heartbeat")
        self.keep_committing()
        self._news.set()

    def keep_committing(self) -> None:
        """Commit what is finished from time to time, if that was chosen."""
        if self.config.auto_commit and self._committing is None:
            self._committing = self._start(self._commit_by_itself(), "commit")

    async def stop_reading(self) -> tuple[TopicPartition, ...]:
        """Hand out nothing more; returns what the application was told that it has."""
        self._leaving = True
        self._cancel_handovers()
        held = tuple(self._ids)
        self.reading.hold(held, Hold.REVOKING)
        return self._known(held)

    def _known(self, partitions: tuple[TopicPartition, ...]) -> tuple[TopicPartition, ...]:
        """Those of which the application has to be told that they go; what waits to be said of
        them is not said any more."""
        self._silent |= self.reading.withdraw(News.ASSIGNED, partitions)
        self._silent -= self.reading.withdraw(News.REVOKED, partitions)
        return tuple(tp for tp in partitions if tp not in self._silent)

    async def leave(self) -> None:
        """Commit what is finished and be a member no longer; the coordinator is told, if it hears
        it within a moment."""
        if not self.subscribed:
            return
        await self.stop_reading()
        self._carry_out(self.member.tick(self._clock.monotonic_ms()))
        await self._last_commit(list(self._ids))
        self._ids.clear()
        self._silent.clear()
        self.reading.drop_all()
        self.member.leave(self._clock.monotonic_ms())
        self._news.set()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_MS / 1000):
                await self._left.wait()
        except builtins.TimeoutError:
            logger.info("group %s: the coordinator did not hear us leave", self.config.group_id)
        await self._end_tasks()
        self.subscribed = False
        self._memberships += 1
        self._become_another()
        self.reading.end()

    async def close(self) -> None:
        """Leave; commit what is finished, also without being a member. Idempotent."""
        if self.subscribed:
            await self.leave()
        elif self._committing is not None:
            await self._last_commit(None)
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        tasks = [each for each in (self._beating, self._committing) if each is not None]
        tasks += self._calls
        self._beating = self._committing = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- the heartbeat -------------------------------------------------------------------------

    async def _beat(self) -> None:
        while self.member.phase not in (Phase.OUT, Phase.FAILED):
            now_ms = self._clock.monotonic_ms()
            self._carry_out(self.member.tick(now_ms))
            self._look_for_stall(now_ms)
            beat = self.member.next_beat(now_ms)
            if beat is not None:
                call = self._start(self._say(beat), "heartbeat")
                self._calls[call] = None
                call.add_done_callback(lambda done: self._calls.pop(done, None))
                continue
            self._news.clear()
            await self._wait(self._news, self.member.next_deadline_ms() - now_ms)
        if self.member.failure is not None:
            logger.info("group %s: %s", self.config.group_id, self.member.failure)
            self.reading.fail(self.member.failure)
        self._left.set()

    async def _say(self, beat: Beat) -> None:
        """One heartbeat and what follows from it."""
        # What it says may bring the deadline nearer.
        self.reading.may_read_until(self.member.deadline_ms)
        patience_ms = min(ATTEMPT_TIMEOUT_MS, self.member.session_ms / _ATTEMPTS_PER_SESSION)
        try:
            message = await self.coordinator.attempt(
                GROUP_HEARTBEAT, self._codec.request(beat), timeout_ms=beat.wait_ms + patience_ms
            )
        except LogdError as error:
            logger.info("group %s: heartbeat: %s", self.config.group_id, error)
            changes = self.member.on_failure(beat, error, self._clock.monotonic_ms())
        else:
            self.heard_ms = self._clock.monotonic_ms()
            changes = self.member.on_answer(beat, answer_of(message), self.heard_ms)
        self._carry_out(changes)
        self._news.set()

    def _hurry(self) -> None:
        self.member.hurry(self._clock.monotonic_ms())
        self._news.set()

    def _identity(self) -> Identity:
        if not self.subscribed:
            return Identity()
        return Identity(self.member.member_id, self.member.epoch, self._memberships)

    # ---- partitions come and go ----------------------------------------------------------------

    def _carry_out(self, changes: Iterable[Change]) -> None:
        for change in changes:
            match change:
                case TakeUp() | GiveUp() if self._leaving:
                    # It is neither read nor handed over: it goes with the membership.
                    continue
                case TakeUp(partitions):
                    self._note_rebalance("the assignment changed" if self._rebalanced else "joined")
                    self._take_up(partitions)
                case GiveUp(partitions):
                    self._note_rebalance("the assignment changed")
                    self._hand_over(partitions)
                case Lost(partitions, why):
                    self._lose(partitions, why)
        self.reading.may_read_until(self.member.deadline_ms)
        self.offsets.moved.set()
        self._log_rebalance()

    def _take_up(self, partitions: tuple[Held, ...]) -> None:
        tps = tuple(each.tp for each in partitions)
        self._ids.update({each.tp: each.topic_id for each in partitions})
        announce = News.ASSIGNED in self._told
        self.reading.take_up(
            {each.tp: (each.topic_id, self._reset_of(each)) for each in partitions},
            Hold.ASSIGNING if announce else Hold.NONE,
        )
        if announce:
            self.reading.announce(News.ASSIGNED, tps, self._hand_back)

    def _reset_of(self, held: Held) -> Reset:
        """What came after the subscription is new: nothing of it was missed yet."""
        topic_id, count = self._then.get(held.tp.topic, (held.topic_id, held.tp.partition + 1))
        is_new = held.topic_id != topic_id or held.tp.partition >= count
        return Reset.EARLIEST if is_new else self._reset

    def _hand_over(self, partitions: tuple[Held, ...]) -> None:
        self.reading.hold([each.tp for each in partitions], Hold.REVOKING)
        task = self._loop.create_task(self._handover(partitions), name="logd-client group handover")
        self._handovers[task] = None
        task.add_done_callback(self._handed_over)

    async def _handover(self, partitions: tuple[Held, ...]) -> None:
        tps = tuple(each.tp for each in partitions)
        told = self._known(tps)
        while self.reading.in_hand(tps) or self.reading.being_told_of(tps):
            self._handed_back.clear()
            await self._handed_back.wait()
        if told and News.REVOKED in self._told:
            heard = asyncio.Event()

            def hear() -> None:
                self._call_on_loop(heard.set)

            self._silent.update(told)
            self.reading.announce(News.REVOKED, told, hear)
            await heard.wait()
        await self._last_commit(tps)
        self.reading.drop(tps)
        self._silent.difference_update(tps)
        for tp in tps:
            self._ids.pop(tp, None)

    def _handed_over(self, task: asyncio.Task[None]) -> None:
        self._handovers.pop(task, None)
        if task.cancelled():
            return
        self._report(task)
        given_up = [each for each in self.member.held if each.tp not in self._ids]
        self._carry_out(self.member.given_up(given_up, self._clock.monotonic_ms()))
        self._news.set()

    def _lose(self, partitions: tuple[Held, ...], why: str) -> None:
        self._cancel_handovers()
        self._memberships += 1
        tps = tuple(each.tp for each in partitions)
        told = self._known(tps)
        self.reading.lose(tps, why)
        self._ids.clear()
        self._silent.clear()
        if told and News.LOST in self._told:
            self.reading.announce(News.LOST, told, self._hand_back)
        if tps:
            self._rebalance = None
            logger.warning("group %s: lost %s: %s", self.config.group_id, in_words(tps), why)
            self._note_rebalance("joined again")

    def _hand_back(self) -> None:
        self._call_on_loop(self._handed_back.set)

    def _cancel_handovers(self) -> None:
        handovers, self._handovers = list(self._handovers), {}
        for task in handovers:
            task.cancel()

    # ---- commits -------------------------------------------------------------------------------

    def commit_soon(self) -> None:
        """Do not wait for the interval."""
        self._commit_now.set()

    async def _commit_by_itself(self) -> None:
        while True:
            await self._wait(self._commit_now, self.config.auto_commit_interval_ms)
            self._commit_now.clear()
            try:
                await self.offsets.commit(self._finished)
            except LogdError as error:
                logger.warning(
                    "group %s: offsets could not be committed, trying again: %s",
                    self.config.group_id,
                    error,
                )

    def _finished(self, partitions: Iterable[TopicPartition] | None = None) -> Offsets:
        found = self.reading.finished(partitions)
        if self.subscribed:
            found = {tp: offset for tp, offset in found.items() if tp in self._ids}
        return found

    async def _last_commit(self, partitions: Iterable[TopicPartition] | None) -> None:
        """Commit what is finished of partitions that go; what cannot be is read again there."""
        if not self.config.auto_commit:
            return
        wanted = None if partitions is None else list(partitions)
        try:
            await self.offsets.commit(
                lambda: self._finished(wanted), timeout_ms=_LAST_COMMIT_TIMEOUT_MS
            )
        except RebalanceError as error:
            logger.info("group %s: not committed: %s", self.config.group_id, error)
        except LogdError as error:
            logger.warning("group %s: not committed: %s", self.config.group_id, error)

    # ---- the log -------------------------------------------------------------------------------

    def _note_rebalance(self, why: str) -> None:
        if self._rebalance is None:
            self._rebalance = _Rebalance(self._clock.monotonic_ms(), why, set(self._ids))

    def _log_rebalance(self) -> None:
        rebalance = self._rebalance
        if rebalance is None or self._handovers or not self.member.settled:
            return
        self._rebalance, self._rebalanced = None, True
        now = set(self._ids)
        logger.info(
            "group %s: rebalanced in epoch %d: %s; gained %s, gave up %s, has %s now; %.0f ms",
            self.config.group_id,
            self.member.epoch,
            rebalance.why,
            in_words(now - rebalance.before),
            in_words(rebalance.before - now),
            in_words(now),
            self._clock.monotonic_ms() - rebalance.began_ms,
            extra={"group": self.config.group_id, "epoch": self.member.epoch},
        )

    def _look_for_stall(self, now_ms: float) -> None:
        at_hand = self.reading.at_hand()
        stalled_ms = self._stalls.look(now_ms, at_hand)
        if stalled_ms is not None:
            logger.warning(
                "group %s: the application has not come back for %.0f s; it is at %s. Should one "
                "of its partitions have to go, it loses all after %g s (rebalance_timeout_ms)",
                self.config.group_id,
                stalled_ms / 1000,
                " ".join(f"{tp.topic}[{tp.partition}]@{position}" for tp, position, _ in at_hand),
                self.config.rebalance_timeout_ms / 1000,
            )

    # ---- within --------------------------------------------------------------------------------

    def _start(self, coroutine: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine, name=f"logd-client group {what}")
        task.add_done_callback(self._report)
        return task

    def _report(self, task: asyncio.Task[None]) -> None:
        """What only a bug explains ends the consumer: it must not stand still in silence."""
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            self.reading.fail(LogdError(f"{task.get_name()} failed: {problem!r}"))
            self._loop.call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": problem, "task": task}
            )

    async def _wait(self, event: asyncio.Event, milliseconds: float) -> None:
        """Wait for the event, so long at most."""
        seconds = None if milliseconds == math.inf else max(0.0, milliseconds) / 1000
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except builtins.TimeoutError:
            pass


def in_words(partitions: Iterable[TopicPartition]) -> str:
    """`orders[0] orders[3]`; `nothing`."""
    return " ".join(f"{topic}[{number}]" for topic, number in sorted(partitions)) or "nothing"


def _new_member_id(rng: Rng) -> str:
    """16 random bytes as a UUID in text form."""
    digits = "".join(f"{int(rng.random() * 2**16):04x}" for _ in range(8))
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
