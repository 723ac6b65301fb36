"""Record values that name themselves: who sent them, which number, and a body to be compared."""

from __future__ import annotations

import hashlib

_SEPARATOR = b"|"


def make_value(producer: str, number: int, size: int) -> tuple[str, bytes]:
    """A name and the bytes that hold it: about `size` bytes that follow from the name."""
    name = f"{producer}-{number}"
    pattern = hashlib.sha256(name.encode()).digest()
    body = (pattern * (size // len(pattern) + 1))[:size]
    return name, name.encode() + _SEPARATOR + body


def name_of(value: bytes | None) -> str:
    """The name inside of a value; garbage becomes a name that nobody sent."""
    if value is None:
        return "(null)"
    name, separator, _ = value.partition(_SEPARATOR)
    return name.decode("ascii", "replace") if separator else f"(garbage of {len(value)} bytes)"


def digest_of(value: bytes | None) -> str:
    """Short hash of all bytes of a value."""
    return hashlib.sha256(value or b"").hexdigest()[:16]
