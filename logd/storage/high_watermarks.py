"""What was committed, written down now and then: a node that starts again serves it at once.

    high-watermarks    sidecar frame · {topic id 16 B · partition u32 · offset i64}

The file is replaced as a whole. What it says was so once, and committed records stay: a mark that
is old is low, and no more than that. A file that is missing or does not verify says nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from logd.storage.files import Files, read_all, write_atomic
from logd.storage.ledger import LogKey
from logd.storage.sidecar import decode_sidecar, encode_sidecar

FILE_NAME = "high-watermarks"
_MAGIC = b"logd-hw\0"
_ENTRY = struct.Struct(">16sIq")


def store_high_watermarks(files: Files, marks: Mapping[LogKey, int]) -> None:
    """Write the file, durable on return."""
    payload = b"".join(
        _ENTRY.pack(topic_id, partition, offset) for (topic_id, partition), offset in marks.items()
    )
    data = encode_sidecar(_MAGIC, payload, identity=0, base_offset=0, covered=0)
    write_atomic(files, FILE_NAME, data)


def load_high_watermarks(files: Files) -> dict[LogKey, int]:
    """Return what the file says; nothing when there is none that verifies."""
    try:
        data = read_all(files, FILE_NAME)
    except OSError:
        return {}
    payload = decode_sidecar(data, _MAGIC, identity=0, base_offset=0, covered=0)
    if payload is None or len(payload) % _ENTRY.size:
        return {}
    return {
        (topic_id, partition): offset for topic_id, partition, offset in _ENTRY.iter_unpack(payload)
    }
