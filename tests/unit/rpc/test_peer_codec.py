"""What goes in comes out, and nothing that a node does not send comes through."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from google.protobuf.message import Message as ProtoMessage
from hypothesis import given
from hypothesis import strategies as st
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError
from logd_wire.limits import BATCH_RECORDS_MAX, MIB

from logd.consensus.log_types import Entry, LogPoint
from logd.consensus.messages import AppendRequest, Body, Message, TimeoutNow
from logd.metadata import Command, Reply
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.rpc import peer_codec as codec
from logd.rpc import peer_values
from logd.rpc.parsing import parse_request
from logd.runtime.peers import PeerAnswer, PeerCall, PeerIdentity, Submit, Submitted
from tests.support.peer_values import (
    NO_RECORD,
    VOTERS,
    VOTERS_MARK,
    identities,
    strategy_for,
    voters_of,
)

ME = PeerIdentity(ClusterId(b"c" * 16), NodeId(1), DirectoryId(b"d" * 16))
ROUTE = codec.Route(ME, NodeId(2))

BODIES = get_args(Body)
CALLS = get_args(PeerCall)
ANSWERS = get_args(PeerAnswer)
COMMANDS = get_args(Command)
REPLIES = get_args(Reply)


def both(kinds: tuple[Any, ...]) -> pytest.MarkDecorator:
    """A test for each type, and for values with and without zeros."""
    return pytest.mark.parametrize(
        ("kind", "full"), [(kind, full) for kind in kinds for full in (False, True)]
    )


def over_the_wire(message: ProtoMessage) -> Any:
    return type(message).FromString(message.SerializeToString())


@both(BODIES)
@given(st.data())
def test_a_raft_message_comes_out_as_it_went_in(kind: Any, full: bool, data: st.DataObject) -> None:
    body = data.draw(strategy_for(kind, full=full))
    frame = codec.encode_introduction(ROUTE)
    frame.messages.append(codec.encode_body(body))
    arrived = parse_request(pb.RaftRequest, frame.SerializeToString())
    route = codec.decode_introduction(arrived)
    assert route == ROUTE
    expected = Message(ME.node_id, ME.directory_id, NodeId(2), body)
    assert codec.decode_messages(arrived.messages, route, voters_of) == [expected]


@both(CALLS)
@given(st.data())
def test_a_call_comes_out_as_it_went_in(kind: Any, full: bool, data: st.DataObject) -> None:
    call, sender = data.draw(strategy_for(kind, full=full)), data.draw(identities)
    method, request = codec.encode_call(sender, call)
    arrived = over_the_wire(request)
    assert method in codec.PEER_RESPONSES
    assert codec.decode_caller(arrived) == sender
    assert codec.decode_call(arrived) == call


@both(ANSWERS)
@given(st.data())
def test_an_answer_comes_out_as_it_went_in(kind: Any, full: bool, data: st.DataObject) -> None:
    answer = data.draw(strategy_for(kind, full=full))
    response = codec.encode_answer(answer)
    assert type(response) in codec.PEER_RESPONSES.values()
    assert codec.decode_answer(over_the_wire(response)) == answer


@both(COMMANDS)
@given(st.data())
def test_every_command_can_be_submitted(kind: Any, full: bool, data: st.DataObject) -> None:
    call = Submit(data.draw(strategy_for(kind, full=full)))
    assert codec.decode_call(over_the_wire(codec.encode_call(ME, call)[1])) == call


@both(REPLIES)
@given(st.data())
def test_every_reply_comes_back(kind: Any, full: bool, data: st.DataObject) -> None:
    answer = Submitted(data.draw(strategy_for(kind, full=full)), LogIndex(7))
    assert codec.decode_answer(over_the_wire(codec.encode_answer(answer))) == answer


@pytest.mark.parametrize("kind", [*BODIES, *COMMANDS])
@given(st.data())
def test_full_values_leave_no_field_at_its_default(kind: Any, data: st.DataObject) -> None:
    """What the round trips with `full` are worth."""
    value = data.draw(strategy_for(kind, full=True))
    assert all(getattr(value, each.name) for each in fields(value)), value


# --- what is refused ------------------------------------------------------------------------------


def refused(message: pb.RaftMessage, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        codec.decode_body(message, voters_of)
    assert caught.value.hint and str(caught.value).isprintable()


def test_a_frame_of_too_many_messages_is_refused() -> None:
    messages = [codec.encode_body(TimeoutNow(Term(1)))] * (codec.FRAME_MESSAGES_MAX + 1)
    with pytest.raises(InvalidRequestError, match="1001 messages in one frame"):
        codec.decode_messages(messages, ROUTE, voters_of)


def append(*entries: Entry) -> pb.RaftMessage:
    previous = LogPoint(Term(2), LogIndex(10))
    return codec.encode_body(AppendRequest(Term(5), previous, entries, LogIndex(4)))


def entry(index: int, term: int, *payloads: bytes) -> Entry:
    return Entry(LogIndex(index), Term(term), payloads)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(11, 2, b"x")], "entry 11 where entry 10 should be"),
        ([entry(9, 2, b"x")], "entry 9 where entry 10 should be"),
        ([entry(-1, 2, b"x")], "entry -1 where"),
        ([entry(10, 2, b"x", b"y"), entry(11, 2, b"z")], "entry 11 where entry 12 should be"),
        ([entry(10, 1, b"x")], "entry 10 of term 1, behind term 2"),
        ([entry(10, 6, b"x")], "from a leader of term 5"),
        ([entry(10, 4, b"x"), entry(11, 3, b"x")], "entry 11 of term 3, behind term 4"),
        ([entry(10, 2)], "entry 10 with 0 payloads"),
        ([entry(10, 2, *[b""] * (BATCH_RECORDS_MAX + 1))], "with 100001 payloads"),
        ([entry(10, 2, bytes(MIB + 1))], "entry 10 of 1048577 bytes"),
        ([entry(10, 2, *[bytes(MIB)] * 5)], "entry 10 of 5242880 bytes"),
        ([entry(10 + at, 2, b"") for at in range(10_001)], "10001 entries"),
    ],
)
def test_entries_that_are_no_log_are_refused(entries: list[Entry], words: str) -> None:
    refused(append(*entries), words)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.RaftMessage(), "no kind that this version knows"),
        (pb.RaftMessage(timeout_now=pb.RaftTimeoutNow(term=-1)), "term is -1"),
        (
            pb.RaftMessage(heartbeat_request=pb.RaftHeartbeatRequest(commit_index=-1)),
            "commit_index is -1",
        ),
        (pb.RaftMessage(heartbeat_response=pb.RaftHeartbeatResponse(round=-1)), "round is -1"),
        (pb.RaftMessage(append_response=pb.RaftAppendResponse(match_index=-1)), "match_index is"),
        (
            pb.RaftMessage(append_rejected=pb.RaftAppendRejected(rejected_index=-1)),
            "rejected_index is -1",
        ),
        (
            pb.RaftMessage(vote_request=pb.RaftVoteRequest(last=pb.RaftPoint(index=-1))),
            "index is -1",
        ),
        (
            pb.RaftMessage(append_request=pb.RaftAppendRequest(previous=pb.RaftPoint(term=-5))),
            "term is -5",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(message: pb.RaftMessage, words: str) -> None:
    refused(message, words)


@pytest.mark.parametrize(
    ("voters", "words"),
    [
        ([pb.RaftVoter(node_id=1, directory_id=bytes(15))], "directory_id has 15 bytes"),
        ([pb.RaftVoter(node_id=-1, directory_id=bytes(16))], "node_id is -1"),
        ([pb.RaftVoter(node_id=1, directory_id=bytes(16))] * 2, "not in the order of their ids"),
        (
            [pb.RaftVoter(node_id=1, directory_id=bytes(16), address="a\nb")],
            r"address 'a\\nb' is none",
        ),
        (
            [pb.RaftVoter(node_id=1, directory_id=bytes(16), address="a" * 301)],
            "address 'aaa.* is none",
        ),
        (
            [pb.RaftVoter(node_id=at, directory_id=bytes(16)) for at in range(101)],
            "101 voters",
        ),
    ],
)
def test_voters_that_are_no_set_are_refused(voters: list[pb.RaftVoter], words: str) -> None:
    snapshot = pb.RaftSnapshot(voters=voters)
    refused(pb.RaftMessage(install_snapshot=pb.RaftInstallSnapshot(snapshot=snapshot)), words)


def test_the_voters_of_an_entry_come_from_its_payload() -> None:
    body = codec.decode_body(append(entry(10, 2, VOTERS_MARK), entry(11, 2, b"x")), voters_of)
    assert isinstance(body, AppendRequest)
    assert [each.voters for each in body.entries] == [VOTERS, None]


def test_a_payload_that_cannot_be_read_is_the_peers_fault() -> None:
    refused(append(entry(10, 2, NO_RECORD)), "an entry cannot be read: .* not a record")


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        (pb.PeerSender(directory_id=bytes(16)), "version 0 of the peer protocol"),
        (pb.PeerSender(directory_id=bytes(16), protocol_version=2), "version 2 of the peer"),
        (pb.PeerSender(protocol_version=1), "directory_id has 0 bytes"),
        (pb.PeerSender(protocol_version=1, cluster_id=b"x"), "cluster_id has 1 bytes"),
        (pb.PeerSender(protocol_version=1, node_id=-1, directory_id=bytes(16)), "node_id is -1"),
    ],
)
def test_senders_that_cannot_be_are_refused(sender: pb.PeerSender, words: str) -> None:
    with pytest.raises(LogdError, match=words) as caught:
        peer_values.decode_sender(sender)
    assert caught.value.code in {ErrorCode.UNSUPPORTED_VERSION, ErrorCode.INVALID_REQUEST}


def test_whoever_does_not_say_who_speaks_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="does not begin with its sender"):
        codec.decode_introduction(pb.RaftRequest())
    with pytest.raises(InvalidRequestError, match="does not say who calls"):
        codec.decode_caller(pb.IdentifyRequest())


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.SubmitRequest(), "a command of no kind"),
        (pb.SubmitRequest(command=pb.Command()), "a command of no kind"),
        (pb.HeartbeatRequest(incarnation_id=b"x"), "incarnation_id has 1 bytes"),
        (pb.HeartbeatRequest(node_id=-1), "node_id is -1"),
        (pb.AskBoundsRequest(queries=[pb.BoundsQuery()]), "topic_id has 0 bytes"),
        (pb.SnapshotChunkRequest(size_bytes=-1), "size_bytes is -1"),
        (pb.SnapshotChunkRequest(position=1), "position is 1"),
        (pb.SnapshotChunkRequest(data=b"xy", size_bytes=1), "2 bytes at 0 of a snapshot of 1"),
        (pb.SnapshotChunkRequest(data=bytes(4 * MIB + 1), size_bytes=8 * MIB), "at most 4194304"),
    ],
)
def test_calls_that_make_no_sense_are_refused(request_: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        codec.decode_call(request_)


def test_answers_that_make_no_sense_are_refused() -> None:
    for response, words in (
        (pb.IdentifyResponse(), "version 0 of the peer protocol"),
        (pb.SubmitResponse(), "a reply of no kind"),
        (pb.SnapshotChunkResponse(position=-1), "position is -1"),
        (
            pb.AskBoundsResponse(answers=[pb.BoundsAnswer(high_watermark=-1)]),
            "high_watermark is -1",
        ),
        (pb.RaftResponse(), "RaftResponse answers no call"),
    ):
        with pytest.raises(LogdError, match=words):
            codec.decode_answer(response)


REQUESTS: list[type[Any]] = [
    pb.IdentifyRequest,
    pb.SubmitRequest,
    pb.HeartbeatRequest,
    pb.SnapshotChunkRequest,
    pb.AskBoundsRequest,
]


@given(st.sampled_from(REQUESTS), st.binary(max_size=300))
def test_any_bytes_are_a_call_or_refused(kind: type[Any], data: bytes) -> None:
    try:
        request = parse_request(kind, data)
        codec.decode_caller(request)
        codec.decode_call(request)
    except LogdError as error:
        assert error.code in {ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_VERSION}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    _frame_or_refused(data)


@given(strategy_for(Body, full=False), st.data())
def test_a_damaged_frame_is_a_frame_or_refused(body: Body, data: st.DataObject) -> None:
    frame = codec.encode_introduction(ROUTE)
    frame.messages.append(codec.encode_body(body))
    sound = frame.SerializeToString()
    position = data.draw(st.integers(0, len(sound)))
    noise = data.draw(st.binary(max_size=4))
    _frame_or_refused(sound[:position] + noise + sound[position + 1 :])


def _frame_or_refused(data: bytes) -> None:
    try:
        frame = parse_request(pb.RaftRequest, data)
        route = codec.decode_introduction(frame)
        codec.decode_messages(frame.messages, route, voters_of)
    except LogdError as error:
        assert error.code in {ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_VERSION}
