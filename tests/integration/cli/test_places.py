"""Where reading starts and stops, and times as people write them."""

from __future__ import annotations

import pytest

from logd.cli.offsets import END, START, Bound, BoundKind, Selection, parse_selection, place
from logd.cli.times import (
    format_bytes,
    format_time,
    parse_duration_ms,
    parse_time_ms,
    parse_timeout_seconds,
)

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def at(timestamp_ms: int) -> Bound:
    return Bound(BoundKind.TIME, timestamp_ms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", Selection(START)),
        ("beginning", Selection(START)),
        ("end", Selection(END)),
        ("42", Selection(Bound(BoundKind.OFFSET, 42))),
        ("+5", Selection(Bound(BoundKind.START, 5))),
        ("-10", Selection(Bound(BoundKind.END, -10))),
        ("@1700000000123", Selection(at(1_700_000_000_123))),
        ("@1700000000", Selection(at(1_700_000_000_000))),
        ("@-1h", Selection(at(NOW_MS - HOUR_MS))),
        ("@now", Selection(at(NOW_MS))),
        ("@2026-11-01T10:00:00Z", Selection(at(1_793_527_200_000))),
        ("@2026-11-01T10:00:00+01:00", Selection(at(1_793_523_600_000))),
        ("10:20", Selection(Bound(BoundKind.OFFSET, 10), Bound(BoundKind.OFFSET, 20))),
        (":20", Selection(START, Bound(BoundKind.OFFSET, 20))),
        ("10:", Selection(Bound(BoundKind.OFFSET, 10))),
        (":end", Selection(START, END)),
        ("-10:-5", Selection(Bound(BoundKind.END, -10), Bound(BoundKind.END, -5))),
        ("@-1h:end", Selection(at(NOW_MS - HOUR_MS), END)),
        ("@-2h:-1h", Selection(at(NOW_MS - 2 * HOUR_MS), at(NOW_MS - HOUR_MS))),
        ("@-2h:@-1h", Selection(at(NOW_MS - 2 * HOUR_MS), at(NOW_MS - HOUR_MS))),
        (
            "@2026-11-01T10:00:00Z:2026-11-01T11:00:00Z",
            Selection(at(1_793_527_200_000), at(1_793_530_800_000)),
        ),
        ("@1700000000:1700000001", Selection(at(1_700_000_000_000), at(1_700_000_001_000))),
    ],
)
def test_a_place_is_understood(text: str, expected: Selection) -> None:
    assert parse_selection(text, NOW_MS) == expected


@pytest.mark.parametrize(
    "text", ["", "first", "1.5", "@", "@yesterday", "a:b", "1:x", "--5", "@-1x"]
)
def test_nonsense_is_refused_with_what_is_understood(text: str) -> None:
    with pytest.raises(ValueError, match="give start, end, N"):
        parse_selection(text, NOW_MS)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (START, 100),
        (END, 110),
        (Bound(BoundKind.START, 3), 103),
        (Bound(BoundKind.START, 99), 110),
        (Bound(BoundKind.END, -3), 107),
        (Bound(BoundKind.END, -99), 100),
        (Bound(BoundKind.OFFSET, 7), 7),
        (at(5), 104),
    ],
)
def test_a_bound_becomes_an_offset(bound: Bound, expected: int) -> None:
    assert place(bound, start_offset=100, end_offset=110, time_offset=104) == expected


def test_a_time_after_the_last_record_is_the_end() -> None:
    assert place(at(5), start_offset=100, end_offset=110, time_offset=None) == 110


def test_durations() -> None:
    assert parse_duration_ms("1h30m") == 5_400_000
    assert parse_duration_ms("500ms") == 500
    assert parse_duration_ms("1.5s") == 1_500
    assert parse_duration_ms("1w") == 7 * 24 * HOUR_MS
    for wrong in ("", "5", "h", "1h 2m", "1y", "-1h"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration_ms(wrong)


def test_a_bare_time_limit_is_seconds() -> None:
    assert parse_timeout_seconds("2") == 2
    assert parse_timeout_seconds("0.5") == 0.5
    assert parse_timeout_seconds("250ms") == 0.25
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        with pytest.raises(ValueError, match="not a"):
            parse_timeout_seconds(wrong)


def test_times_and_sizes_are_shown() -> None:
    assert format_time(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert format_time(-1) == "-"
    assert format_time(10**18) == "1" + "0" * 18
    assert format_bytes(1023) == "1023 B"
    assert format_bytes(1536) == "1.5 KiB"
    assert format_bytes(5 * 2**40) == "5.0 TiB"


def test_what_is_shown_is_understood() -> None:
    assert parse_time_ms(format_time(NOW_MS), 0) == NOW_MS
