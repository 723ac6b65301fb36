"""The node's application logging on stderr: lines for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from logd.cli.options import Invocation
from logd.cli.times import format_time

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as `extra=`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, event, and the fields passed as `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "ts": format_time(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """`12:00:00.123 INFO    what happened key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        line = f"{moment}.{record.msecs:03.0f} {record.levelname:<7} {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_stderr(invocation: Invocation) -> None:
    """Send logging of level INFO (-q: WARNING, -v: DEBUG) to stderr."""
    chosen = invocation.environ.get("LOGD_LOG_FORMAT")
    as_json = chosen == "json" or (chosen != "console" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else ConsoleFormatter())
    level = logging.DEBUG if invocation.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING if invocation.quiet else level, handlers=[handler])
