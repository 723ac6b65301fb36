"""A check that every decision needs."""

from __future__ import annotations

from logd_wire.errors import InvalidRequestError

from logd.model.ids import ID_BYTES


def check_id(value: bytes, what: str) -> None:
    """Raise InvalidRequestError unless `value` is an id that somebody drew."""
    if len(value) != ID_BYTES or not any(value):
        raise InvalidRequestError(f"a {what} is {ID_BYTES} bytes and not all zero")
