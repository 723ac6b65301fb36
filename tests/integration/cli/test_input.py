"""Input of `produce`: records out of bytes, without a node."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_client import ProducerRecord
from logd_wire.errors import InvalidRecordError, RecordTooLargeError
from logd_wire.limits import RECORD_BYTES_MAX

from logd.cli.producing import Recipe, parse_header, read_pieces, records_of
from logd.cli.template import InputTemplate


def pieces_of(data: bytes, delimiter: bytes = b"\n") -> list[bytes]:
    return [piece for chunk in read_pieces(io.BytesIO(data), delimiter) for piece in chunk]


def test_lines_are_taken_unchanged() -> None:
    assert pieces_of(b"a\r\n\n b \n\xff\x00\n") == [b"a\r", b"", b" b ", b"\xff\x00"]
    assert pieces_of(b"last without newline") == [b"last without newline"]
    assert pieces_of(b"") == []
    assert pieces_of(b"\n") == [b""]


@given(st.lists(st.binary().filter(lambda piece: b"\0" not in piece)))
def test_any_delimiter(pieces: list[bytes]) -> None:
    assert pieces_of(b"".join(piece + b"\0" for piece in pieces), b"\0") == pieces


def test_input_without_a_delimiter_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(RecordTooLargeError, match="no delimiter"):
        pieces_of(b"x" * (RECORD_BYTES_MAX + 1))


def only(piece: bytes, recipe: Recipe) -> ProducerRecord[bytes, bytes]:
    [record] = records_of([piece], recipe, "t", 1)
    return record


def test_recipes() -> None:
    assert only(b"v", Recipe(key=b"k", partition=3)) == ProducerRecord(b"v", b"k", partition=3)
    assert only(b"a:b:c", Recipe(key_delimiter=b":")) == ProducerRecord(b"b:c", b"a")
    assert only(b"abc", Recipe(key_delimiter=b":")) == ProducerRecord(b"abc", None)
    assert only(b":abc", Recipe(key_delimiter=b":")) == ProducerRecord(b"abc", b"")
    assert only(b"", Recipe(empty_is_null=True, key=b"k")) == ProducerRecord(None, b"k")
    assert only(b"", Recipe()) == ProducerRecord(b"", None)
    headers = (("h", b"1"), ("n", None))
    assert only(b"v", Recipe(headers=headers)) == ProducerRecord(b"v", headers=headers)


def test_a_template_fills_every_field() -> None:
    recipe = Recipe(template=InputTemplate("%p %T %h %k %v"), headers=(("first", b"x"),))
    assert only(b"2 1700 a=1,b key the value", recipe) == ProducerRecord(
        b"the value",
        b"key",
        headers=(("first", b"x"), ("a", b"1"), ("b", None)),
        partition=2,
        timestamp=1700,
    )


@pytest.mark.parametrize("line", [b"x key", b"1"])
def test_an_input_record_that_does_not_fit_is_named_by_its_number(line: bytes) -> None:
    recipe = Recipe(template=InputTemplate("%p %k"))
    with pytest.raises(InvalidRecordError, match="input record 7"):
        records_of([b"0 fits", line], recipe, "t", 6)


def test_headers() -> None:
    assert parse_header(b"a=b=c") == ("a", b"b=c")
    assert parse_header(b"a=") == ("a", b"")
    assert parse_header(b"a") == ("a", None)
    with pytest.raises(ValueError, match="no name"):
        parse_header(b"=x")
