from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidRequestError

from logd.model.ids import TopicId, TopicPartitionId, format_id, parse_id

ID = bytes.fromhex("6f1c1d2e0a3b4c5d8e9f001122334455")
TEXT = "6f1c1d2e-0a3b-4c5d-8e9f-001122334455"


def test_an_id_is_written_as_a_uuid() -> None:
    assert format_id(ID) == TEXT
    assert parse_id(TEXT) == parse_id(TEXT.replace("-", "").upper()) == ID
    assert str(TopicPartitionId(TopicId(ID), 3)) == f"{TEXT}-3"


@given(st.binary(min_size=16, max_size=16))
def test_every_id_comes_back(value: bytes) -> None:
    assert parse_id(format_id(value)) == value


@pytest.mark.parametrize("text", ["", "-", TEXT[:-1], TEXT + "0", "z" * 32, "6f 1c" + TEXT[4:]])
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not an id"):
        parse_id(text)


@given(st.text(max_size=40))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert len(parse_id(text)) == 16


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_id_has_sixteen_bytes(length: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"this one has {length}"):
        format_id(bytes(length))
