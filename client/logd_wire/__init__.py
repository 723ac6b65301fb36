"""Record batches (format 2) and what goes with them: the bytes that client and node share.

Errors are in `logd_wire.errors`, limits in `logd_wire.limits`. `CODEC` says which codec is in use,
`LOGD_CODEC` chooses it: see `logd_wire._codec`.
"""

from __future__ import annotations

from logd_wire._codec import (
    CODEC,
    BatchBuilder,
    Intake,
    KeyMap,
    Receipt,
    decode_batch,
    decode_records,
    decode_rows,
    encode_batch,
    filter_batch,
    iter_keys,
    iter_records,
    murmur2,
    partition_for_key,
)
from logd_wire.batch import (
    BatchHeader,
    empty_batch,
    iter_headers,
    read_header,
    stamp,
    stamped_parts,
    verify_batch,
    verify_produced_batch,
)
from logd_wire.compression import Compression
from logd_wire.records import Buffer, Headers, RecordView, WireRecord

__all__ = [
    "CODEC",
    "BatchBuilder",
    "BatchHeader",
    "Buffer",
    "Compression",
    "Headers",
    "Intake",
    "KeyMap",
    "Receipt",
    "RecordView",
    "WireRecord",
    "decode_batch",
    "decode_records",
    "decode_rows",
    "empty_batch",
    "encode_batch",
    "filter_batch",
    "iter_headers",
    "iter_keys",
    "iter_records",
    "murmur2",
    "partition_for_key",
    "read_header",
    "stamp",
    "stamped_parts",
    "verify_batch",
    "verify_produced_batch",
]
