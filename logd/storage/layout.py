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
#: What a pass of the cleaner has written and nobody uses yet.
CLEANED_SUFFIX = ".cleaned"
#: A cleaned file that is about to take the place of segments.
SWAP_SUFFIX = ".swap"
_DIGITS = 20


@dataclass(slots=True)
class Layout:
    """What a listing shows. Offsets ascending; `segments` maps base offset to size in bytes."""

    segments: dict[int, int] = field(default_factory=dict)
    snapshots: list[int] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    #: Base offset to next offset.
    swaps: dict[int, int] = field(default_factory=dict)

    def suffix_of(self, base_offset: int) -> str:
        """What follows the base offset in the name of the file that holds a segment."""
        if base_offset not in self.swaps:
            return LOG_SUFFIX
        return swap_name(base_offset, self.swaps[base_offset])[_DIGITS:]


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
        elif entry.name.endswith((COPY_SUFFIX, TEMPORARY_SUFFIX, CLEANED_SUFFIX)):
            layout.leftovers.append(entry.name)
        elif (swap := _swap_in_name(entry.name)) is not None:
            layout.swaps[swap[0]] = swap[1]
    return layout


def swap_name(base_offset: int, next_offset: int) -> str:
    """Return the name of a cleaned file that stands for the offsets between."""
    return f"{segment_name(base_offset)}-{segment_name(next_offset)}{SWAP_SUFFIX}"


def _swap_in_name(name: str) -> tuple[int, int] | None:
    base, dash, rest = name.partition("-")
    base_offset = offset_in_name(base + SWAP_SUFFIX, SWAP_SUFFIX)
    next_offset = offset_in_name(rest, SWAP_SUFFIX)
    if not dash or base_offset is None or next_offset is None:
        return None
    return base_offset, next_offset


def snapshot_path(directory: str, offset: int) -> str:
    """Return where the producer state below `offset` is kept."""
    return join(directory, segment_name(offset) + SNAPSHOT_SUFFIX)
