from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from logd_proto.v1 import record_pb2 as pb
from logd_wire.errors import ErrorCode, LogdError

from logd.metadata import InconsistentLogError, MetadataRecord
from logd.metadata.records import TopicConfigured, TopicCreated
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record
from tests.unit.metadata.samples import records, topic_id


@given(records)
def test_every_record_comes_back(record: MetadataRecord) -> None:
    assert decode_metadata_record(encode_metadata_record(record)) == record


@given(records, records)
def test_bytes_are_equal_when_records_are(one: MetadataRecord, other: MetadataRecord) -> None:
    assert (encode_metadata_record(one) == encode_metadata_record(other)) is (one == other)


def test_bytes_do_not_depend_on_the_order_of_the_configuration() -> None:
    many = tuple((f"key.{number}", str(number)) for number in range(50))
    forwards = encode_metadata_record(TopicConfigured(topic_id("t"), many))
    backwards = encode_metadata_record(TopicConfigured(topic_id("t"), many[::-1]))
    assert forwards == backwards
    decoded = decode_metadata_record(backwards)
    assert isinstance(decoded, TopicConfigured)
    assert decoded.overrides == tuple(sorted(many))


def test_a_kind_of_later_times_is_refused_in_words() -> None:
    # Field 99, as a later release could write it: tag 99 << 3 | 2, two bytes.
    later = pb.MetadataRecord(version=1).SerializeToString() + b"\x9a\x06\x02hi"
    with pytest.raises(LogdError, match="a kind that did not exist yet") as caught:
        decode_metadata_record(later)
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION
    assert not caught.value.retriable
    assert "newer version" in caught.value.hint


@pytest.mark.parametrize("version", [-1, 0, 6, 2**31 - 1])
def test_another_version_is_refused_in_words(version: int) -> None:
    message = pb.MetadataRecord(version=version)
    message.topic_deleted.topic_id = topic_id("t")
    with pytest.raises(LogdError, match=f"version {version}; this software reads") as caught:
        decode_metadata_record(message.SerializeToString())
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_id_of_another_length_is_refused(length: int) -> None:
    message = pb.MetadataRecord(version=1)
    message.topic_deleted.topic_id = bytes(length)
    with pytest.raises(InconsistentLogError, match=f"an id has {length} bytes"):
        decode_metadata_record(message.SerializeToString())


@given(st.binary(max_size=80))
@example(b"")
@example(b"\xff" * 40)
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    try:
        record = decode_metadata_record(data)
    except LogdError as error:
        assert not error.retriable
    else:
        assert decode_metadata_record(encode_metadata_record(record)) == record


@given(records, st.data())
def test_a_damaged_record_is_another_one_or_refused(
    record: MetadataRecord, data: st.DataObject
) -> None:
    encoded = bytearray(encode_metadata_record(record))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_metadata_record(bytes(encoded))
    except LogdError as error:
        assert not error.retriable


def test_text_that_is_not_utf8_is_refused() -> None:
    good = encode_metadata_record(TopicCreated(topic_id("t"), "name", (), ()))
    with pytest.raises(LogdError):
        decode_metadata_record(good.replace(b"name", b"\xff\xfe\xfd\xfc"))
