"""Joins the groups' machine to one led partition of `__consumer_offsets`, for one leadership.

    waiting --everything before is committed--> loading --replayed--> coordinating
                        ^                                                  |
                        +--- an append failed, or the node is out of service

A decision is appended and replayed at once, so that the next one is judged against what is on its
way; its reply is given when it is committed, with everything that it stood on. That goes for
refusals and for mere reads too. What an append came to that failed is not known: the machine is
thrown away then and made anew from the log, and callers ask again, which does no harm, since
whatever a group is asked for is done once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    LogdError,
    NotCoordinatorError,
    NotLeaderError,
    error_for,
)

from logd.groups import Decision, GroupRecord, Groups, Heartbeat, HeartbeatReply, Topics
from logd.runtime.group_log import encode_decision, load
from logd.runtime.outcomes import ProduceOutcome
from logd.runtime.parked_heartbeats import ParkedHeartbeats
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock, Disk
from logd.runtime.signal import Signal, within

_logger = logging.getLogger("logd.groups")

T = TypeVar("T")

#: How long a log that could not be read, or not be written to, is left alone.
RETRY_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class GroupSurroundings:
    """What all coordinators of a node share."""

    new_machine: Callable[[], Groups]
    #: As the committed metadata has them now.
    topics: Callable[[], Topics]
    #: Whether the controller counts on this node: else another one may coordinate by now.
    serving: Callable[[], bool]
    disk: Disk
    clock: Clock


class GroupDriver:
    """One leadership of one partition. `run` is its life; it returns when that is over."""

    def __init__(self, found: Partition, around: GroupSurroundings) -> None:
        self.partition = found
        self.leader_epoch = found.leader_epoch
        self._around = around
        self._machine: Groups | None = None
        #: Why there is no machine, where it is not just about to be there.
        self._failure: LogdError | None = None
        #: The newest append that is not committed yet: with it is everything before.
        self._last: asyncio.Future[ProduceOutcome] | None = None
        self._unsettled = 0
        #: The machine has to be told of the topics.
        self._topics_due = False
        self._parked = ParkedHeartbeats()
        self._news = Signal()

    @property
    def leads(self) -> bool:
        """Whether this leadership lasts."""
        return self.partition.leads(self.leader_epoch)

    @property
    def machine(self) -> Groups | None:
        """The groups as they will be once everything on its way is committed; None: not loaded."""
        return self._machine

    # --- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Load, coordinate, and begin again, until the leadership ends."""
        self.partition.listen(self._news.set)
        try:
            while self.leads:
                await self._come_to_load()
                begun_ms = self._around.clock.monotonic_ms()
                if self.leads:
                    await self._try_load()
                await self._wait_while(lambda: self._machine is not None)
                await self._pause_until(begun_ms + RETRY_MS)
        finally:
            self._machine = None
            self._parked.release_all()
            self.partition.unlisten(self._news.set)

    async def _come_to_load(self) -> None:
        """Until everything in the log is committed, so that what is read there is so."""
        await self._wait_while(lambda: self._unsettled > 0)
        end_offset = self.partition.view.written_end_offset
        await self._wait_while(
            lambda: self.partition.high_watermark < end_offset or not self._around.serving()
        )

    async def _wait_while(self, waits: Callable[[], bool]) -> None:
        """Wait for news as long as `waits` says so and the leadership lasts."""
        while True:
            news = self._news.next
            if not (waits() and self.leads):
                return
            await news.wait()

    async def _pause_until(self, resume_ms: int) -> None:
        """Do not load again and again what fails again and again."""
        delay_ms = resume_ms - self._around.clock.monotonic_ms()
        if delay_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_ms / 1000):
                    await self._wait_while(lambda: True)

    async def _try_load(self) -> None:
        clock = self._around.clock
        machine = self._around.new_machine()
        begun_ms, found = clock.monotonic_ms(), self.partition
        end_offset = found.high_watermark
        try:
            loaded = await load(
                found,
                self._around.disk,
                end_offset,
                machine.replay,
                goes_on=lambda: self.leads and self._around.serving(),
            )
        except LogdError as error:
            self._failure = error
            _logger.error("%s: groups cannot be loaded: %s", found.name, error)
            return
        if not loaded:
            return
        now_ms = clock.monotonic_ms()
        machine.loaded(now_ms)
        self._failure, self._machine = None, machine
        _logger.info(
            "%s: loaded up to offset %d in %d ms", found.name, end_offset, now_ms - begun_ms
        )
        self._topics_due = True
        self.tick(now_ms)

    def _unload(self, why: object) -> None:
        """Judge by what the log says, from now on."""
        _logger.info("%s: groups are loaded again: %s", self.partition.name, why)
        self._machine = self._last = None
        self._parked.release_all()
        self._news.set()

    # --- decisions ---------------------------------------------------------------------------

    async def decide(self, handle: Callable[[Groups, int, int], Decision[T]]) -> T:
        """Have the machine decide (its monotonic and wall time are the last arguments); answers
        once the decision is committed.

        Raises its refusals, NotCoordinatorError when another node leads, and
        CoordinatorLoadingError where asking again is all there is to do.
        """
        machine = self._loaded()
        clock = self._around.clock
        try:
            decision = handle(machine, clock.monotonic_ms(), clock.wall_ms())
        except LogdError:
            await self._committed(machine)
            raise
        self._append(machine, decision.records)
        await self._committed(machine)
        return decision.reply

    async def heartbeat(self, said: Heartbeat, wait_ms: int) -> HeartbeatReply:
        """What a member is told. While that is nothing new the answer may be kept back, up to
        `wait_ms` and until there is something; the member then calls again at once: its next
        heartbeat is told the news, and this one does not count as heard later than it was."""
        released = self._parked.park(said.group_id, said.member_id)
        try:
            reply = await self.decide(
                lambda machine, now_ms, _wall_ms: machine.heartbeat(said, now_ms)
            )
            wait_ms = min(wait_ms, reply.heartbeat_interval_ms)
            if wait_ms <= 0 or reply.assignment is not None or reply.member_epoch <= 0:
                return reply
            with contextlib.suppress(TimeoutError):
                await within(released, wait_ms)
        finally:
            self._parked.leave(said.group_id, said.member_id, released)
        return replace(reply, heartbeat_interval_ms=0)

    async def read(self, look: Callable[[Groups], T]) -> T:
        """What the machine says of its groups, once that is committed."""
        return await self.decide(lambda machine, _now, _wall: Decision((), look(machine)))

    def _loaded(self) -> Groups:
        if not self.leads:
            raise self._moved()
        if not self._around.serving():
            raise _loading(self.partition, "this node is out of service")
        failure = self._failure
        if failure is not None:
            raise error_for(failure.code, failure.message, hint=failure.hint, retriable=False)
        if self._machine is None:
            raise _loading(self.partition, "it reads its log")
        return self._machine

    def _append(self, machine: Groups, records: Sequence[GroupRecord]) -> None:
        if not records:
            return
        try:
            for batch in encode_decision(records, self._around.clock.wall_ms()):
                self._append_batch(machine, batch)
        except LogdError as error:
            # The machine has set its clocks as if this had been done.
            self._unload(error)
            raise self._moved() if isinstance(error, NotLeaderError) else error from None
        for record in records:
            machine.replay(record)
        self._parked.look(machine, records)

    def _append_batch(self, machine: Groups, batch: bytes) -> None:
        appended = self.partition.append(batch, leader_epoch=self.leader_epoch, acks=-1)
        self._last = appended
        self._unsettled += 1
        appended.add_done_callback(partial(self._settled, machine))

    def _settled(self, machine: Groups, appended: asyncio.Future[ProduceOutcome]) -> None:
        self._unsettled -= 1
        if self._last is appended:
            self._last = None
        failure = "it was given up" if appended.cancelled() else appended.exception()
        if failure is not None and self._machine is machine:
            self._unload(failure)
        self._news.set()

    async def _committed(self, machine: Groups) -> None:
        """Wait until everything that was appended so far is committed."""
        last = self._last
        if last is not None:
            # Shielded: a caller who leaves takes nothing back. `_settled` knows what failed.
            with contextlib.suppress(Exception):
                await asyncio.shield(last)
        if not self.leads:
            raise self._moved()
        if self._machine is not machine:
            raise _loading(self.partition, "what it decided was not committed, as far as it knows")

    def _moved(self) -> LogdError:
        return not_coordinator(self.partition)

    # --- time and topics ---------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Let time pass: sessions, rebalance timeouts, expiry."""
        machine, clock = self._machine, self._around.clock
        if not self._around.serving():
            if machine is not None:
                self._unload("this node is out of service")
            return
        if machine is None:
            # It may wait for this node to be in service.
            self._news.set()
            return
        if self._topics_due:
            self._topics_due = False
            self._volunteer(machine, lambda: machine.topics_changed(self._around.topics(), now_ms))
        deadline_ms = machine.next_deadline_ms()
        if self._machine is machine and deadline_ms is not None and deadline_ms <= now_ms:
            self._volunteer(machine, lambda: machine.tick(now_ms, clock.wall_ms()))

    def topics_changed(self) -> None:
        """Topics came, went or grew, or replicas of theirs moved."""
        self._topics_due = True
        self.tick(self._around.clock.monotonic_ms())

    def _volunteer(self, machine: Groups, decide: Callable[[], Decision[None]]) -> None:
        """Decide what nobody asked for; what cannot be appended is decided by another machine."""
        with contextlib.suppress(LogdError):
            self._append(machine, decide().records)


def _loading(found: Partition, why: str) -> CoordinatorLoadingError:
    return CoordinatorLoadingError(
        f"the coordinator of the groups in {found.name} is not ready: {why}",
        hint="try again in a moment",
    )


def not_coordinator(found: Partition) -> NotCoordinatorError:
    """What a caller is told who came to a node that does not coordinate the group any more."""
    error = NotCoordinatorError(
        f"another node coordinates the groups in {found.name}",
        code=ErrorCode.NOT_COORDINATOR,
        hint="ask again who coordinates the group",
    )
    error.leader_id, error.leader_epoch = found.state.leader_id, found.state.leader_epoch
    return error
