"""Durations, points in time and sizes as people type them at a prompt."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_EPOCH = re.compile(r"\d{1,16}")
#: A bare number below this is seconds since the epoch, otherwise milliseconds: seconds reach it in
#: the year 5138, milliseconds passed it in 1973.
_SECONDS_MAX = 100_000_000_000


def parse_duration_ms(text: str) -> int:
    """Milliseconds of `1h30m`, `10s`, `500ms`, `7d`. Raises ValueError."""
    position = 0
    total = 0.0
    for match in _DURATION_PART.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNIT_MS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f"{text!r} is not a duration such as 500ms, 10s, 5m, 1h30m or 7d")
    return round(total)


def parse_timeout_seconds(text: str) -> float:
    """Seconds of `5`, `0.5`, `5s` or `500ms`: a bare number is seconds. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = parse_duration_ms(text) / 1000
    if not 0 < seconds < 1e9:
        raise ValueError(f"{text!r} is not a time limit: give seconds, or 500ms, 10s, 5m")
    return seconds


def parse_time_ms(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch of a point in time. Raises ValueError.

    Understood: milliseconds or seconds since the epoch, `now`, `-1h` (that long ago),
    `2026-11-01` and `2026-11-01T10:00:00Z`. Without a zone a date is local time.
    """
    if text == "now":
        return now_ms
    if _EPOCH.fullmatch(text):
        number = int(text)
        return number * 1000 if number < _SECONDS_MAX else number
    if text.startswith("-"):
        return now_ms - parse_duration_ms(text[1:])
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is not a time: give milliseconds since 1970, -1h, now, "
            "2026-11-01 or 2026-11-01T10:00:00Z"
        ) from None


def format_time(timestamp_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; `-` when there is no time."""
    if timestamp_ms < 0:
        return "-"
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def format_bytes(size_bytes: float) -> str:
    """`999 B`, `1.5 KiB`, `12.0 MiB`."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} TiB"
