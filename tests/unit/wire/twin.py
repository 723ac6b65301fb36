"""A naive twin of the codec: slow, byte by byte, and sharing nothing with it but the values.

It builds any batch, honest or not, and reads honest ones; and the strategies of the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from crc32c import crc32c
from hypothesis import strategies as st
from logd_wire import BatchHeader, WireRecord


def bitwise_crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(value: int) -> bytes:
    rest = value * 2 if value >= 0 else -value * 2 - 1
    septets = [rest % 128]
    while rest := rest // 128:
        septets.append(rest % 128)
    return bytes([septet + 128 for septet in septets[:-1]] + septets[-1:])


def nullable(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record_bytes(
    offset_delta: int,
    timestamp_delta: int,
    key: bytes | None = None,
    value: bytes | None = b"",
    headers: tuple[tuple[bytes | None, bytes | None], ...] = (),
    *,
    attributes: int = 0,
) -> bytes:
    body = bytes([attributes]) + varint(timestamp_delta) + varint(offset_delta)
    body += nullable(key) + nullable(value) + varint(len(headers))
    for name, content in headers:
        body += nullable(name) + nullable(content)
    return varint(len(body)) + body


def batch_bytes(area: bytes, **fields: int) -> bytes:
    """A batch around any record area; `fields` replace what would be right for one record."""
    values = {
        "base_offset": 0,
        "batch_length": 49 + len(area),
        "leader_epoch": -1,
        "magic": 2,
        "attributes": 0,
        "last_offset_delta": 0,
        "base_timestamp": 1_700_000_000_000,
        "max_timestamp": 1_700_000_000_000,
        "producer_id": -1,
        "producer_epoch": -1,
        "base_sequence": -1,
        "records_count": 1,
    } | fields
    covered = b"".join(
        struct.pack(">" + form, values[name])
        for name, form in (
            ("attributes", "h"),
            ("last_offset_delta", "i"),
            ("base_timestamp", "q"),
            ("max_timestamp", "q"),
            ("producer_id", "q"),
            ("producer_epoch", "h"),
            ("base_sequence", "i"),
            ("records_count", "i"),
        )
    )
    covered += area
    crc = values.get("crc", crc32c(covered))
    start = struct.pack(
        ">qiib",
        values["base_offset"],
        values["batch_length"],
        values["leader_epoch"],
        values["magic"],
    )
    return start + struct.pack(">I", crc) + covered


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    rest = shift = 0
    while True:
        byte = data[position]
        position += 1
        rest += (byte % 128) * 2**shift
        shift += 7
        if byte < 128:
            return (-(rest + 1) // 2 if rest % 2 else rest // 2), position


def read_area(area: bytes, header: BatchHeader) -> list[WireRecord]:
    """Read an honest record area."""

    position = 0

    def take_varint() -> int:
        nonlocal position
        value, position = read_varint(area, position)
        return value

    def take_bytes() -> bytes | None:
        nonlocal position
        size = take_varint()
        if size < 0:
            return None
        position += size
        return area[position - size : position]

    records = []
    for _ in range(header.records_count):
        take_varint()
        position += 1
        timestamp = header.base_timestamp + take_varint()
        offset = header.base_offset + take_varint()
        key, value = take_bytes(), take_bytes()
        headers = tuple(
            ((take_bytes() or b"").decode(), take_bytes()) for _ in range(take_varint())
        )
        records.append(WireRecord(offset, timestamp, key, value, headers))
    assert position == len(area)
    return records


class Content(NamedTuple):
    """What one record holds, without its place."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


INT64_MAX = 2**63 - 1
TIMESTAMP_MAX = INT64_MAX - 1

_sizes = st.one_of(
    st.integers(0, 70),
    st.sampled_from([62, 63, 64, 127, 128, 4079, 4080, 4081, 4096, 8190, 8191, 8192, 20_000]),
)


@st.composite
def _blobs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """Short bytes, or long ones made of a few."""
    size: int = draw(_sizes)
    if size <= 70:
        return draw(st.binary(min_size=size, max_size=size))  # type: ignore[no-any-return]
    seed: bytes = draw(st.binary(min_size=1, max_size=7))
    return (seed * (size // len(seed) + 1))[:size]


blobs = st.one_of(st.none(), _blobs())
headers = st.lists(
    st.tuples(st.text(max_size=70), st.one_of(st.none(), st.binary(max_size=70))), max_size=4
).map(tuple)
near_now = st.integers(1_700_000_000_000 - 9_000, 1_700_000_000_000 + 9_000)
timestamps = st.one_of(
    near_now,
    near_now,
    st.just(1_700_000_000_000),
    st.integers(-1, TIMESTAMP_MAX),
    st.sampled_from([-1, 0, TIMESTAMP_MAX - 1_024, TIMESTAMP_MAX - 1_023, TIMESTAMP_MAX]),
)
contents = st.builds(
    Content, timestamps, blobs, blobs, st.one_of(st.just(()), st.just(()), headers)
)


#: Producer id, producer epoch, base sequence.
producers = st.tuples(
    st.integers(-1, INT64_MAX), st.integers(-1, 2**15 - 1), st.integers(-1, 2**31 - 1)
)


@st.composite
def placed_records(draw: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[int, list[WireRecord]]:
    """A base offset and records at ascending offsets, with or without gaps."""
    base_offset: int = draw(
        st.one_of(st.integers(0, 100), st.integers(0, INT64_MAX - 100_001), st.just(2**40))
    )
    gaps = draw(st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 5_000)))
    offset = base_offset
    records = []
    for content in draw(st.lists(contents, min_size=1, max_size=8)):
        offset += draw(st.integers(0, gaps))
        records.append(WireRecord(offset, *content))
        offset += 1
    return base_offset, records
