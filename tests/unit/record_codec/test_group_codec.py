from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_proto.v1 import record_pb2 as pb
from logd_wire.errors import DataLossError, ErrorCode, LogdError

from logd.groups.records import (
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupRecord,
    MemberKept,
    MemberState,
    OffsetCommitted,
    TargetEpoch,
    TargetMember,
    key_of,
)
from logd.model.ids import TopicId, TopicPartitionId
from logd.runtime.group_codec import decode_group_record, encode_group_record

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
topic_ids = st.binary(min_size=16, max_size=16).map(TopicId)
held = st.frozensets(st.builds(TopicPartitionId, topic_ids, st.integers(0, 9_999)), max_size=6)
states = st.sampled_from(MemberState)
kept: st.SearchStrategy[GroupRecord] = st.one_of(
    st.builds(GroupEpoch, texts, int32, texts, int64),
    st.builds(
        MemberKept,
        *[texts] * 6,
        int32,
        int32,
        st.lists(texts, max_size=4).map(tuple),
        texts,
        texts,
    ),
    st.builds(TargetEpoch, texts, int32),
    st.builds(TargetMember, texts, texts, held),
    st.builds(CurrentMember, texts, texts, int32, int32, states, held, held),
    st.builds(
        OffsetCommitted, texts, topic_ids, int32, int64, int32, texts, int64, texts, int32, int64
    ),
)
records = st.one_of(kept, kept.map(lambda record: Forgotten(key_of(record))))


@given(records)
def test_every_record_comes_back(record: GroupRecord) -> None:
    assert decode_group_record(*encode_group_record(record)) == record


@given(records, records)
def test_keys_are_equal_when_they_name_the_same(one: GroupRecord, other: GroupRecord) -> None:
    same = key_of(one) == key_of(other)
    assert (encode_group_record(one).key == encode_group_record(other).key) is same


@given(records)
def test_only_what_is_forgotten_has_no_value(record: GroupRecord) -> None:
    assert (encode_group_record(record).value is None) is isinstance(record, Forgotten)


@given(st.binary(max_size=60), st.none() | st.binary(max_size=60))
def test_bytes_of_any_kind_are_a_record_or_refused(key: bytes, value: bytes | None) -> None:
    try:
        decode_group_record(key, value)
    except LogdError as error:
        assert error.code in {ErrorCode.UNSUPPORTED_VERSION, ErrorCode.DATA_LOSS}


def test_a_kind_of_later_times_is_refused_in_words() -> None:
    key = pb.GroupLogKey(group_id="mailers").SerializeToString() + b"\x08\x63"
    for value in (None, b""):
        with pytest.raises(LogdError, match="is of kind 99; this software reads") as caught:
            decode_group_record(key, value)
        assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION
        assert not caught.value.retriable
        assert "newer version" in caught.value.hint


@pytest.mark.parametrize("version", [-1, 0, 2])
def test_another_version_is_refused_in_words(version: int) -> None:
    key, _ = encode_group_record(TargetEpoch("mailers", 1))
    message = pb.GroupLogRecord(version=version)
    message.target_epoch.epoch = 1
    with pytest.raises(LogdError, match=f"version {version}; this software reads") as caught:
        decode_group_record(key, message.SerializeToString())
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


def test_a_value_that_is_not_of_its_key_is_damage() -> None:
    key, _ = encode_group_record(TargetEpoch("mailers", 1))
    _, value = encode_group_record(GroupEpoch("mailers", 1, "uniform"))
    with pytest.raises(DataLossError, match="a value of kind epoch"):
        decode_group_record(key, value)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_id_of_another_length_is_damage(length: int) -> None:
    key = pb.GroupLogKey(
        kind=pb.GROUP_LOG_KIND_OFFSET, group_id="mailers", topic_id=bytes(length)
    ).SerializeToString()
    with pytest.raises(DataLossError, match=f"has {length} bytes"):
        decode_group_record(key, None)
