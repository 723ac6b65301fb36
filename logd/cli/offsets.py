"""Where reading starts and stops: the grammar of `consume -o`.

    start | beginning | end | N | +N | -N | @TIME        from here on
    BOUND:BOUND | :BOUND | BOUND:                        from here (included) to there (excluded)

A range never waits for records to come.

`+N` is N after the start of the partition, `-N` N before its end, both for each partition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from logd.cli.times import parse_time_ms


class BoundKind(Enum):
    """What a bound counts from."""

    START = auto()
    END = auto()
    OFFSET = auto()
    TIME = auto()


@dataclass(frozen=True, slots=True)
class Bound:
    """START and END with a distance in records, an absolute OFFSET, or a TIME in milliseconds."""

    kind: BoundKind
    value: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Half-open range of one partition; `until` None: without end."""

    since: Bound
    until: Bound | None = None

    def bounds(self) -> tuple[Bound, ...]:
        return (self.since,) if self.until is None else (self.since, self.until)


START = Bound(BoundKind.START)
END = Bound(BoundKind.END)

_NUMBER = re.compile(r"[+-]?\d+")
_HELP = "give start, end, N, -N, +N, @TIME (ms, -1h, 2026-11-01) or a range such as @-1h:end"


def parse_selection(text: str, now_ms: int) -> Selection:
    """Raises ValueError that says what is understood."""
    try:
        return Selection(_parse_bound(text, now_ms))
    except ValueError:
        pass
    for position, character in enumerate(text):
        if character != ":":
            continue
        left, right = text[:position], text[position + 1 :]
        try:
            since = _parse_bound(left, now_ms) if left else START
            until = _parse_until(right, now_ms, after_time=since.kind is BoundKind.TIME)
        except ValueError:
            continue
        return Selection(since, until)
    raise ValueError(f"{text!r} is not a place in a log: {_HELP}")


def _parse_until(text: str, now_ms: int, *, after_time: bool) -> Bound | None:
    """The bound behind the colon; after a time, a bare number or date is a time as well."""
    if not text:
        return None
    if after_time and text not in ("start", "beginning", "end") and not text.startswith("@"):
        text = f"@{text}"
    return _parse_bound(text, now_ms)


def _parse_bound(text: str, now_ms: int) -> Bound:
    if text in ("start", "beginning"):
        return START
    if text == "end":
        return END
    if text.startswith("@"):
        return Bound(BoundKind.TIME, parse_time_ms(text[1:], now_ms))
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a place in a log: {_HELP}")
    number = int(text)
    if text[0] == "+":
        return Bound(BoundKind.START, number)
    if text[0] == "-":
        return Bound(BoundKind.END, number)
    return Bound(BoundKind.OFFSET, number)


def place(bound: Bound, *, start_offset: int, end_offset: int, time_offset: int | None) -> int:
    """The offset that `bound` means in one partition, within [start_offset, end_offset].

    `time_offset` answers a TIME bound: the first record at or after it, None when there is none.
    An absolute offset is taken as it is, so that one which does not exist is an error later on.
    """
    if bound.kind is BoundKind.START:
        return min(start_offset + bound.value, end_offset)
    if bound.kind is BoundKind.END:
        return max(end_offset + bound.value, start_offset)
    if bound.kind is BoundKind.TIME:
        return end_offset if time_offset is None else time_offset
    return bound.value
