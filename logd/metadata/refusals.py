"""Refusals that a caller tells apart by their type, and a check that every decision needs."""

from __future__ import annotations

from logd_wire.errors import InvalidRequestError

from logd.model.ids import ID_BYTES


class StaleEpochError(InvalidRequestError):
    """The command goes out from what is no longer so: an earlier process of a node, or an earlier
    state of a partition. Sending it again unchanged does not help; reading the metadata may."""


class IneligibleReplicaError(InvalidRequestError):
    """A proposed member of an in-sync set is fenced or removed. It may come back: retriable."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retriable=True)


def check_id(value: bytes, what: str) -> None:
    """Raise InvalidRequestError unless `value` is an id that somebody drew."""
    if len(value) != ID_BYTES or not any(value):
        raise InvalidRequestError(f"a {what} is {ID_BYTES} bytes and not all zero")
