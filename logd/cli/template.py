r"""Format strings: `consume -f` writes with them, `produce -f` reads with them.

%t topic   %p partition   %o offset   %k key   %v (or %s) value   %h headers as k=v,k=v
%T timestamp in ms   %K %S sizes of key and value in bytes   %% a percent sign
\n \t \r \0 \\ \xHH   everything else stands for itself; nothing is appended
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}
_TOKENS_OUT = "tpokvshTKS"
_TOKENS_IN = "pkvshT"


class Shown(Protocol):
    """What the templates need of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


Headers = Sequence[tuple[str, bytes | None]]


class Parsed(NamedTuple):
    """The literal pieces (bytes) and the tokens (one letter) of a template, in order."""

    pieces: tuple[bytes | str, ...]


def unescape(text: str) -> bytes:
    r"""Bytes of `text` with `\n`, `\t`, `\r`, `\0`, `\\` and `\xHH` read. Raises ValueError."""
    parts = parse_template(text.replace("%", "%%"), "").pieces
    return b"".join(part for part in parts if isinstance(part, bytes))


def parse_template(text: str, tokens: str) -> Parsed:
    """Split a template. Raises ValueError that names what is not understood."""
    pieces: list[bytes | str] = []
    literal = b""
    position = 0
    while position < len(text):
        character = text[position]
        if character == "%":
            token = text[position + 1 : position + 2]
            position += 2
            if token == "%":
                literal += b"%"
            elif token and token in tokens:
                pieces += [literal, token] if literal else [token]
                literal = b""
            else:
                known = " ".join(f"%{known}" for known in tokens)
                raise ValueError(f"%{token} in {text!r} is not known here; there are {known} %%")
        elif character == "\\":
            decoded, position = _escape(text, position)
            literal += decoded
        else:
            literal += character.encode("utf-8", "surrogateescape")
            position += 1
    return Parsed(tuple([*pieces, literal] if literal else pieces))


def _escape(text: str, position: int) -> tuple[bytes, int]:
    letter = text[position + 1 : position + 2]
    if letter in _ESCAPES and letter:
        return _ESCAPES[letter], position + 2
    digits = text[position + 2 : position + 4]
    if letter == "x" and re.fullmatch("[0-9a-fA-F]{2}", digits):
        return bytes.fromhex(digits), position + 4
    raise ValueError(rf"\{letter} in {text!r} is not known; there are \n \t \r \0 \\ \xHH")


def headers_bytes(headers: Headers) -> bytes:
    """`k=v,k=v`; a null value is written as nothing behind its name."""
    return b",".join(
        name.encode() + (b"" if value is None else b"=" + value) for name, value in headers
    )


def compile_output(text: str) -> Callable[[Shown, Headers, int], bytes]:
    """A function (record, headers, timestamp in ms) -> bytes. Raises ValueError."""
    pieces = parse_template(text, _TOKENS_OUT).pieces
    makers = [_maker(piece) for piece in pieces]

    def render(record: Shown, headers: Headers, timestamp_ms: int) -> bytes:
        return b"".join([make(record, headers, timestamp_ms) for make in makers])

    return render


def _maker(piece: bytes | str) -> Callable[[Shown, Headers, int], bytes]:
    if isinstance(piece, bytes):
        literal = piece
        return lambda _record, _headers, _timestamp: literal
    return _OUTPUT_TOKENS[piece]


_OUTPUT_TOKENS: dict[str, Callable[[Shown, Headers, int], bytes]] = {
    "t": lambda record, _h, _t: record.topic.encode(),
    "p": lambda record, _h, _t: b"%d" % record.partition,
    "o": lambda record, _h, _t: b"%d" % record.offset,
    "k": lambda record, _h, _t: record.key or b"",
    "v": lambda record, _h, _t: record.value or b"",
    "s": lambda record, _h, _t: record.value or b"",
    "h": lambda _record, headers, _t: headers_bytes(headers),
    "T": lambda _record, _h, timestamp_ms: b"%d" % timestamp_ms,
    "K": lambda record, _h, _t: b"%d" % (-1 if record.key is None else len(record.key)),
    "S": lambda record, _h, _t: b"%d" % (-1 if record.value is None else len(record.value)),
}


class InputTemplate:
    """Reads one record out of one piece of input by a template such as `%k %v`."""

    def __init__(self, text: str) -> None:
        """A trailing `\\n` is the end of the line, which is gone already. Raises ValueError."""
        self._text = text
        pieces = parse_template(text.removesuffix("\\n"), _TOKENS_IN).pieces
        tokens = ["v" if piece == "s" else piece for piece in pieces if isinstance(piece, str)]
        if len(set(tokens)) != len(tokens) or not tokens:
            raise ValueError(f"{text!r} must name each of %k %v %p %T %h at most once, and one")
        for left, right in pairwise(pieces):
            if isinstance(left, str) and isinstance(right, str):
                raise ValueError(f"{text!r}: put something between %{left} and %{right}")
        pattern = b""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            if isinstance(piece, bytes):
                pattern += re.escape(piece)
            else:
                name = b"v" if piece == "s" else piece.encode()
                pattern += b"(?P<" + name + (b">.*)" if last else b">.*?)")
        self._pattern = re.compile(pattern, re.DOTALL)

    def read(self, line: bytes) -> dict[str, bytes]:
        """The fields found, by token. Raises ValueError when the line does not fit."""
        match = self._pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:80]!r} does not fit the format {self._text!r}")
        return match.groupdict()
