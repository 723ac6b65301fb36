"""Durations and sizes as people write them: `10s`, `7d`, `64KiB`, `1GB`, or a plain integer."""

from __future__ import annotations

import re
from typing import Final

from logd_wire.errors import InvalidConfigError

#: Milliseconds in one unit of time.
_DURATION_UNITS: Final[dict[str, int]] = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}

#: Bytes in one unit of size, in small letters; the units are read without regard to case.
_SIZE_UNITS: Final[dict[str, int]] = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}

_AMOUNT: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?[ ]?([A-Za-z]+)", re.ASCII)
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
INT64_MAX: Final = 2**63 - 1


def parse_integer(text: str) -> int:
    """Return a whole number in plain decimal digits; raises InvalidConfigError otherwise."""
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped) is None:
        raise InvalidConfigError(f"{text[:64]!r} is not a whole number")
    return _within_int64(int(stripped), text)


def parse_duration_ms(text: str) -> int:
    """Return milliseconds of `500ms`, `10s`, `1.5h`, `7d` or of a plain integer.

    -1 passes through: it stands for *no limit* where a setting allows it. Raises
    InvalidConfigError for anything else, and for parts of a millisecond.
    """
    return _parse(text, _DURATION_UNITS, "a duration", "write 500ms, 10s, 5m, 2h, 7d, or plain ms")


def parse_size_bytes(text: str) -> int:
    """Return bytes of `64KiB`, `1GB`, `1.5MiB` or of a plain integer.

    -1 passes through: it stands for *no limit* where a setting allows it. Raises
    InvalidConfigError for anything else, and for parts of a byte.
    """
    return _parse(text, _SIZE_UNITS, "a size", "write 512B, 64KiB, 64MiB, 1GB, or plain bytes")


def format_duration(milliseconds: int) -> str:
    """Return the shortest exact form, such as `7d` or `1500ms`; -1 is `no limit`."""
    if milliseconds < 0:
        return "no limit"
    for unit in ("d", "h", "m", "s"):
        factor = _DURATION_UNITS[unit]
        if milliseconds and milliseconds % factor == 0:
            return f"{milliseconds // factor}{unit}"
    return f"{milliseconds}ms"


def format_size(size_bytes: int) -> str:
    """Return the shortest exact form, such as `64MiB` or `1048588B`; -1 is `no limit`."""
    if size_bytes < 0:
        return "no limit"
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _SIZE_UNITS[unit.lower()]
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def rough_duration(milliseconds: int) -> str:
    """Return two units at most, rounded down, for people: `6d 23h`, `90s` is `1m 30s`."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    parts: list[tuple[int, str]] = []
    rest = milliseconds
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _DURATION_UNITS[unit])
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count)


def rough_size(size_bytes: int) -> str:
    """Return three digits or so, for people: `12.3 MiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _SIZE_UNITS[unit.lower()]
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"


def _parse(text: str, units: dict[str, int], what: str, hint: str) -> int:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped) is not None:
        return _within_int64(int(stripped), text)
    match = _AMOUNT.fullmatch(stripped)
    if match is None:
        raise InvalidConfigError(f"{text[:64]!r} is not {what}", hint=hint)
    whole, fraction, unit = match.group(1), match.group(2) or "", match.group(3)
    factor = units.get(unit if units is _DURATION_UNITS else unit.lower())
    if factor is None:
        raise InvalidConfigError(f"{text[:64]!r} is not {what}: unknown unit {unit!r}", hint=hint)
    amount, rest = divmod(int(whole + fraction) * factor, 10 ** len(fraction))
    if rest:
        raise InvalidConfigError(f"{text[:64]!r} is finer than the smallest unit", hint=hint)
    return _within_int64(amount, text)


def _within_int64(value: int, text: str) -> int:
    if not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise InvalidConfigError(f"{text[:64]!r} is too large")
    return value
