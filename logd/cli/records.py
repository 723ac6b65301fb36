"""How records look on stdout: raw, by a template, or as JSON in kcat's envelope."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from logd.cli.exits import UsageProblem
from logd.cli.template import compile_output

Render = Callable[[Any], bytes]


def raw(record: Any) -> bytes:
    """The value unchanged, and a newline."""
    return (record.value or b"") + b"\n"


def by_template(text: str) -> Render:
    """What `-f` makes of a record. Raises UsageProblem."""
    try:
        render = compile_output(text)
    except ValueError as error:
        raise UsageProblem(f"-f: {error}") from None
    return lambda record: render(record, record.headers, record.timestamp_ms)


def as_json(*, indent: int | None, with_value: bool) -> Render:
    """One JSON document a record: kcat's keys, and `…_base64` where bytes are not UTF-8."""

    def render(record: Any) -> bytes:
        document = envelope(record, with_value=with_value)
        return json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"

    return render


def envelope(record: Any, *, with_value: bool = True) -> dict[str, Any]:
    """topic, partition, offset, tstype, ts, headers (name, value, name, …), key, payload."""
    document: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "tstype": "create",
        "ts": record.timestamp_ms,
        "headers": [item for header in record.headers for item in _header(*header)],
    }
    _put_bytes(document, "key", record.key)
    if with_value:
        _put_bytes(document, "payload", record.value)
    else:
        document["payload_bytes"] = -1 if record.value is None else len(record.value)
    return document


def _header(name: str, value: bytes | None) -> tuple[str, str | None]:
    return name, None if value is None else value.decode("utf-8", "backslashreplace")


def _put_bytes(document: dict[str, Any], name: str, value: bytes | None) -> None:
    try:
        document[name] = None if value is None else value.decode()
    except UnicodeDecodeError:
        document[name] = None
        document[f"{name}_base64"] = base64.b64encode(value or b"").decode()
