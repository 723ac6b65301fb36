"""The cluster image ⇄ the contents of a snapshot: the records that rebuild it, one after the other.

(length u32 · record) ...         records as in the metadata log
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from logd.metadata import ClusterImage, InconsistentLogError, image_records, replay
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record

_LENGTH = struct.Struct(">I")


def encode_image(image: ClusterImage) -> bytes:
    """Return the contents; equal images have equal ones."""
    parts = []
    for record in image_records(image):
        data = encode_metadata_record(record)
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def decode_image(contents: bytes) -> ClusterImage:
    """Return the image. Raises as `decode_metadata_record` and `replay`."""
    return replay(ClusterImage(), [decode_metadata_record(data) for data in _split(contents)])


def _split(contents: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(contents):
        begin = position + _LENGTH.size
        if begin > len(contents):
            raise InconsistentLogError("a snapshot ends inside of a record")
        position = begin + _LENGTH.unpack_from(contents, position)[0]
        if position > len(contents):
            raise InconsistentLogError("a snapshot ends inside of a record")
        yield contents[begin:position]
