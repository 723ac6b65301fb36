"""Bytes from values, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_client import (
    InvalidRecordError,
    SerializationError,
    json_deserializer,
    json_serializer,
    string_deserializer,
)
from logd_client.serializers import plain_bytes, serialized, wire_headers

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_json_round_trip(value: object) -> None:
    assert json_deserializer(json_serializer(value)) == value


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_serializer(float("nan"))
    with pytest.raises(ValueError, match="Expecting"):
        json_deserializer(b"{")


def test_plain_values() -> None:
    assert plain_bytes("value", b"b") == b"b"
    assert plain_bytes("value", "ä") == "ä".encode()
    assert plain_bytes("value", bytearray(b"x")) == b"x"
    assert plain_bytes("value", memoryview(b"xy")[1:]) == b"y"
    assert string_deserializer(b"\xc3\xa4") == "ä"
    with pytest.raises(SerializationError, match="choose key_serializer="):
        plain_bytes("key", 5)


def test_a_serializer_may_return_text() -> None:
    assert serialized("value", str, 5) == b"5"
    with pytest.raises(SerializationError, match="of type int"):
        serialized("value", lambda value: value, 5)


def test_headers() -> None:
    assert wire_headers({"a": "b", "c": b"d", "e": None}) == (("a", b"b"), ("c", b"d"), ("e", None))
    assert wire_headers([("a", b"1"), ("a", b"2")]) == (("a", b"1"), ("a", b"2"))
    for wrong in ([("a",)], {"a": 1}, [(b"a", b"b")], 5):
        with pytest.raises(InvalidRecordError):
            wire_headers(wrong)  # type: ignore[arg-type]
