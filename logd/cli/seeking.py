"""Where `logd group seek --to` goes.

    start | end | @TIME       the first record, the end, the first record at or after a time
    +N | -N                   so many records forward or back from what is committed

or the committed offsets of another group, or a file of lines `TOPIC PARTITION OFFSET`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logd.cli.exits import UsageProblem
from logd.cli.times import parse_time_ms

if TYPE_CHECKING:
    from logd_client import TopicPartition

_SHIFT = re.compile(r"[+-]\d{1,18}")
_HELP = "give start, end, @TIME (ms, -1h, 2026-11-01), +N or -N"


def parse_place(text: str) -> dict[str, Any]:
    """Arguments of `alter_group_offsets`. Raises UsageProblem."""
    from logd_client import Offset

    if text in ("start", "beginning"):
        return {"to": Offset.BEGINNING}
    if text == "end":
        return {"to": Offset.END}
    if text.startswith("@"):
        try:
            at_ms = parse_time_ms(text[1:], int(time.time() * 1000))
            return {"to": datetime.fromtimestamp(at_ms / 1000, UTC)}
        except (ValueError, OverflowError, OSError) as error:
            raise UsageProblem(f"--to: {error}") from None
    if _SHIFT.fullmatch(text):
        return {"shift": int(text)}
    raise UsageProblem(f"--to: {text!r} is no place for a group: {_HELP}")


def read_offsets(path: str) -> dict[TopicPartition, int]:
    """Offsets of a file, `TOPIC PARTITION OFFSET` a line. Raises UsageProblem that names the
    line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageProblem(f"--to-file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"--to-file {path} is not text in UTF-8") from None
    return parse_offsets(lines, path)


def parse_offsets(lines: Iterable[str], path: str) -> dict[TopicPartition, int]:
    """The same of lines; empty ones, and those that begin with #, say nothing."""
    from logd_client import TopicPartition

    found: dict[TopicPartition, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            raise UsageProblem(f"{path}, line {number}: write TOPIC PARTITION OFFSET")
        partition = TopicPartition(words[0], int(words[1]))
        if partition in found:
            raise UsageProblem(f"{path}, line {number}: {words[0]} {words[1]} is there twice")
        found[partition] = int(words[2])
    return found
