"""The names in a partition directory."""

from __future__ import annotations

from dataclasses import dataclass, field

from logd.storage.files import Entry, join
from logd.storage.segment import LOG_SUFFIX, segment_name

LOG_START = "log-start"
SNAPSHOT_SUFFIX = ".producers"
DELETED_SUFFIX = ".deleted"
#: A copy that has not yet taken the place of a segment.
COPY_SUFFIX = ".copy"
TEMPORARY_SUFFIX = ".tmp"
_DIGITS = 20


@dataclass(slots=True)
class Layout:
    """What a listing shows. Offsets ascending; `segments` maps base offset to size in bytes."""

    segments: dict[int, int] = field(default_factory=dict)
    snapshots: list[int] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def offset_in_name(name: str, suffix: str) -> int | None:
    """Return the offset that a file name stands for, None if it is no such name."""
    digits = name.removesuffix(suffix)
    if digits == name or len(digits) != _DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


def read_layout(entries: list[Entry]) -> Layout:
    """Sort the names of a partition directory; what is not ours is passed over."""
    layout = Layout()
    for entry in entries:
        base = offset_in_name(entry.name, LOG_SUFFIX)
        snapshot = offset_in_name(entry.name, SNAPSHOT_SUFFIX)
        if base is not None:
            layout.segments[base] = entry.size
        elif snapshot is not None:
            layout.snapshots.append(snapshot)
        elif entry.name.endswith(DELETED_SUFFIX):
            layout.deleted.append(entry.name)
        elif entry.name.endswith((COPY_SUFFIX, TEMPORARY_SUFFIX)):
            layout.leftovers.append(entry.name)
    return layout


def snapshot_path(directory: str, offset: int) -> str:
    """Return where the producer state below `offset` is kept."""
    return join(directory, segment_name(offset) + SNAPSHOT_SUFFIX)
