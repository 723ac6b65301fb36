"""Joins the metadata machine to consensus: commands in, committed images out.

    submit  -> here, if this node leads; else by the leader's `decide`
    decide  -> machine.handle -> records -> propose -> (committed) -> on_apply -> image -> reply

The machine runs ahead: it replays records as they are proposed, so that the next command is judged
against what is on its way. `image` holds only what is committed. A reply is given once its records
are committed, and everything that the decision stood on; that goes for refusals too. `submit`
answers when this node has applied the reply's index *and* followed the image (its logs exist, or
are gone).

A command is sent again where it is known that it was not taken: the node asked did not lead. Where
that is not known, only commands that are done once however often they are asked for (`ONCE`) are
sent again; for the others the caller is told that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, overload

from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NetworkError,
    NotLeaderError,
    OutcomeUnknownError,
    ShuttingDownError,
)
from logd_wire.errors import TimeoutError as CallTimeoutError

from logd.consensus import Committed, Consensus, Role
from logd.consensus.log_types import Voters
from logd.metadata import (
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    MetadataMachine,
    MetadataRecord,
    NodeImage,
    NodeRemoval,
    ProducerIdBlock,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    Reply,
    TopicImage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
    VotersChanged,
    replay,
)
from logd.model.ids import ClusterId, LogIndex, NodeId, Term
from logd.runtime.image_codec import decode_image, encode_image
from logd.runtime.peers import Submitted
from logd.runtime.ports import Clock, Spawn
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record
from logd.runtime.signal import Level, Signal, wait_until
from logd.runtime.voters import to_voters

_logger = logging.getLogger("logd.metadata")

SUBMIT_TIMEOUT_MS: Final = 30_000
#: How long to wait before following an image is tried again (a full disk, mostly).
FOLLOW_RETRY_MS: Final = 250
#: How long to wait for news of a leader before asking again.
LEADER_RETRY_MS: Final = 100

#: Commands that name what they ask for by an id or a final state: asked twice, they are done once,
#: and answered as the first time. (A block of producer ids whose answer was lost is not used by
#: anybody, so that asking again is as good.) Others are of them if they have a request id, or name
#: the directory that is to go.
ONCE: Final = (
    FormCluster,
    RegisterNode,
    CreateTopic,
    AllocateProducerIds,
    AddVoter,
    UpdateVoter,
    FenceNode,
    UnfenceNode,
    ElectLeaders,
)

#: Brings the node from one committed image to the next; raises LogdError to be called again.
Follow = Callable[[ClusterImage, ClusterImage], Awaitable[None]]
#: Called with every committed image, in between two pieces of work of the node.
OnImage = Callable[[ClusterImage, LogIndex], None]


def _is_once(command: Command) -> bool:
    if isinstance(command, DeleteTopic | AlterTopic | TransferLeader | ReassignPartition):
        return bool(command.request_id)
    if isinstance(command, RemoveNode | ReplaceNode):
        return bool(command.directory_id)
    return isinstance(command, ONCE)


def _unknown(error: LogdError) -> OutcomeUnknownError:
    if isinstance(error, OutcomeUnknownError):
        return error
    return OutcomeUnknownError(
        f"the leader of the metadata log did not answer: {error.message}",
        hint="the change may still happen; look before you try again",
    )


class MetadataLog(Consensus, Protocol):
    """What is needed of the consensus driver."""

    @property
    def leads(self) -> bool: ...

    async def propose_voters(
        self, voters: Voters, payload: bytes, *, timeout_ms: int
    ) -> Committed: ...

    async def wait_applied(self, index: LogIndex, *, timeout_ms: float) -> None: ...


class Leader(Protocol):
    """The node that leads the metadata log, when it is another one."""

    async def submit(self, command: Command, *, once: bool, timeout_ms: int) -> Submitted:
        """Have it decide.

        Raises NotLeaderError when nobody took the command, its refusal, and NetworkError,
        TimeoutError or OutcomeUnknownError when nobody knows. `once`: it may be sent twice.
        """
        ...


class MetadataDriver:
    """Implements `SnapshotMachine`; one for each node."""

    def __init__(
        self,
        *,
        machine: MetadataMachine,
        clock: Clock,
        follow: Follow,
        on_image: OnImage = lambda _image, _index: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called when the node's part in the quorum has changed."""
        self._machine = machine
        self._clock = clock
        self._follow = follow
        self._on_image = on_image
        self._on_change = on_change
        self._image = machine.image
        #: Entries of this leadership: proposed, and of those, applied. They count until they are,
        #: whatever becomes of the callers: a caller that gives up takes nothing back.
        self._proposed = 0
        self._applied = 0
        #: What each of those that are not applied yet leads to, as the machine has replayed it.
        self._ahead: deque[ClusterImage] = deque()
        #: Waited for until `_applied` comes so far, or leadership is lost.
        self._confirming = Level()
        #: Counts how often leadership was lost.
        self._losses = 0
        #: Counts the committed images; `_followed` is the newest that this node has followed.
        self._version = 0
        self._followed = 0
        self._following = Level()
        self._changed = asyncio.Event()
        #: Entries were applied, or the node's part in the quorum changed.
        self._news = Signal()

    @property
    def image(self) -> ClusterImage:
        """The cluster as far as it is committed and applied here."""
        return self._image

    def start(self, consensus: MetadataLog, leader: Leader) -> None:
        """Begin to take commands."""
        self._consensus = consensus
        self._leader = leader

    def begin_to_follow(self, spawn: Spawn) -> None:
        """Bring the node in line with the image from now on; it holds what was committed."""
        spawn(self._follow_loop(), "metadata")
        self._changed.set()

    # --- as the state machine ----------------------------------------------------------------

    def on_apply(self, index: LogIndex, term: Term, payloads: Sequence[bytes]) -> None:
        if self._ahead:
            # Proposed here, on top of everything before it: it was replayed then.
            self._image = self._ahead.popleft()
            self._applied += 1
            return
        records = [decode_metadata_record(payload) for payload in payloads]
        self._image = replay(self._image, records)
        self._machine.reset(self._image)

    def on_applied(self, index: LogIndex) -> None:
        self._moved(index)

    def on_role(self, role: Role, term: Term, leader_id: NodeId | None) -> None:
        if role is not Role.LEADER:
            self._forget_proposed()
        self._news.set()
        self._on_change()

    def snapshot(self) -> Callable[[], bytes]:
        return partial(encode_image, self._image)

    def restore(self, index: LogIndex, contents: bytes) -> None:
        self._image = decode_image(contents)
        self._forget_proposed()
        self._moved(index)

    def _forget_proposed(self) -> None:
        """What was proposed here may not be committed: judge by what is, from now on."""
        self._losses += 1
        self._proposed = self._applied = 0
        self._ahead.clear()
        self._confirming.release()
        self._machine.reset(self._image)

    def _moved(self, index: LogIndex) -> None:
        self._version += 1
        self._confirming.move_to(self._applied)
        self._changed.set()
        self._news.set()
        self._on_image(self._image, index)

    # --- commands ----------------------------------------------------------------------------

    @overload
    async def submit(
        self, command: FormCluster, *, follow: bool = ..., timeout_ms: int = ...
    ) -> ClusterId: ...

    @overload
    async def submit(
        self, command: RegisterNode, *, follow: bool = ..., timeout_ms: int = ...
    ) -> NodeImage: ...

    @overload
    async def submit(
        self,
        command: CreateTopic | DeleteTopic | AlterTopic,
        *,
        follow: bool = ...,
        timeout_ms: int = ...,
    ) -> TopicImage: ...

    @overload
    async def submit(
        self, command: AllocateProducerIds, *, follow: bool = ..., timeout_ms: int = ...
    ) -> ProducerIdBlock: ...

    @overload
    async def submit(
        self, command: Command, *, follow: bool = ..., timeout_ms: int = ...
    ) -> Reply: ...

    async def submit(
        self, command: Command, *, follow: bool = True, timeout_ms: int = SUBMIT_TIMEOUT_MS
    ) -> Reply:
        """Have a command decided on, and answer once the decision holds and this node sees it.

        With `follow` false the node's logs are not waited for; a removal that is done is not waited
        for to be seen. Raises what the machine refuses
        with, NotLeaderError when no leader was found in time, OutcomeUnknownError when the answer
        did not come in time.
        """
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        while True:
            news = self._news.next
            left_ms = deadline_ms - self._clock.monotonic_ms()
            try:
                submitted = await self._submit_once(command, max(left_ms, 1))
                break
            except (NotLeaderError, ShuttingDownError) as error:
                refusal: LogdError = error
            except (NetworkError, CallTimeoutError, OutcomeUnknownError) as error:
                refusal = _unknown(error)
                if not _is_once(command):
                    raise refusal from error
            now_ms = self._clock.monotonic_ms()
            if now_ms >= deadline_ms:
                raise refusal
            await wait_until(news, min(deadline_ms, now_ms + LEADER_RETRY_MS), self._clock)
        reply = submitted.reply
        if isinstance(reply, NodeRemoval) and reply.done:
            # It may be this node that has left: nobody tells it any more what is committed.
            return reply
        await self._wait_seen(submitted.index, follow, deadline_ms)
        return reply

    async def _submit_once(self, command: Command, timeout_ms: int) -> Submitted:
        if self._consensus.role is Role.LEADER:
            return await self.decide(command, timeout_ms=timeout_ms)
        return await self._leader.submit(command, once=_is_once(command), timeout_ms=timeout_ms)

    async def decide(self, command: Command, *, timeout_ms: int = SUBMIT_TIMEOUT_MS) -> Submitted:
        """Decide on a command here; answers once the decision is committed.

        Raises NotLeaderError (nothing was done), what the machine refuses with, and
        OutcomeUnknownError.
        """
        if not self._consensus.leads:
            raise self._not_leader()
        try:
            outcome = self._machine.handle(command, self._clock.wall_ms())
        except LogdError:
            await self._confirm(timeout_ms)
            raise
        if not outcome.records:
            return Submitted(outcome.reply, await self._confirm(timeout_ms))
        committed = await self._propose(outcome.records, timeout_ms)
        return Submitted(outcome.reply, LogIndex(committed.index + len(outcome.records)))

    async def _propose(self, records: Sequence[MetadataRecord], timeout_ms: int) -> Committed:
        before = self._machine.image
        payloads = [encode_metadata_record(record) for record in records]
        self._machine.replay(*records)
        self._proposed += 1
        self._ahead.append(self._machine.image)
        first = records[0]
        try:
            if isinstance(first, VotersChanged):
                return await self._consensus.propose_voters(
                    to_voters(first.voters), payloads[0], timeout_ms=timeout_ms
                )
            return await self._consensus.propose(payloads, timeout_ms=timeout_ms)
        except (NotLeaderError, InvalidRequestError):
            # Refused before it was appended, and nothing ran in between.
            self._proposed -= 1
            self._ahead.pop()
            self._machine.reset(before)
            raise

    async def _confirm(self, timeout_ms: int) -> LogIndex:
        """Wait until everything that a decision stood on is committed, by this leader.

        Returns how far the log has to be applied to see it. Raises NotLeaderError: the decision
        may have been wrong.
        """
        losses, proposed = self._losses, self._proposed
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        index = await self._consensus.read_barrier(timeout_ms=timeout_ms)
        if self._losses == losses and self._applied < proposed:
            late = "the metadata could not be confirmed in time"
            await self._reach(self._confirming, proposed, deadline_ms, late)
        if self._losses != losses:
            raise self._not_leader()
        return max(index, self._consensus.applied_index)

    def _not_leader(self) -> NotLeaderError:
        error = NotLeaderError(
            "this node does not lead the metadata log",
            hint="try again in a moment",
            code=ErrorCode.NOT_CONTROLLER,
        )
        leader_id = self._consensus.leader_id
        if leader_id is not None:
            error.leader_id = leader_id
        return error

    # --- following ---------------------------------------------------------------------------

    async def wait_followed(self) -> None:
        """Wait until this node has followed everything applied so far."""
        deadline_ms = self._clock.monotonic_ms() + SUBMIT_TIMEOUT_MS
        await self._wait_seen(self._consensus.applied_index, True, deadline_ms)

    async def _wait_seen(self, index: LogIndex, follow: bool, deadline_ms: int) -> None:
        """Wait until this node has applied everything below `index`, and followed it."""
        late = "the change is committed, but this node could not follow it yet"
        left_ms = max(deadline_ms - self._clock.monotonic_ms(), 1)
        try:
            await self._consensus.wait_applied(index, timeout_ms=left_ms)
        except TimeoutError as error:
            raise OutcomeUnknownError(late, hint="look before you try again") from error
        version = self._version
        if follow and self._followed < version:
            await self._reach(self._following, version, deadline_ms, late)

    async def _reach(self, level: Level, number: int, deadline_ms: int, late: str) -> None:
        left_ms = max(deadline_ms - self._clock.monotonic_ms(), 0)
        try:
            await level.wait(number, timeout_ms=left_ms)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                late, hint="see the node's log; a full disk is the usual reason"
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
            self._following.move_to(version)
