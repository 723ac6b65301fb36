"""One row of a table of settings, and how its text becomes a value.

Tables of `Setting` are the one place that holds a setting's name, type, default, bounds and
meaning: parsing, `--print-config`, `topic describe` and the documentation are made from them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

from logd_wire.errors import InvalidConfigError, InvalidRequestError

from logd.model.addresses import PeerAddresses, parse_address, parse_peers
from logd.model.ids import parse_id
from logd.model.units import (
    INT64_MAX,
    format_duration,
    format_size,
    parse_duration_ms,
    parse_integer,
    parse_size_bytes,
)

_RATIO: Final = re.compile(r"[01](\.[0-9]{1,6})?", re.ASCII)
_TEXT_CHARACTERS_MAX: Final = 4096
_INTERVAL_PREFIX: Final = "interval:"
_INTERVAL_MS_MAX: Final = 3_600_000


class Kind(Enum):
    """What the text of a setting means."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    #: Milliseconds.
    DURATION = "duration"
    #: Bytes.
    SIZE = "size"
    TEXT = "text"
    #: One of the setting's `choices`.
    CHOICE = "choice"
    #: `host:port`, or empty for none.
    ADDRESS = "address"
    #: `id@host:port`, with commas between several; empty for none.
    PEERS = "nodes"
    #: A UUID, or empty for none.
    ID = "id"
    #: A share, from 0 to 1.
    RATIO = "ratio"
    #: `batch`, `none` or `interval:<duration>`.
    FLUSH = "flush"


class FlushMode(Enum):
    """When what was written is made durable."""

    #: One sync for each round of batches, before they are acknowledged.
    BATCH = "batch"
    #: Never by ourselves; the operating system writes when it likes.
    NONE = "none"
    #: At the latest so long after it was written; acknowledged before.
    INTERVAL = "interval"


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """A topic's `flush`. `interval_ms` is 0 unless the mode is INTERVAL."""

    mode: FlushMode
    interval_ms: int = 0

    @property
    def acks_after_sync(self) -> bool:
        """Whether a batch is durable on this node before it is acknowledged."""
        return self.mode is FlushMode.BATCH

    def __str__(self) -> str:
        if self.mode is FlushMode.INTERVAL:
            return f"{_INTERVAL_PREFIX}{format_duration(self.interval_ms)}"
        return str(self.mode.value)


Value = bool | int | float | str | bytes | FlushPolicy | PeerAddresses


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is text in the form a user would write it."""

    name: str
    kind: Kind
    default: str
    doc: str
    #: Whether it can be changed while it is in use.
    dynamic: bool = False
    minimum: int = 0
    maximum: int = INT64_MAX
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Value:
        """Return the value; raises InvalidConfigError that names the setting."""
        if len(text) > _TEXT_CHARACTERS_MAX:
            raise InvalidConfigError(f"{self.name}: {len(text)} characters are too many")
        try:
            return self._checked(_PARSERS[self.kind](text, self.choices))
        except InvalidRequestError as error:
            raise InvalidConfigError(f"{self.name}: {error.message}", hint=error.hint) from None

    def _checked(self, value: Value) -> Value:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < self.minimum:
                raise InvalidConfigError(
                    f"{self.in_words(value)} is too small",
                    hint=f"the least is {self.in_words(self.minimum)}",
                )
            if value > self.maximum:
                raise InvalidConfigError(
                    f"{self.in_words(value)} is too large",
                    hint=f"the most is {self.in_words(self.maximum)}",
                )
        return value

    def in_words(self, value: int) -> str:
        """Return a number with its unit, as a person would write it."""
        if self.kind is Kind.DURATION and value >= 0:
            return format_duration(value)
        if self.kind is Kind.SIZE and value >= 0:
            return format_size(value)
        return str(value)


def format_value(value: Value) -> str:
    """Return the plain form that Kafka's tools show: `true`, `604800000`, `batch`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case str():
            return value
        case bytes():
            return value.hex()
        case FlushPolicy():
            return str(value)
        case tuple():
            return ",".join(map(str, value))
        case _:
            assert_never(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known setting, or where to find them all."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "docs/settings.md lists every setting"


def _parse_boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in {"true", "false"}:
        raise InvalidConfigError(f"{text[:64]!r} is neither true nor false")
    return lowered == "true"


def _parse_text(text: str) -> str:
    if not text.isprintable():
        raise InvalidConfigError(f"{text[:64]!r} has characters that cannot be printed")
    return text


def _parse_choice(text: str, choices: tuple[str, ...]) -> str:
    stripped = text.strip()
    if stripped not in choices:
        offered = ", ".join(choice or "(empty)" for choice in choices)
        raise InvalidConfigError(f"{text[:64]!r} is not offered", hint=f"choose from: {offered}")
    return stripped


def _parse_optional_id(text: str) -> bytes:
    return parse_id(text) if text.strip() else b""


def _parse_ratio(text: str) -> float:
    stripped = text.strip()
    if _RATIO.fullmatch(stripped) is None or float(stripped) > 1:
        raise InvalidConfigError(f"{text[:64]!r} is not a share", hint="write 0 to 1, as in 0.5")
    return float(stripped)


def _parse_flush(text: str) -> FlushPolicy:
    stripped = text.strip()
    if stripped in {"batch", "none"}:
        return FlushPolicy(FlushMode(stripped))
    if stripped.startswith(_INTERVAL_PREFIX):
        interval_ms = parse_duration_ms(stripped.removeprefix(_INTERVAL_PREFIX))
        if not 1 <= interval_ms <= _INTERVAL_MS_MAX:
            raise InvalidConfigError(f"{text[:64]!r}: the interval is from 1ms to 1h")
        return FlushPolicy(FlushMode.INTERVAL, interval_ms)
    raise InvalidConfigError(
        f"{text[:64]!r} is not a flush policy", hint="write batch, none or interval:10ms"
    )


def _no_choices(parse: Callable[[str], Value]) -> Callable[[str, tuple[str, ...]], Value]:
    return lambda text, _choices: parse(text)


_PARSERS: Final[dict[Kind, Callable[[str, tuple[str, ...]], Value]]] = {
    Kind.BOOLEAN: _no_choices(_parse_boolean),
    Kind.INTEGER: _no_choices(parse_integer),
    Kind.DURATION: _no_choices(parse_duration_ms),
    Kind.SIZE: _no_choices(parse_size_bytes),
    Kind.RATIO: _no_choices(_parse_ratio),
    Kind.TEXT: _no_choices(_parse_text),
    Kind.CHOICE: _parse_choice,
    Kind.ADDRESS: _no_choices(parse_address),
    Kind.PEERS: _no_choices(parse_peers),
    Kind.ID: _no_choices(_parse_optional_id),
    Kind.FLUSH: _no_choices(_parse_flush),
}

assert set(_PARSERS) == set(Kind)
