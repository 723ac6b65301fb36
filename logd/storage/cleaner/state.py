"""How far a log is clean, and below which offset deletes may be missing from it.

    cleaned    sidecar frame · first dirty offset i64 · earliest delete horizon i64 (-1: none)
               · time of the last pass i64 · forgotten end i64

Replaced atomically after a pass is in place, lowered before the log is cut. Missing or damaged, the
log counts as less clean than it is: then a pass looks at more than it had to. It never counts as
cleaner.

The forgotten end is the other way round, and durable before it is true: before a pass that drops
tombstones is put in place, and before records are copied from a log that lacks some. Where it
cannot be read it is unknown; in a file of before there was one it is the first dirty offset.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from logd.storage.files import Files, join, read_all, write_atomic
from logd.storage.sidecar import decode_sidecar, encode_sidecar

FILE_NAME = "cleaned"
NO_HORIZON = -1
UNKNOWN_END = -1
_MAGIC = b"logd-cl\0"
_STATE = struct.Struct(">qqqq")
#: Without the forgotten end.
_OLD_STATE = struct.Struct(">qqq")


class CleanState(NamedTuple):
    """Below `first_dirty` no key has two records. `horizon_ms`: when a tombstone may go, or -1.
    Tombstones below `forgotten_end` may be gone; `UNKNOWN_END`: nobody can tell which."""

    first_dirty: int = 0
    horizon_ms: int = NO_HORIZON
    cleaned_at_ms: int = 0
    forgotten_end: int = 0


def load_state(files: Files, directory: str, identity: int) -> CleanState:
    """Read the file; see the module's text for a missing and for a bad one."""
    path = join(directory, FILE_NAME)
    try:
        if not files.exists(path):
            return CleanState()
        state = decode_state(read_all(files, path), identity)
    except OSError:
        state = None
    return state or CleanState(forgotten_end=UNKNOWN_END)


def decode_state(data: bytes, identity: int | None = None) -> CleanState | None:
    """Parse the file's bytes; None: damaged, or of another partition than `identity`."""
    payload = decode_sidecar(data, _MAGIC, identity=identity, base_offset=0, covered=0)
    if payload is None:
        return None
    if len(payload) == _OLD_STATE.size:
        state = CleanState(*_OLD_STATE.unpack(payload))
        return state._replace(forgotten_end=state.first_dirty)
    return CleanState(*_STATE.unpack(payload)) if len(payload) == _STATE.size else None


def store_state(files: Files, directory: str, identity: int, state: CleanState) -> None:
    """Write the file, durable on return. Raises OSError; then the one before it stays."""
    data = encode_sidecar(_MAGIC, _STATE.pack(*state), identity=identity, base_offset=0, covered=0)
    write_atomic(files, join(directory, FILE_NAME), data)


def lower_state(
    files: Files, directory: str, identity: int, state: CleanState, end_offset: int
) -> CleanState:
    """The log is about to be cut at `end_offset`: it is not clean beyond. Raises OSError."""
    if state.first_dirty <= end_offset:
        return state
    lowered = state._replace(first_dirty=end_offset)
    store_state(files, directory, identity, lowered)
    return lowered
