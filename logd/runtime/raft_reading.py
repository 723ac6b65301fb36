"""Reading stored entries for people: out of a running store, or out of a folder at rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from logd_wire import decode_batch, iter_headers, read_header
from logd_wire.errors import ConfigError, LogdError
from logd_wire.limits import BATCH_HEADER_BYTES

from logd.model.ids import LogIndex
from logd.runtime.quorum_view import StoredEntry
from logd.runtime.raft_store import LEDGER, LOG_FOLDER, LOG_KEY, entry_in
from logd.storage import Files, Ledger, LogView, RealFiles, join, read_all
from logd.storage.checkpoint import OffsetCheckpoint
from logd.storage.layout import LOG_START, read_layout

_READ_BYTES = 1024 * 1024


def read_view(
    view: LogView, start: LogIndex, *, entries_max: int, bytes_max: int
) -> tuple[StoredEntry, ...]:
    """Durable entries in order, the first being the one that holds `start`.

    At most `entries_max`, and no more once their payloads reach `bytes_max`; empty at the end of
    the log. A `start` below the first entry begins there. Raises LogdError for damage.
    """
    offset = max(start, view.start_offset)
    end = view.durable_end_offset
    found: list[StoredEntry] = []
    size = 0
    while offset < end and len(found) < entries_max and size < bytes_max:
        read = view.read(offset, bytes_max=_READ_BYTES, limit_offset=end)
        for position, header in iter_headers(read.records):
            if len(found) == entries_max or size >= bytes_max:
                break
            if header.next_offset <= offset:
                continue
            stored = _entry_at(read.records, position)
            size += sum(map(len, stored.entry.payloads))
            found.append(stored)
        offset = read.next_offset
    return tuple(found)


def _entry_at(data: bytes, position: int) -> StoredEntry:
    header = read_header(data, position)
    records = decode_batch(data, position)
    return StoredEntry(entry_in(header, records), records[0].timestamp if records else 0)


@dataclass(frozen=True, slots=True)
class LogAtRest:
    """The raft log of a folder. `problem` says where and why reading ended early."""

    first_index: LogIndex
    #: Behind the last entry that was known to be durable; later ones may be torn.
    durable_end: LogIndex
    entries: tuple[StoredEntry, ...]
    problem: str = ""


def read_folder(data_dir: Path, start: LogIndex, *, entries_max: int) -> LogAtRest:
    """Read the raft log of a data directory, without changing a byte.

    The node should be stopped; of a running one the newest entries may be missed. ConfigError: no
    raft log is there.
    """
    root = data_dir.resolve()
    if not (root / LOG_FOLDER).is_dir():
        raise ConfigError(
            f"{data_dir} holds no metadata log", hint="name the data directory of a node"
        )
    files = RealFiles(root)
    segments = sorted(read_layout(files.list_dir(LOG_FOLDER)).segments)
    kept_from = OffsetCheckpoint(files, join(LOG_FOLDER, LOG_START)).offset or 0
    first = LogIndex(max(kept_from, segments[0] if segments else 0))
    durable_end = LogIndex(Ledger.peek(files, LEDGER).get(LOG_KEY, first))
    found: list[StoredEntry] = []
    start = max(start, first)
    for base, following in zip(segments, [*segments[1:], None], strict=True):
        if len(found) == entries_max:
            break
        if following is not None and following <= start:
            continue
        problem = _read_segment(files, base, start, entries_max, found)
        if problem:
            return LogAtRest(first, durable_end, tuple(found), problem)
    return LogAtRest(first, durable_end, tuple(found))


def _read_segment(
    files: Files, base: int, start: LogIndex, entries_max: int, found: list[StoredEntry]
) -> str:
    """Add the entries of one segment to `found`; what is wrong with it, if anything."""
    path = join(LOG_FOLDER, f"{base:020d}.log")
    data = read_all(files, path)
    position = 0
    while position < len(data) and len(found) < entries_max:
        try:
            if len(data) - position < BATCH_HEADER_BYTES:
                return f"{path} ends within an entry, at byte {position}"
            header = read_header(data, position)
            if header.size > len(data) - position:
                return f"{path} ends within an entry, at byte {position}"
            if header.next_offset > start:
                found.append(_entry_at(data, position))
        except LogdError as error:
            return f"{path} is damaged at byte {position}: {error.message}"
        position += header.size
    return ""
