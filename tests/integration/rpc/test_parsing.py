"""From bytes to requests: nothing but a request or InvalidRequestError ever comes out."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from logd_proto.v1 import admin_pb2, common_pb2, log_pb2
from logd_wire.errors import InvalidRequestError

from logd.rpc.parsing import count_values, parse_request
from tests.support.rpc_forge import field, many, nested_groups, nested_messages
from tests.support.rpc_hostile import UNARY

TYPES: list[type[Message]] = [*UNARY.values(), log_pb2.ProduceRequest, log_pb2.FetchRequest]
MAX = 1 << 40

texts = st.text(max_size=20)
records = st.builds(
    common_pb2.Record,
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(st.builds(common_pb2.Header, key=texts), max_size=5),
)
requests = st.one_of(
    st.builds(log_pb2.AppendRequest, topic=texts, records=st.lists(records, max_size=5)),
    st.builds(
        log_pb2.FetchRequest,
        remove=st.lists(st.integers(0, 127), max_size=20),
        add=st.lists(st.builds(log_pb2.FetchPartition, topic_id=st.binary()), max_size=5),
    ),
    st.builds(
        admin_pb2.CreateTopicRequest, name=texts, config=st.dictionaries(texts, texts, max_size=5)
    ),
    st.builds(log_pb2.GetMetadataRequest, topics=st.lists(texts, max_size=5)),
)


def counted(message: Message) -> int:
    """The naive twin: walks the parsed message."""
    total = 0
    for descriptor, value in message.ListFields():
        if not descriptor.is_repeated:
            total += 1 + (counted(value) if descriptor.message_type else 0)
        elif descriptor.message_type and descriptor.message_type.GetOptions().map_entry:
            # Entries of plain values count as one each, like any message of plain values.
            total += len(value)
        elif descriptor.message_type:
            total += sum(1 + (counted(item) if _grows(item) else 0) for item in value)
        elif descriptor.is_packed:
            total += 1 + len(value)
        else:
            total += len(value)
    return total


def _grows(message: Message) -> bool:
    fields = message.DESCRIPTOR.fields
    return any(one.is_repeated or one.message_type for one in fields)


@given(requests)
def test_values_are_counted_as_the_naive_twin_counts_them(message: Message) -> None:
    assert count_values(type(message), message.SerializeToString(), MAX) == counted(message)


@given(requests)
def test_a_good_request_comes_out_as_it_went_in(message: Message) -> None:
    assert parse_request(type(message), message.SerializeToString()) == message


@given(st.sampled_from(TYPES), st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(kind: type[Message], data: bytes) -> None:
    _refused_or_parsed(kind, data)


@given(requests, st.data())
def test_a_damaged_request_is_a_request_or_refused(message: Message, data: st.DataObject) -> None:
    sound = message.SerializeToString()
    position = data.draw(st.integers(0, len(sound)))
    noise = data.draw(st.binary(max_size=4))
    _refused_or_parsed(type(message), sound[:position] + noise + sound[position + 1 :])


def _refused_or_parsed(kind: type[Message], data: bytes) -> None:
    try:
        parse_request(kind, data)
    except InvalidRequestError as error:
        assert kind.DESCRIPTOR.full_name in error.message
        assert error.hint


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\x0b", b"\x1a\xff"])
def test_what_lies_before_a_fault_is_counted(tail: bytes) -> None:
    data = field(3, many(3, 500)) + tail
    assert count_values(log_pb2.AppendRequest, data, MAX) >= 501


def test_counting_ends_soon_after_the_limit() -> None:
    assert count_values(log_pb2.AppendRequest, many(3, 1_000_000), 100) == 101
    assert count_values(log_pb2.AppendRequest, field(3, many(3, 1_000_000)), 100) == 101
    assert count_values(log_pb2.FetchRequest, field(2, bytes(1_000_000)), 100) > 100


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_inside_of_groups_is_counted_and_deep_ones_are_refused(
    kind: type[Message],
) -> None:
    assert count_values(kind, nested_groups(1_000), MAX) == 2_000
    with pytest.raises(InvalidRequestError):
        parse_request(kind, nested_groups(400))
    parse_request(kind, nested_messages(400))
