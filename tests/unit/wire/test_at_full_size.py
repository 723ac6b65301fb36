"""The properties of the codec once more, for `make proof`: many examples, and every single bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from logd_wire import Compression, WireRecord, encode_batch, read_header

from tests.unit.wire import test_codec as codec
from tests.unit.wire import test_compression as compression
from tests.unit.wire import test_hostile as hostile

NOW = 1_700_000_000_000
PROPERTIES: list[Callable[[], None]] = [
    hostile.test_garbage,
    hostile.test_any_header_around_any_area,
    hostile.test_flipped_and_cut_batches_with_a_crc_that_fits,
    hostile.test_records_of_any_numbers,
    codec.test_all_that_is_encoded_is_decoded,
    codec.test_the_bytes_are_those_of_the_twin,
    codec.test_the_builder_makes_the_bytes_of_encode_batch,
    codec.test_the_builder_is_full_exactly_at_its_limit,
    compression.test_what_is_compressed_is_decompressed,
    compression.test_rubbish_is_a_typed_error,
]


@pytest.mark.proof
@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda one: one.__name__)
def test_a_property(property_: Callable[[], None]) -> None:
    property_()


@pytest.mark.proof
@pytest.mark.parametrize("packed_with", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_every_bit_and_every_cut_of_a_batch(
    packed_with: Compression, record_figure: Callable[[str, int | float | str], None]
) -> None:
    """Each bit flipped with a CRC that fits again, each length cut, and each byte replaced."""
    headers: tuple[tuple[str, bytes | None], ...] = (("name", b"content"), ("null", None))
    records = [
        WireRecord(index, NOW + index * 40, b"k" * index, b"value" * index, headers[: index % 3])
        for index in range(20)
    ]
    batch = encode_batch(records, compression=packed_with)
    header, area = read_header(batch), batch[61:]
    inputs = 0
    for place in range(len(area)):
        for flip in range(1, 256):
            damaged = bytearray(area)
            damaged[place] ^= flip
            hostile.tried(hostile.with_area(header, bytes(damaged)))
        hostile.tried(hostile.with_area(header, area[:place]))
        hostile.tried(hostile.with_area(header, area[place:]))
        inputs += 257
    for bit in range(61 * 8):
        damaged = bytearray(batch)
        damaged[bit // 8] ^= 1 << bit % 8
        hostile.tried(bytes(damaged))
        inputs += 1
    record_figure("inputs", inputs)
