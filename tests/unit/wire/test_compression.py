"""Compression both ways, and bombs that go off before memory is taken."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import Compression, WireRecord, decode_batch, encode_batch, read_header
from logd_wire.compression import compress, decompress
from logd_wire.errors import (
    CorruptBatchError,
    ErrorCode,
    LogdError,
    RecordTooLargeError,
    UnsupportedCompressionError,
)
from logd_wire.limits import DECOMPRESSED_BYTES_MAX, MIB, RECORD_BYTES_MAX

from tests.unit.wire import twin

HAS_LZ4 = importlib.util.find_spec("lz4") is not None
CODECS = [Compression.GZIP, Compression.ZSTD, *([Compression.LZ4] if HAS_LZ4 else [])]
NOW = 1_700_000_000_000
#: What a bomb may take; the largest chunk and window are 8 MiB each.
BOMB_BYTES_MAX = 32 * MIB


def zstd_frame(blocks: int, *, declared: int | None = None, window: int = 0x50) -> bytes:
    """A frame of blocks that each stand for 128 KiB of zeros in four bytes.

    `declared` is its content size, honest or not; `window` encodes 1 MiB.
    """
    start = b"\x28\xb5\x2f\xfd"
    start += bytes([0, window]) if declared is None else b"\xa0" + declared.to_bytes(4, "little")
    block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (128 * 1024 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return start + block * (blocks - 1) + last


def gzip_zeros(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*parts, packer.compress(bytes(size % MIB)), packer.flush()])


def test_codecs_are_found_by_name() -> None:
    for codec in Compression:
        assert Compression.parse(codec.name.lower()) is codec
        assert Compression.parse(f" {codec.name} ") is codec
    for name in ("", "zstd2", "brotli", "x" * 1000, "4"):
        with pytest.raises(UnsupportedCompressionError, match="choose none, gzip, lz4 or zstd"):
            Compression.parse(name)


@given(st.binary(max_size=2000), st.sampled_from([Compression.NONE, *CODECS]))
def test_what_is_compressed_is_decompressed(area: bytes, codec: Compression) -> None:
    assert decompress(compress(area, codec), codec) == area
    assert decompress(memoryview(compress(area * 3, codec, 1)), codec) == area * 3


def test_lz4_is_there_or_says_what_to_install() -> None:
    """Both sides of an optional library: which one is seen depends on the environment."""
    record = WireRecord(0, NOW, None, b"v" * 1000)
    if HAS_LZ4:
        batch = encode_batch([record], compression=Compression.LZ4)
        assert read_header(batch).compression is Compression.LZ4
        assert decode_batch(batch) == [record]
    else:
        for use in (compress, decompress):
            with pytest.raises(UnsupportedCompressionError, match="pip install lz4"):
                use(b"", Compression.LZ4)


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.ZSTD])
def test_an_honest_batch_of_900_to_1_passes(codec: Compression) -> None:
    records = [WireRecord(index, NOW, None, bytes(RECORD_BYTES_MAX)) for index in range(40)]
    batch = encode_batch(records, compression=codec)
    assert 900 * len(batch) < 40 * RECORD_BYTES_MAX
    assert decode_batch(batch) == records


def test_the_limit_is_exact_and_the_area_may_reach_it() -> None:
    blocks = DECOMPRESSED_BYTES_MAX // (128 * 1024)
    for declared in (None, DECOMPRESSED_BYTES_MAX):
        whole = decompress(zstd_frame(blocks, declared=declared), Compression.ZSTD)
        assert len(whole) == DECOMPRESSED_BYTES_MAX
    assert len(decompress(gzip_zeros(DECOMPRESSED_BYTES_MAX), Compression.GZIP)) == 64 * MIB
    for data, codec in (
        (gzip_zeros(DECOMPRESSED_BYTES_MAX + 1), Compression.GZIP),
        (zstd_frame(blocks + 1), Compression.ZSTD),
        (zstd_frame(blocks + 1, declared=DECOMPRESSED_BYTES_MAX + 1), Compression.ZSTD),
    ):
        with pytest.raises(RecordTooLargeError) as caught:
            decompress(data, codec)
        assert caught.value.code is ErrorCode.DECOMPRESSED_TOO_LARGE


BOMBS: dict[str, tuple[Compression, Callable[[], bytes]]] = {
    "gzip": (Compression.GZIP, lambda: gzip_zeros(200 * MIB)),
    "gzip in two members": (Compression.GZIP, lambda: gzip_zeros(40 * MIB) * 2),
    "gzip with a lying size": (Compression.GZIP, lambda: gzip_zeros(100 * MIB)[:-4] + b"\1\0\0\0"),
    "zstd": (Compression.ZSTD, lambda: zstd_frame(1 << 16)),
    "zstd in two frames": (Compression.ZSTD, lambda: zstd_frame(400) * 2),
    "zstd declared": (Compression.ZSTD, lambda: zstd_frame(1 << 16, declared=2**32 - 1)),
    "zstd declared alone": (Compression.ZSTD, lambda: zstd_frame(1, declared=2**32 - 1)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory(name: str) -> None:
    codec, make = BOMBS[name]
    area = make()
    batch = twin.batch_bytes(area, attributes=codec)
    tracemalloc.start()
    try:
        with pytest.raises(RecordTooLargeError) as caught:
            decode_batch(batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code is ErrorCode.DECOMPRESSED_TOO_LARGE
    assert peak < BOMB_BYTES_MAX


@pytest.mark.parametrize(
    ("declared", "blocks"), [(10, 8), (10, 1000), (60 * MIB, 1), (60 * MIB, 1000), (MIB, 7)]
)
def test_a_lying_content_size_is_corrupt(declared: int, blocks: int) -> None:
    with pytest.raises((CorruptBatchError, RecordTooLargeError)):
        decompress(zstd_frame(blocks, declared=declared), Compression.ZSTD)


_BOMBS_IN_A_PROCESS = """
import resource, sys
from logd_wire import decode_batch
from logd_wire.errors import RecordTooLargeError
from tests.unit.wire.test_compression import BOMBS
from tests.unit.wire import twin
bombs = [twin.batch_bytes(make(), attributes=codec) for codec, make in BOMBS.values()]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in bombs:
    try:
        decode_batch(bomb)
    except RecordTooLargeError:
        continue
    sys.exit("a bomb was let through")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_take_little_memory_of_the_libraries_too() -> None:
    """What zlib and zstd take themselves shows in a process of its own only."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{_BOMBS_IN_A_PROCESS}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) * 1024 < BOMB_BYTES_MAX


def test_a_window_over_8_mib_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedCompressionError, match="level up to 19"):
        decompress(zstd_frame(1, window=0x70), Compression.ZSTD)
    assert len(decompress(zstd_frame(1, window=0x68), Compression.ZSTD)) == 128 * 1024
    with pytest.raises(CorruptBatchError, match="too much memory"):
        decompress(zstd_frame(1) + zstd_frame(1, window=0x70), Compression.ZSTD)


@pytest.mark.parametrize("level", [1, 19, 22])
def test_every_level_of_ours_can_be_read(level: int) -> None:
    area = bytes(range(256)) * 100_000
    assert decompress(compress(area, Compression.ZSTD, level), Compression.ZSTD) == area


def test_streams_in_several_parts_are_read_whole() -> None:
    unsized = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True)
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    parts = [
        zstandard.compress(b"one" * 99),
        unsized.compress(b"two" * 99),
        zstandard.compress(b""),
    ]
    assert decompress(b"".join(parts), Compression.ZSTD) == b"one" * 99 + b"two" * 99
    assert decompress(skipped + parts[0], Compression.ZSTD) == b"one" * 99
    members = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    assert decompress(members, Compression.GZIP) == b"onetwo"
    if HAS_LZ4:
        frames = compress(b"one", Compression.LZ4) + compress(b"two", Compression.LZ4)
        assert decompress(frames, Compression.LZ4) == b"onetwo"


def test_members_without_end_are_refused() -> None:
    with pytest.raises(CorruptBatchError, match="more than 64 members"):
        decompress(gzip.compress(b"") * 100_000, Compression.GZIP)


@pytest.mark.parametrize("codec", CODECS)
def test_what_follows_the_end_is_corrupt(codec: Compression) -> None:
    with pytest.raises(CorruptBatchError):
        decompress(compress(b"area" * 99, codec) + b"rubbish behind", codec)


@pytest.mark.parametrize("codec", CODECS)
def test_cut_anywhere_it_is_no_batch(codec: Compression) -> None:
    records = [WireRecord(index, NOW, None, b"v%d" % index) for index in range(40)]
    area = encode_batch(records)[61:]
    packed = compress(area, codec)
    if codec is Compression.ZSTD:
        packed = zstandard.ZstdCompressor(write_content_size=False).compress(area)
    fields = {"attributes": codec, "last_offset_delta": 39, "records_count": 40}
    assert decode_batch(twin.batch_bytes(packed, **fields)) == records
    for size in range(len(packed)):
        with pytest.raises(CorruptBatchError):
            decode_batch(twin.batch_bytes(packed[:size], **fields))


@given(
    data=st.binary(max_size=200),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 7)), max_size=3),
    codec=st.sampled_from(CODECS),
    honest=st.booleans(),
)
def test_rubbish_is_a_typed_error(
    data: bytes, flips: list[tuple[int, int]], codec: Compression, honest: bool
) -> None:
    packed = bytearray(compress(data, codec) if honest else data)
    for place, bit in flips:
        if packed:
            packed[place % len(packed)] ^= 1 << bit
    try:
        decompress(bytes(packed), codec)
    except LogdError as error:
        assert isinstance(
            error, CorruptBatchError | RecordTooLargeError | UnsupportedCompressionError
        )


@pytest.mark.timeout(20)
@pytest.mark.parametrize("size", [1, 1_000, 128 * 1024, 300_000])
@pytest.mark.parametrize("members", [2, 3, 5])
def test_several_gzip_members_end(members: int, size: int) -> None:
    part = bytes(range(256)) * (size // 256 + 1)
    packed = gzip.compress(part[:size]) * members
    assert decompress(packed, Compression.GZIP) == part[:size] * members
