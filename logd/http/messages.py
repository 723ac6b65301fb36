"""What a request asks and what it is answered, free of HTTP's syntax."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class Request(NamedTuple):
    """A request without a body. `path` is as it was sent, without its query; not to be echoed."""

    method: str
    path: str
    accept: str


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` beside those that every answer has."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def text_response(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, TEXT, text.encode() + b"\n", headers)


def json_response(status: int, document: Any) -> Response:
    return Response(status, JSON, json.dumps(document).encode() + b"\n")
