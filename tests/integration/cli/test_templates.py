"""Format strings of consume and produce, to the byte."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.cli.template import InputTemplate, compile_output, unescape


class Shown(NamedTuple):
    topic: str = "orders"
    partition: int = 2
    offset: int = 41
    key: bytes | None = b"k"
    value: bytes | None = b"v"


HEADERS = (("a", b"1"), ("b", None), ("a", b""))


def rendered(template: str, record: Shown) -> bytes:
    return compile_output(template)(record, HEADERS, 1_700_000_000_123)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (r"%t[%p]@%o %k=%v\n", b"orders[2]@41 k=v\n"),
        ("%s", b"v"),
        ("%T %K %S", b"1700000000123 1 1"),
        ("%h", b"a=1,b,a="),
        (r"100%% \\n\t\r\0\x0a\xfF", b"100% \\n\t\r\0\n\xff"),
        ("ä%v", "äv".encode()),
        ("", b""),
    ],
)
def test_output(template: str, expected: bytes) -> None:
    assert rendered(template, Shown()) == expected


def test_null_is_nothing_with_size_minus_one() -> None:
    assert rendered("[%k|%v|%K|%S]", Shown(key=None, value=None)) == b"[||-1|-1]"
    assert rendered("[%K|%S]", Shown(key=b"", value=b"")) == b"[0|0]"


@pytest.mark.parametrize("template", ["%q", "%", r"\q", r"\x1", "\\"])
def test_what_is_not_known_is_named(template: str) -> None:
    with pytest.raises(ValueError, match="not known"):
        compile_output(template)


@given(st.binary())
def test_the_value_comes_out_byte_for_byte(value: bytes) -> None:
    assert rendered(r"%v\n", Shown(value=value)) == value + b"\n"


def test_unescape() -> None:
    assert unescape(r"\n") == b"\n"
    assert unescape("%:") == b"%:"
    with pytest.raises(ValueError, match="not known"):
        unescape(r"\y")


def test_input() -> None:
    assert InputTemplate(r"%k %v\n").read(b"a b c") == {"k": b"a", "v": b"b c"}
    assert InputTemplate("%p|%k|%s").read(b"3|x|y|z") == {"p": b"3", "k": b"x", "v": b"y|z"}
    assert InputTemplate("%v").read(b"a\nb\xff") == {"v": b"a\nb\xff"}
    assert InputTemplate(r"<%k>%v;").read(b"<>;") == {"k": b"", "v": b""}


def test_a_line_that_does_not_fit_is_shown() -> None:
    with pytest.raises(ValueError, match="b'abc' does not fit the format '%k %v'"):
        InputTemplate("%k %v").read(b"abc")


@pytest.mark.parametrize("template", ["", "abc", "%k%v", "%k %k", "%v %s", "%o %v"])
def test_a_template_that_cannot_be_read_back_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"must name|put something|not known"):
        InputTemplate(template)


@given(st.binary().filter(lambda key: b"\t" not in key), st.binary())
def test_what_was_written_is_read_back(key: bytes, value: bytes) -> None:
    line = rendered(r"%k\t%v", Shown(key=key, value=value))
    assert InputTemplate(r"%k\t%v").read(line) == {"k": key, "v": value}
