"""What members say to their coordinator goes astray: lost, late, twice. What they hear is noted.

Behind a fault stands a task of the network, not of the member: what was said arrives even when the
member has given up waiting, or is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from logd_client._transport.api import Channel, Stream, Transport
from logd_client._transport.methods import COMMIT_OFFSETS, FETCH_OFFSETS, GROUP_HEARTBEAT
from logd_wire.errors import LogdError
from logd_wire.errors import TimeoutError as LogdTimeoutError

from logd.testing.rng import SimRng
from tests.sim.groups.world import GroupWorld, Heard, Kept

GROUP_CALLS = frozenset({GROUP_HEARTBEAT, COMMIT_OFFSETS, FETCH_OFFSETS})
#: How long the network itself waits for an answer that nobody may wait for any more.
PATIENCE_MS = 20_000.0


class MemberTransport:
    """The door of one member to the network."""

    def __init__(self, inner: Transport, world: GroupWorld, rng: SimRng) -> None:
        self._inner = inner
        self._world = world
        self._rng = rng

    def connect(self, address: str) -> MemberChannel:
        return MemberChannel(self._inner.connect(address), self._world, self._rng)


class MemberChannel:
    """See the module."""

    def __init__(self, inner: Channel, world: GroupWorld, rng: SimRng) -> None:
        self.address = inner.address
        self._inner = inner
        self._world = world
        self._rng = rng

    def stream(self, method: str) -> Stream:
        return self._inner.stream(method)

    async def close(self) -> None:
        await self._inner.close()

    async def unary(self, method: str, request: Message, *, timeout_ms: float) -> Message:
        if method not in GROUP_CALLS:
            return await self._inner.unary(method, request, timeout_ms=timeout_ms)
        sent_ms = self._world.now_ms()
        try:
            answer = await self._passed(method, request, timeout_ms)
        except LogdError as error:
            self._world.trace(f"{method} refused: {error.code.name}")
            raise
        self._note(method, request, answer, sent_ms)
        return answer

    async def _passed(self, method: str, request: Message, timeout_ms: float) -> Message:
        faults, rng, sometimes = self._world.calls, self._rng, self._world.sometimes
        if rng.chance(faults.doubled):
            sometimes("call doubled")
            copy = self._late_ms() if rng.chance(0.5) else 0.0
            self._behind(method, request, copy, 0.0, lambda _: None)
        if rng.chance(faults.lost):
            sometimes("request lost")
            await self._silence(timeout_ms)
        if rng.chance(faults.lost):
            sometimes("answer lost")
            self._behind(method, request, 0.0, 0.0, lambda _: None)
            await self._silence(timeout_ms)
        before = self._late_ms() if rng.chance(faults.late) else 0.0
        after = self._late_ms() if rng.chance(faults.late) else 0.0
        if not before and not after:
            return await self._inner.unary(method, request, timeout_ms=timeout_ms)
        sometimes("call late")
        return await self._late(method, request, before, after, timeout_ms)

    def _late_ms(self) -> float:
        return self._rng.exponential(self._world.calls.late_ms_mean, PATIENCE_MS / 2)

    async def _silence(self, timeout_ms: float) -> None:
        await self._world.client_clock.sleep_ms(timeout_ms)
        raise self._unanswered()

    def _unanswered(self) -> LogdError:
        return LogdTimeoutError("no answer came in time", broker=self.address)

    async def _late(
        self, method: str, request: Message, before: float, after: float, timeout_ms: float
    ) -> Message:
        came: asyncio.Future[Message] = self._world.loop.create_future()
        # An error is nobody's when the member has been ended meanwhile.
        came.add_done_callback(lambda done: done.cancelled() or done.exception())

        def take(outcome: Message | LogdError) -> None:
            if came.done():
                return
            if isinstance(outcome, LogdError):
                came.set_exception(outcome)
            else:
                came.set_result(outcome)

        self._behind(method, request, before, after, take)
        done, _ = await asyncio.wait([came], timeout=timeout_ms / 1000)
        if not done:
            came.cancel()
            raise self._unanswered()
        return came.result()

    def _behind(
        self,
        method: str,
        request: Message,
        before: float,
        after: float,
        take: Callable[[Message | LogdError], Any],
    ) -> None:
        async def pass_on() -> None:
            clock = self._world.client_clock
            await clock.sleep_ms(before)
            outcome: Message | LogdError
            try:
                outcome = await self._inner.unary(method, request, timeout_ms=PATIENCE_MS)
            except LogdError as error:
                outcome = error
            await clock.sleep_ms(after)
            take(outcome)

        self._world.loop.create_task(
            pass_on(), name=f"network {method}", context=self._world.network.context.copy()
        )

    def _note(self, method: str, request: Any, answer: Any, sent_ms: int) -> None:
        notes, now_ms = self._world.notes, self._world.now_ms()
        if method == COMMIT_OFFSETS:
            notes.kept += [
                Kept(now_ms, asked.topic_id, asked.partition, asked.offset)
                for asked, outcome in zip(request.offsets, answer.outcomes, strict=True)
                if not outcome.error.code
            ]
        elif method == GROUP_HEARTBEAT and request.member_epoch >= 0:
            assignment = None
            if answer.HasField("assignment"):
                assignment = frozenset(
                    (entry.topic_id, partition)
                    for entry in answer.assignment.topics
                    for partition in entry.partitions
                )
            notes.heard.append(Heard(now_ms, request.member_id, answer.member_epoch, assignment))
            until_ms = sent_ms + answer.session_timeout_ms
            known = notes.deadlines.get(request.member_id, until_ms)
            notes.deadlines[request.member_id] = max(known, until_ms)
