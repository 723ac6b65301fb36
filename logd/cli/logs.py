"""The node's application logging on stderr: lines for people on a terminal, JSON elsewhere.

One event is one line of JSON whatever is in it: names come from peers and users, and a line break
or an escape sequence in one must not become a second event, nor reach a terminal. Every value is
cut to `VALUE_CHARACTERS_MAX`. JSON is pure ASCII, so that no encoding of stderr can break it.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any, Final

from logd.cli.options import Invocation
from logd.cli.times import format_time

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

#: The last of them is "…" where something was cut.
VALUE_CHARACTERS_MAX: Final = 256
#: Fields of one event beside the standard ones.
_FIELDS_MAX: Final = 32
#: Lines of a traceback that are kept of its beginning, and of its end.
_TRACE_HEAD: Final = 49
_TRACE_TAIL: Final = 50


def _cut(text: str) -> str:
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    return text[: VALUE_CHARACTERS_MAX - 1] + "…"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Arguments that do not fit the text, or that cannot be shown: the text is still an event.
        return str(record.msg)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """What was passed as `extra=`: plain values as they are, everything else as text."""
    own = ((name, value) for name, value in vars(record).items() if name not in _STANDARD)
    for name, value in itertools.islice(own, _FIELDS_MAX):
        yield _cut(name), _plain(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else _cut(hex(value))
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    try:
        return _cut(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the exception, if there is one."""
    if not record.exc_info:
        return []
    lines = formatter.formatException(record.exc_info).split("\n")
    if len(lines) > _TRACE_HEAD + 1 + _TRACE_TAIL:
        lines[_TRACE_HEAD:-_TRACE_TAIL] = ["…"]
    return [_cut(line) for line in lines]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, event, and the fields passed as `extra=`.

    `common` are fields of every event. An exception is a list of lines.
    """

    def __init__(self, common: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._common = common or {}

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "ts": format_time(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": _cut(record.name),
            "event": _cut(_message(record)),
            **self._common,
        }
        for name, value in _fields(record):
            document.setdefault(name, value)
        if trace := _trace(self, record):
            document["exception"] = trace
        return json.dumps(document)


class ConsoleFormatter(logging.Formatter):
    """`12:00:00.123 INFO    what happened key=value`; a traceback goes on below."""

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record))
        head = f"{moment}.{record.msecs:03.0f} {record.levelname:<7} "
        lines = [f"{head}{_cut(_message(record))}{fields}", *_trace(self, record)]
        return "\n".join(map(printable, lines))


def printable(line: str) -> str:
    """`line` with everything that a terminal would obey, or could not show, as an escape."""
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in line
    )


def log_to_stderr(invocation: Invocation, **common: Any) -> None:
    """Send logging of level INFO (-q: WARNING, -v: DEBUG) to stderr, with warnings of Python;
    `common` are fields of every event."""
    chosen = invocation.environ.get("LOGD_LOG_FORMAT")
    as_json = chosen == "json" or (chosen != "console" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(common) if as_json else ConsoleFormatter())
    level = logging.DEBUG if invocation.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING if invocation.quiet else level, handlers=[handler])
    logging.captureWarnings(True)
