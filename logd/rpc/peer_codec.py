"""Messages and calls between nodes ⇄ protobuf; strict about everything that comes in.

The sender of a raft message is that of its stream, which the first frame introduced: no message
can speak for anybody else. What voters an entry brings, its payload says; a function that reads
it is handed in, because the payloads' format belongs to the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, assert_never

from google.protobuf.message import Message as ProtoMessage
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import InvalidRequestError, LogdError
from logd_wire.limits import BATCH_RECORDS_MAX, MIB, RECORD_BYTES_MAX

from logd.consensus import ENTRY_BYTES_MAX
from logd.consensus.log_types import Entry, LogPoint, Voters
from logd.consensus.messages import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import LogIndex, NodeId, Term
from logd.rpc import peer_values as values
from logd.rpc.bounds_codec import decode_bounds, decode_query, encode_bounds, encode_query
from logd.rpc.peer_commands import decode_command, encode_command
from logd.rpc.peer_replies import decode_reply, encode_reply
from logd.runtime.log_bounds import QUERIES_MAX
from logd.runtime.peers import (
    AskBounds,
    BoundsTold,
    ChunkTaken,
    Identified,
    Identify,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    PeerAnswer,
    PeerCall,
    PeerIdentity,
    SnapshotChunk,
    Submit,
    Submitted,
)

PEER_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Peer"].full_name
RAFT: Final = f"/{PEER_SERVICE}/Raft"
IDENTIFY: Final = f"/{PEER_SERVICE}/Identify"
SUBMIT: Final = f"/{PEER_SERVICE}/Submit"
HEARTBEAT: Final = f"/{PEER_SERVICE}/Heartbeat"
SNAPSHOT_CHUNK: Final = f"/{PEER_SERVICE}/SnapshotChunk"
ASK_BOUNDS: Final = f"/{PEER_SERVICE}/AskBounds"
REPLICATE: Final = f"/{PEER_SERVICE}/Replicate"

#: What each method of the service answers with, for whoever calls it.
PEER_RESPONSES: Final[dict[str, type[ProtoMessage]]] = {
    RAFT: pb.RaftResponse,
    IDENTIFY: pb.IdentifyResponse,
    SUBMIT: pb.SubmitResponse,
    HEARTBEAT: pb.HeartbeatResponse,
    SNAPSHOT_CHUNK: pb.SnapshotChunkResponse,
    ASK_BOUNDS: pb.AskBoundsResponse,
    REPLICATE: pb.ReplicateResponse,
}

#: Entries of one append.
ENTRIES_MAX: Final = 10_000
#: Messages of one frame.
FRAME_MESSAGES_MAX: Final = 1_000
CHUNK_BYTES_MAX: Final = 4 * MIB

#: The voters that an entry with these payloads puts in force; None: it is about something else.
#: Raises LogdError for a payload that it cannot read.
VotersOf = Callable[[tuple[bytes, ...]], Voters | None]

CallRequest = (
    pb.IdentifyRequest
    | pb.SubmitRequest
    | pb.HeartbeatRequest
    | pb.SnapshotChunkRequest
    | pb.AskBoundsRequest
)
CallResponse = (
    pb.IdentifyResponse
    | pb.SubmitResponse
    | pb.HeartbeatResponse
    | pb.SnapshotChunkResponse
    | pb.AskBoundsResponse
)


class Route(NamedTuple):
    """Between whom the messages of one stream travel."""

    sender: PeerIdentity
    receiver: NodeId


# --- raft messages, out ---------------------------------------------------------------------------


def encode_body(body: Body) -> pb.RaftMessage:
    """Return what a message says."""
    match body:
        case HeartbeatRequest():
            return pb.RaftMessage(
                heartbeat_request=pb.RaftHeartbeatRequest(
                    term=body.term, commit_index=body.commit_index, round=body.round
                )
            )
        case HeartbeatResponse():
            return pb.RaftMessage(
                heartbeat_response=pb.RaftHeartbeatResponse(term=body.term, round=body.round)
            )
        case AppendRequest():
            return pb.RaftMessage(append_request=_append_message(body))
        case AppendResponse():
            return pb.RaftMessage(
                append_response=pb.RaftAppendResponse(term=body.term, match_index=body.match_index)
            )
        case AppendRejected():
            return pb.RaftMessage(
                append_rejected=pb.RaftAppendRejected(
                    term=body.term,
                    rejected_index=body.rejected_index,
                    hint=values.encode_point(body.hint),
                )
            )
        case VoteRequest():
            return pb.RaftMessage(vote_request=_vote_message(body))
        case VoteResponse():
            return pb.RaftMessage(
                vote_response=pb.RaftVoteResponse(
                    term=body.term, granted=body.granted, pre_vote=body.pre_vote
                )
            )
        case InstallSnapshot():
            return pb.RaftMessage(
                install_snapshot=pb.RaftInstallSnapshot(
                    term=body.term, snapshot=values.encode_snapshot(body.snapshot)
                )
            )
        case TimeoutNow():
            return pb.RaftMessage(timeout_now=pb.RaftTimeoutNow(term=body.term))
        case _:
            assert_never(body)


def _append_message(body: AppendRequest) -> pb.RaftAppendRequest:
    return pb.RaftAppendRequest(
        term=body.term,
        previous=values.encode_point(body.previous),
        entries=[
            pb.RaftEntry(index=entry.index, term=entry.term, payloads=entry.payloads)
            for entry in body.entries
        ],
        commit_index=body.commit_index,
    )


def _vote_message(body: VoteRequest) -> pb.RaftVoteRequest:
    return pb.RaftVoteRequest(
        term=body.term,
        last=values.encode_point(body.last),
        pre_vote=body.pre_vote,
        transfer=body.transfer,
    )


def encode_introduction(route: Route) -> pb.RaftRequest:
    """Return the beginning of a stream's first frame."""
    return pb.RaftRequest(sender=values.encode_sender(route.sender), receiver_id=route.receiver)


