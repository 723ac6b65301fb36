"""Every limit of the protocol and the batch format, in one table.

All sizes are bytes. The assertions at the end tie the limits together: a change that breaks a
relation fails at import, not under load.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

#: Header of a record batch, format version 2.
BATCH_HEADER_BYTES: Final = 61

KEY_BYTES_MAX: Final = 64 * KIB
HEADERS_MAX: Final = 100
#: Names and values of all headers of one record together.
HEADER_BYTES_MAX: Final = 64 * KIB
#: Key, value and headers of one record together, without framing.
RECORD_BYTES_MAX: Final = MIB
#: Framing that one record adds at the most: length, deltas, counts and the headers' lengths.
RECORD_FRAMING_BYTES_MAX: Final = 64 + HEADERS_MAX * 10

BATCH_RECORDS_MAX: Final = 100_000
BATCH_BYTES_MAX: Final = 8 * MIB
#: The record area of one batch after decompression. Absolute: honest batches exceed 900:1.
DECOMPRESSED_BYTES_MAX: Final = 64 * MIB
#: One gRPC message, on both ends.
MESSAGE_BYTES_MAX: Final = 16 * MIB

TOPIC_NAME_CHARACTERS_MAX: Final = 249
CLIENT_ID_CHARACTERS_MAX: Final = 255
PARTITIONS_PER_TOPIC_MAX: Final = 10_000
#: Batches of one producer id that are remembered per partition; more may not be in flight.
PRODUCER_WINDOW_BATCHES: Final = 5

assert KEY_BYTES_MAX < RECORD_BYTES_MAX
assert HEADER_BYTES_MAX < RECORD_BYTES_MAX
assert RECORD_BYTES_MAX + RECORD_FRAMING_BYTES_MAX + BATCH_HEADER_BYTES < BATCH_BYTES_MAX
assert BATCH_BYTES_MAX < MESSAGE_BYTES_MAX
assert BATCH_BYTES_MAX <= DECOMPRESSED_BYTES_MAX
