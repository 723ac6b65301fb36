"""Turning keys and values into bytes and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logd_wire import Headers
from logd_wire.errors import InvalidRecordError, SerializationError

from logd_client.values import HeadersLike


def json_serializer(value: Any) -> bytes:
    """Compact JSON in UTF-8. Raises TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def json_deserializer(data: bytes) -> Any:
    """What the JSON text in `data` says. Raises ValueError when it is not JSON."""
    return json.loads(data)


def string_deserializer(data: bytes) -> str:
    """UTF-8 text. Raises ValueError when it is not."""
    return data.decode()


def plain_bytes(what: str, value: object) -> bytes:
    """`bytes` pass, `str` becomes UTF-8; anything else raises SerializationError."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    error = SerializationError(
        f"a {what} of type {type(value).__name__} cannot be sent as it is",
        hint=f"pass bytes or str, or choose {what}_serializer= (for example json_serializer)",
    )
    error.record = value
    raise error


def serialized(what: str, serializer: Any, value: object) -> bytes:
    """`value` through `serializer`; whatever goes wrong becomes a SerializationError."""
    try:
        data = serializer(value)
    except Exception as problem:
        error = SerializationError(
            f"{what}_serializer failed on a {type(value).__name__}: {problem}",
            hint="the record was not sent",
        )
        error.record = value
        raise error from problem
    if type(data) is not bytes:
        return plain_bytes(what, data)
    return data


def wire_headers(headers: HeadersLike) -> Headers:
    """Headers as the codec takes them. Raises InvalidRecordError for a wrong type."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    try:
        return tuple((name, _header_value(name, value)) for name, value in pairs)
    except (TypeError, ValueError) as problem:
        raise InvalidRecordError(
            f"headers are not pairs of name and value: {problem}",
            hint='pass {"name": b"value"} or [("name", b"value")]',
        ) from problem


def _header_value(name: object, value: object) -> bytes | None:
    if not isinstance(name, str):
        raise TypeError(f"a header's name is {type(name).__name__}, not str")
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"the value of header {name!r} is {type(value).__name__}, not bytes or str")