# --- raft messages, in ----------------------------------------------------------------------------


def decode_introduction(frame: pb.RaftRequest) -> Route:
    """Return who speaks to whom; raises InvalidRequestError when the frame does not say."""
    if not frame.HasField("sender"):
        values.malformed("a stream that does not begin with its sender")
    sender = values.decode_sender(frame.sender)
    return Route(sender, values.node_id(frame.receiver_id, what="receiver_id"))


def decode_messages(
    messages: Sequence[pb.RaftMessage], route: Route, voters_of: VotersOf
) -> list[Message]:
    """Return the messages of one frame; raises InvalidRequestError when one is none."""
    values.count_at_most("messages in one frame", len(messages), FRAME_MESSAGES_MAX)
    directory = route.sender.directory_id
    return [
        Message(route.sender.node_id, directory, route.receiver, decode_body(each, voters_of))
        for each in messages
    ]


def decode_body(message: pb.RaftMessage, voters_of: VotersOf) -> Body:
    """Return what a message says; raises InvalidRequestError when it makes no sense."""
    body: Body
    match message.WhichOneof("body"):
        case "heartbeat_request":
            asked = message.heartbeat_request
            commit = values.index("commit_index", asked.commit_index)
            body = HeartbeatRequest(values.term(asked.term), commit, _round(asked.round))
        case "heartbeat_response":
            heard = message.heartbeat_response
            body = HeartbeatResponse(values.term(heard.term), _round(heard.round))
        case "append_request":
            body = _append(message.append_request, voters_of)
        case "append_response":
            taken = message.append_response
            match_index = values.index("match_index", taken.match_index)
            body = AppendResponse(values.term(taken.term), match_index)
        case "append_rejected":
            rejected = message.append_rejected
            body = AppendRejected(
                values.term(rejected.term),
                values.index("rejected_index", rejected.rejected_index),
                values.decode_point(rejected.hint),
            )
        case "vote_request":
            wanted = message.vote_request
            last = values.decode_point(wanted.last)
            body = VoteRequest(values.term(wanted.term), last, wanted.pre_vote, wanted.transfer)
        case "vote_response":
            vote = message.vote_response
            body = VoteResponse(values.term(vote.term), vote.granted, vote.pre_vote)
        case "install_snapshot":
            install = message.install_snapshot
            snapshot = values.decode_snapshot(install.snapshot)
            body = InstallSnapshot(values.term(install.term), snapshot)
        case "timeout_now":
            body = TimeoutNow(values.term(message.timeout_now.term))
        case _:
            values.malformed("a raft message of no kind that this version knows")
    return body


def _round(value: int) -> int:
    return values.number("round", value)


def _append(message: pb.RaftAppendRequest, voters_of: VotersOf) -> AppendRequest:
    term, previous = values.term(message.term), values.decode_point(message.previous)
    values.count_at_most("entries", len(message.entries), ENTRIES_MAX)
    entries: list[Entry] = []
    at = previous
    for each in message.entries:
        entry = _entry(each, at, term, voters_of)
        entries.append(entry)
        at = LogPoint(entry.term, entry.next_index)
    commit_index = values.index("commit_index", message.commit_index)
    return AppendRequest(term, previous, tuple(entries), commit_index)


def _entry(message: pb.RaftEntry, at: LogPoint, term_max: Term, voters_of: VotersOf) -> Entry:
    """One entry, which begins at `at` and is of no later term than `term_max`."""
    if message.index != at.index:
        values.malformed(f"entry {message.index} where entry {at.index} should be")
    if not max(at.term, 1) <= message.term <= term_max:
        values.malformed(
            f"entry {message.index} of term {message.term}, behind term {at.term} and from a "
            f"leader of term {term_max}"
        )
    payloads = tuple(message.payloads)
    sizes = list(map(len, payloads))
    if not 1 <= len(payloads) <= BATCH_RECORDS_MAX:
        values.malformed(f"entry {message.index} with {len(payloads)} payloads")
    if sum(sizes) > ENTRY_BYTES_MAX or max(sizes) > RECORD_BYTES_MAX:
        values.malformed(f"entry {message.index} of {sum(sizes)} bytes")
    return Entry(
        LogIndex(message.index), Term(message.term), payloads, _voters(payloads, voters_of)
    )


