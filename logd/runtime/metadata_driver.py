"""Joins the metadata machine to consensus: commands in, committed images out.

    submit -> machine.handle -> records -> propose -> (committed) -> on_apply -> image -> reply

The machine runs ahead: it replays records as they are proposed, so that the next command is judged
against what is on its way. `image` holds only what is committed. A reply is given once its records
are committed *and* this node has followed the image (its logs exist, or are gone).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

from logd_wire.errors import InvalidRequestError, LogdError, NotLeaderError, OutcomeUnknownError

from logd.consensus import Consensus, Role
from logd.metadata import ClusterImage, MetadataMachine, Outcome, replay
from logd.model.ids import LogIndex, NodeId, Term
from logd.runtime.ports import Clock, Spawn
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record

_logger = logging.getLogger("logd.metadata")

R = TypeVar("R")

SUBMIT_TIMEOUT_MS = 30_000
#: How long to wait before following an image is tried again (a full disk, mostly).
FOLLOW_RETRY_MS = 250

#: Brings the node from one committed image to the next; raises LogdError to be called again.
Follow = Callable[[ClusterImage, ClusterImage], Awaitable[None]]


class MetadataDriver:
    """Implements `StateMachine`; one for each node."""

    def __init__(self, *, machine: MetadataMachine, clock: Clock, follow: Follow) -> None:
        self._machine = machine
        self._clock = clock
        self._follow = follow
        self._image = machine.image
        #: Entries that the machine has replayed and that are not applied yet. They count until
        #: they are, whatever becomes of the callers: a caller that gives up takes nothing back.
        self._ahead = 0
        #: Counts the committed images; `_followed` is the newest that this node has followed.
        self._version = 0
        self._followed = 0
        self._changed = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def image(self) -> ClusterImage:
        """The cluster as far as it is committed."""
        return self._image

    def start(self, consensus: Consensus, spawn: Spawn) -> None:
        """Begin to take commands and to follow; the log has been replayed."""
        self._consensus = consensus
        spawn(self._follow_loop(), "metadata")
        self._changed.set()

    def on_apply(self, index: LogIndex, term: Term, payloads: Sequence[bytes]) -> int:
        records = [decode_metadata_record(payload) for payload in payloads]
        self._image = replay(self._image, records)
        if self._ahead:
            self._ahead -= 1
        else:
            self._machine.reset(self._image)
        self._version += 1
        self._changed.set()
        return self._version

    def on_role(self, role: Role, term: Term, leader_id: NodeId | None) -> None:
        if role is not Role.LEADER:
            self._ahead = 0
            self._machine.reset(self._image)

    async def submit(
        self, decide: Callable[[MetadataMachine], Outcome[R]], *, follow: bool = True
    ) -> R:
        """Decide on a command and answer once the decision holds.

        `decide` calls `machine.handle` with the command. Raises what the machine refuses with,
        NotLeaderError, or OutcomeUnknownError when the answer did not come in time.
        """
        outcome = decide(self._machine)
        if not outcome.records:
            await self._consensus.read_barrier(timeout_ms=SUBMIT_TIMEOUT_MS)
            return outcome.reply
        before = self._machine.image
        payloads = [encode_metadata_record(record) for record in outcome.records]
        self._machine.replay(*outcome.records)
        self._ahead += 1
        try:
            committed = await self._consensus.propose(payloads, timeout_ms=SUBMIT_TIMEOUT_MS)
        except (NotLeaderError, InvalidRequestError):
            # Refused before it was appended, and nothing ran in between.
            self._ahead -= 1
            self._machine.reset(before)
            raise
        if follow:
            await self._wait_followed(cast(int, committed.result))
        return outcome.reply

    async def wait_followed(self) -> None:
        """Wait until this node has followed everything committed so far."""
        await self._wait_followed(self._version)

    async def _wait_followed(self, version: int) -> None:
        if self._followed >= version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, future))
        try:
            await asyncio.wait_for(future, SUBMIT_TIMEOUT_MS / 1000)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                "the change is committed, but this node could not follow it yet",
                hint="see the node's log; a full disk is the usual reason",
            ) from error

    async def _follow_loop(self) -> None:
        reached = ClusterImage()
        while True:
            await self._changed.wait()
            self._changed.clear()
            target, version = self._image, self._version
            while True:
                try:
                    await self._follow(reached, target)
                    break
                except LogdError as error:
                    _logger.warning("cannot follow the metadata, trying again: %s", error)
                    await self._clock.sleep_ms(FOLLOW_RETRY_MS)
            reached, self._followed = target, version
            self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for version, future in waiting:
            if version > self._followed:
                self._waiting.append((version, future))
            elif not future.done():
                future.set_result(None)
