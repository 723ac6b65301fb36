"""Positions and chunks of replicas: what goes in comes out, and nothing else comes through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_proto.v1 import common_pb2
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NotLeaderError,
    StorageFailedError,
)

from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.rpc import replica_codec as codec
from logd.rpc.parsing import parse_request
from logd.rpc.peer_codec import Route
from logd.runtime.peers import PeerIdentity
from logd.runtime.replica_frames import EpochEnd, ReplicaChunk, ReplicaPosition
from tests.support.peer_values import INT32_MAX, INT64_MAX, ids, strategy_for

ME = PeerIdentity(ClusterId(b"c" * 16), NodeId(1), DirectoryId(b"d" * 16))
ROUTE = Route(ME, NodeId(2))
KEY = TopicPartitionId(TopicId(b"t" * 16), 3)

keys = st.builds(TopicPartitionId, ids, st.integers(0, INT32_MAX))
leader_epochs = st.integers(0, INT32_MAX).map(LeaderEpoch)
epochs_or_none = st.integers(-1, INT32_MAX)
offsets = st.integers(0, INT64_MAX)
errors = st.sampled_from((NotLeaderError("led elsewhere"), StorageFailedError("it is broken")))

positions = st.builds(
    ReplicaPosition, keys, leader_epochs, offsets, offsets, epochs_or_none, st.booleans()
)
chunks = st.builds(
    ReplicaChunk,
    keys,
    leader_epochs,
    st.binary(max_size=50),
    st.integers(-1, INT64_MAX),
    offsets,
    offsets,
    offsets,
    offsets,
    st.none() | st.builds(EpochEnd, epochs_or_none, st.integers(-1, INT64_MAX)),
    st.booleans(),
)


def request_over_the_wire(frame: pb.ReplicateRequest) -> pb.ReplicateRequest:
    arrived = parse_request(pb.ReplicateRequest, frame.SerializeToString())
    assert isinstance(arrived, pb.ReplicateRequest)
    return arrived


def response_over_the_wire(frame: pb.ReplicateResponse) -> pb.ReplicateResponse:
    return pb.ReplicateResponse.FromString(frame.SerializeToString())


@given(st.lists(positions, max_size=5))
def test_positions_come_out_as_they_went_in(given_: list[ReplicaPosition]) -> None:
    arrived = request_over_the_wire(codec.encode_positions(given_))
    assert codec.decode_positions(arrived) == given_
    assert not arrived.HasField("sender")


@given(st.lists(positions, max_size=3), strategy_for(PeerIdentity, full=False))
def test_the_first_frame_says_who_speaks_to_whom(
    given_: list[ReplicaPosition], sender: PeerIdentity
) -> None:
    frame = codec.encode_positions(given_)
    codec.introduce(frame, Route(sender, NodeId(7)))
    arrived = request_over_the_wire(frame)
    assert codec.decode_replica_introduction(arrived) == Route(sender, NodeId(7))
    assert codec.decode_positions(arrived) == given_


@given(st.lists(chunks, max_size=5))
def test_chunks_come_out_as_they_went_in(given_: list[ReplicaChunk]) -> None:
    arrived = response_over_the_wire(codec.encode_chunks(given_))
    assert codec.decode_chunks(arrived, broker="node2:1") == given_


@given(chunks, errors)
def test_an_error_keeps_its_type_and_names_where_it_came_from(
    chunk: ReplicaChunk, error: LogdError
) -> None:
    frame = codec.encode_chunks([replace(chunk, error=error)])
    [arrived] = codec.decode_chunks(response_over_the_wire(frame), broker="node2:1")
    assert arrived.error is not None
    assert type(arrived.error) is type(error)
    assert (arrived.error.message, arrived.error.broker) == (error.message, "node2:1")
    assert replace(arrived, error=None) == chunk


# --- what is refused ------------------------------------------------------------------------------


def position(**other: Any) -> pb.ReplicaPosition:
    return pb.ReplicaPosition(**{"topic_id": KEY.topic_id, "last_epoch": -1, **other})


def chunk(**other: Any) -> pb.ReplicaChunk:
    return pb.ReplicaChunk(**{"topic_id": KEY.topic_id, **other})


KEYS = (
    ({"topic_id": b""}, "topic_id has 0 bytes"),
    ({"topic_id": bytes(15)}, "topic_id has 15 bytes"),
    ({"topic_id": bytes(17)}, "topic_id has 17 bytes"),
    ({"partition": -1}, "partition is -1"),
    ({"leader_epoch": -1}, "leader_epoch is -1"),
)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        *KEYS,
        ({"node_epoch": -1}, "node_epoch is -1"),
        ({"end_offset": -1}, "end_offset is -1"),
        ({"last_epoch": -2}, "last_epoch is -2"),
    ],
)
def test_positions_that_cannot_be_are_refused(other: dict[str, Any], words: str) -> None:
    assert codec.decode_positions(pb.ReplicateRequest(positions=[position()]))
    frame = pb.ReplicateRequest(positions=[position(), position(**other)])
    with pytest.raises(InvalidRequestError, match=words) as caught:
        codec.decode_positions(frame)
    assert caught.value.hint and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        *KEYS,
        ({"append_time_ms": -2}, "append_time_ms is -2"),
        ({"high_watermark": -1}, "high_watermark is -1"),
        ({"log_start_offset": -1}, "log_start_offset is -1"),
        ({"diverging": pb.EpochEnd(epoch=-2)}, "epoch is -2"),
        ({"diverging": pb.EpochEnd(end_offset=-2)}, "end_offset is -2"),
    ],
)
def test_chunks_that_cannot_be_are_refused(other: dict[str, Any], words: str) -> None:
    assert codec.decode_chunks(pb.ReplicateResponse(chunks=[chunk()]), broker="")
    with pytest.raises(InvalidRequestError, match=words):
        codec.decode_chunks(pb.ReplicateResponse(chunks=[chunk(), chunk(**other)]), broker="")


def test_frames_of_too_many_are_refused() -> None:
    most = codec.FRAME_PARTITIONS_MAX
    assert len(codec.decode_positions(pb.ReplicateRequest(positions=[position()] * most))) == most
    with pytest.raises(InvalidRequestError, match="1001 positions in one frame"):
        codec.decode_positions(pb.ReplicateRequest(positions=[position()] * (most + 1)))
    with pytest.raises(InvalidRequestError, match="1001 chunks in one frame"):
        codec.decode_chunks(pb.ReplicateResponse(chunks=[chunk()] * (most + 1)), broker="")


def test_whoever_does_not_say_who_speaks_to_whom_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="does not begin with its sender"):
        codec.decode_replica_introduction(codec.encode_positions([]))
    frame = codec.encode_positions([])
    codec.introduce(frame, ROUTE)
    frame.receiver_id = -1
    with pytest.raises(InvalidRequestError, match="receiver_id is -1"):
        codec.decode_replica_introduction(frame)
    frame.sender.directory_id = b"short"
    with pytest.raises(InvalidRequestError, match="directory_id has 5 bytes"):
        codec.decode_replica_introduction(frame)


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    _frame_or_refused(data)
    try:
        frame = parse_request(pb.ReplicateResponse, data)
        assert isinstance(frame, pb.ReplicateResponse)
        codec.decode_chunks(frame, broker="")
    except InvalidRequestError:
        return


@given(st.lists(positions, min_size=1, max_size=3), st.data())
def test_a_damaged_frame_is_a_frame_or_refused(
    given_: list[ReplicaPosition], data: st.DataObject
) -> None:
    frame = codec.encode_positions(given_)
    codec.introduce(frame, ROUTE)
    sound = frame.SerializeToString()
    place = data.draw(st.integers(0, len(sound)))
    noise = data.draw(st.binary(max_size=4))
    _frame_or_refused(sound[:place] + noise + sound[place + 1 :])


def _frame_or_refused(data: bytes) -> None:
    try:
        frame = parse_request(pb.ReplicateRequest, data)
        assert isinstance(frame, pb.ReplicateRequest)
        codec.decode_replica_introduction(frame)
        codec.decode_positions(frame)
    except LogdError as error:
        assert error.code in {ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_VERSION}


def test_an_error_of_a_kind_that_is_not_known_is_an_error() -> None:
    error = common_pb2.Error(code=9_999, message="odd")
    frame = pb.ReplicateResponse(chunks=[chunk(error=error)])
    [arrived] = codec.decode_chunks(frame, broker="node2:1")
    assert arrived.error is not None and arrived.error.message.endswith("odd")