def _voters(payloads: tuple[bytes, ...], voters_of: VotersOf) -> Voters | None:
    try:
        return voters_of(payloads)
    except InvalidRequestError:
        raise
    except LogdError as error:
        # What is wrong with the bytes of a peer is no failure of this node's storage.
        raise InvalidRequestError(
            f"an entry cannot be read: {error.message}", hint=error.hint
        ) from None


# --- calls ----------------------------------------------------------------------------------------


def encode_call(sender: PeerIdentity, call: PeerCall) -> tuple[str, CallRequest]:
    """Return the method and its request."""
    speaker = values.encode_sender(sender)
    match call:
        case Identify():
            return IDENTIFY, pb.IdentifyRequest(sender=speaker)
        case Submit():
            return SUBMIT, pb.SubmitRequest(sender=speaker, command=encode_command(call.command))
        case NodeHeartbeat():
            return HEARTBEAT, pb.HeartbeatRequest(
                sender=speaker,
                node_id=call.node_id,
                incarnation_id=call.incarnation_id,
                applied_index=call.applied_index,
            )
        case SnapshotChunk():
            return SNAPSHOT_CHUNK, pb.SnapshotChunkRequest(
                sender=speaker,
                term=call.term,
                snapshot=values.encode_snapshot(call.snapshot),
                position=call.position,
                size_bytes=call.size_bytes,
                data=call.data,
            )
        case AskBounds():
            queries = map(encode_query, call.queries)
            return ASK_BOUNDS, pb.AskBoundsRequest(sender=speaker, queries=queries)
        case _:
            assert_never(call)


def decode_caller(request: CallRequest) -> PeerIdentity:
    """Return who makes a call; raises InvalidRequestError, LogdError (UNSUPPORTED_VERSION)."""
    if not request.HasField("sender"):
        values.malformed("a call that does not say who calls")
    return values.decode_sender(request.sender)


def decode_call(request: CallRequest) -> PeerCall:
    """Return the call; raises InvalidRequestError when it makes no sense."""
    match request:
        case pb.IdentifyRequest():
            return Identify()
        case pb.SubmitRequest():
            return Submit(decode_command(request.command))
        case pb.HeartbeatRequest():
            return NodeHeartbeat(
                values.node_id(request.node_id),
                values.id_bytes("incarnation_id", request.incarnation_id),
                values.index("applied_index", request.applied_index),
            )
        case pb.SnapshotChunkRequest():
            return _chunk(request)
        case pb.AskBoundsRequest():
            values.count_at_most("partitions in one call", len(request.queries), QUERIES_MAX)
            return AskBounds(tuple(map(decode_query, request.queries)))
        case _:
            assert_never(request)


def _chunk(request: pb.SnapshotChunkRequest) -> SnapshotChunk:
    size_bytes = values.number("size_bytes", request.size_bytes)
    position = values.number("position", request.position, maximum=size_bytes)
    values.count_at_most("bytes in one chunk", len(request.data), CHUNK_BYTES_MAX)
    if position + len(request.data) > size_bytes:
        values.malformed(
            f"{len(request.data)} bytes at {position} of a snapshot of {size_bytes} bytes"
        )
    return SnapshotChunk(
        values.term(request.term),
        values.decode_snapshot(request.snapshot),
        position,
        size_bytes,
        request.data,
    )


def encode_answer(answer: PeerAnswer) -> CallResponse:
    """Return the response of a call."""
    match answer:
        case Identified():
            return pb.IdentifyResponse(
                identity=values.encode_sender(answer.identity),
                term=answer.term,
                leader_id=answer.leader_id,
                leader_address=answer.leader_address,
            )
        case Submitted():
            return pb.SubmitResponse(reply=encode_reply(answer.reply), index=answer.index)
        case NodeHeartbeatAnswer():
            return pb.HeartbeatResponse(fenced=answer.fenced)
        case ChunkTaken():
            return pb.SnapshotChunkResponse(position=answer.position)
        case BoundsTold():
            return pb.AskBoundsResponse(answers=map(encode_bounds, answer.answers))
        case _:
            assert_never(answer)


def decode_answer(response: ProtoMessage) -> PeerAnswer:
    """Return the answer; raises InvalidRequestError when it makes no sense."""
    match response:
        case pb.IdentifyResponse():
            return Identified(
                values.decode_sender(response.identity),
                values.term(response.term),
                values.node_id(response.leader_id, what="leader_id", or_none=True),
                values.address(response.leader_address),
            )
        case pb.SubmitResponse():
            reply = decode_reply(response.reply)
            return Submitted(reply, values.index("index", response.index))
        case pb.HeartbeatResponse():
            return NodeHeartbeatAnswer(response.fenced)
        case pb.SnapshotChunkResponse():
            return ChunkTaken(values.number("position", response.position))
        case pb.AskBoundsResponse():
            return BoundsTold(tuple(map(decode_bounds, response.answers)))
        case _:
            values.malformed(f"{response.DESCRIPTOR.name} answers no call")
