from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidConfigError

from logd.model.units import (
    INT64_MAX,
    format_duration,
    format_size,
    parse_duration_ms,
    parse_integer,
    parse_size_bytes,
)

DURATIONS = {"ms": 1, "s": 10**3, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
SIZES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "tib": 1024**4,
}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("-1", -1),
        ("604800000", 604_800_000),
        ("500ms", 500),
        ("10s", 10_000),
        (" 5 m ", 300_000),
        ("1.5h", 5_400_000),
        ("7d", 604_800_000),
        ("0.5s", 500),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("-1", -1), ("64KiB", 65_536), ("1GB", 10**9), ("1.5 mib", 1_572_864), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1s", "1e3", "s", "10 S", "10M", "0.0001s", "1.s", "+1", "1_000", "٣s", "10ss", "1 "
     "s s", "9" * 20, "9223372036854775807s", "nan", "inf"],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        parse_duration_ms(text)


@pytest.mark.parametrize("text", ["", "64 K", "64K", "-1KiB", "0.3B", "1XiB", "9" * 25, "1.5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        parse_size_bytes(text)


@pytest.mark.parametrize("text", ["", "1.0", "1s", "0x10", "9223372036854775808", "٣"])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        parse_integer(text)


def test_the_bounds_of_whole_numbers() -> None:
    assert parse_integer(str(INT64_MAX)) == INT64_MAX
    assert parse_integer(str(-INT64_MAX - 1)) == -INT64_MAX - 1


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(DURATIONS)))
def test_durations_against_decimal_arithmetic(whole: int, thousandths: int, unit: str) -> None:
    text = f"{whole}.{thousandths:03}"
    expected = Decimal(text) * DURATIONS[unit]
    if expected == int(expected):
        assert parse_duration_ms(text + unit) == expected
    else:
        with pytest.raises(InvalidConfigError, match="finer"):
            parse_duration_ms(text + unit)


@given(st.integers(0, 10**6), st.sampled_from(sorted(SIZES)))
def test_sizes_against_a_table(amount: int, unit: str) -> None:
    assert parse_size_bytes(f"{amount}{unit}") == amount * SIZES[unit]


@given(st.integers(0, INT64_MAX))
def test_what_is_written_is_read_back(value: int) -> None:
    assert parse_duration_ms(format_duration(value)) == value
    assert parse_size_bytes(format_size(value)) == value


def test_words() -> None:
    assert format_duration(604_800_000) == "7d"
    assert format_duration(90_000) == "90s"
    assert format_duration(1_500) == "1500ms"
    assert format_size(64 * 1024**2) == "64MiB"
    assert format_size(1_048_588) == "1048588B"
    assert format_duration(-1) == format_size(-1) == "no limit"


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_integer, parse_duration_ms, parse_size_bytes):
        with contextlib.suppress(InvalidConfigError):
            assert -INT64_MAX - 1 <= parse(text) <= INT64_MAX
