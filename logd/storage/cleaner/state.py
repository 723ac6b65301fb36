"""How far a log is clean: the offset that every pass so far has looked at.

    cleaned    sidecar frame · first dirty offset i64 · earliest delete horizon i64 (-1: none)
               · time of the last pass i64

Replaced atomically after a pass is in place, lowered before the log is cut. Missing or damaged, or
behind because a power loss took the newest version, the log counts as less clean than it is: then
a pass looks at more than it had to. It never counts as cleaner.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from logd.storage.files import Files, is_no_space, join, read_all, write_atomic
from logd.storage.sidecar import decode_sidecar, encode_sidecar

FILE_NAME = "cleaned"
NO_HORIZON = -1
_MAGIC = b"logd-cl\0"
_STATE = struct.Struct(">qqq")


class CleanState(NamedTuple):
    """Below `first_dirty` no key has two records. `horizon_ms`: when a tombstone may go, or -1."""

    first_dirty: int = 0
    horizon_ms: int = NO_HORIZON
    cleaned_at_ms: int = 0


def load_state(files: Files, directory: str, identity: int) -> CleanState:
    """Read the file; where there is none that verifies, nothing is clean."""
    try:
        data = read_all(files, join(directory, FILE_NAME))
    except OSError:
        return CleanState()
    return decode_state(data, identity) or CleanState()


def decode_state(data: bytes, identity: int | None = None) -> CleanState | None:
    """Parse the file's bytes; None: damaged, or of another partition than `identity`."""
    payload = decode_sidecar(data, _MAGIC, identity=identity, base_offset=0, covered=0)
    if payload is None or len(payload) != _STATE.size:
        return None
    return CleanState(*_STATE.unpack(payload))


def store_state(files: Files, directory: str, identity: int, state: CleanState) -> None:
    """Write the file, durable on return; on a full disk the one before it stays."""
    data = encode_sidecar(_MAGIC, _STATE.pack(*state), identity=identity, base_offset=0, covered=0)
    try:
        write_atomic(files, join(directory, FILE_NAME), data)
    except OSError as error:
        if not is_no_space(error):
            raise


def lower_state(
    files: Files, directory: str, identity: int, state: CleanState, end_offset: int
) -> CleanState:
    """The log is about to be cut at `end_offset`: it is not clean beyond. Raises OSError."""
    if state.first_dirty <= end_offset:
        return state
    lowered = state._replace(first_dirty=end_offset)
    data = encode_sidecar(
        _MAGIC, _STATE.pack(*lowered), identity=identity, base_offset=0, covered=0
    )
    write_atomic(files, join(directory, FILE_NAME), data)
    return lowered
