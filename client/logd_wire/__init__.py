"""Record batches (format 2) and what goes with them: the bytes that client and node share.

Errors are in `logd_wire.errors`, limits in `logd_wire.limits`.
"""

from __future__ import annotations

from logd_wire._pure_decode import decode_batch, decode_records
from logd_wire._pure_encode import BatchBuilder, encode_batch
from logd_wire.batch import (
    BatchHeader,
    iter_headers,
    read_header,
    stamp,
    stamped_parts,
    verify_batch,
    verify_produced_batch,
)
from logd_wire.compression import Compression
from logd_wire.partitioner import murmur2, partition_for_key
from logd_wire.records import Buffer, Headers, WireRecord

__all__ = [
    "BatchBuilder",
    "BatchHeader",
    "Buffer",
    "Compression",
    "Headers",
    "WireRecord",
    "decode_batch",
    "decode_records",
    "encode_batch",
    "iter_headers",
    "murmur2",
    "partition_for_key",
    "read_header",
    "stamp",
    "stamped_parts",
    "verify_batch",
    "verify_produced_batch",
]
