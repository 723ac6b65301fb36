"""murmur2 against the vectors of the Java client's own tests, and a twin in plain arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import murmur2, partition_for_key


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_vectors_of_the_java_client(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected


def _twin(data: bytes) -> int:
    def times(value: int) -> int:
        return value * 0x5BD1E995 % 2**32

    state = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        word = times(sum(data[start + index] << 8 * index for index in range(4)))
        state = times(state) ^ times(word ^ (word >> 24))
    rest = data[whole:]
    if rest:
        state = times(state ^ sum(byte << 8 * index for index, byte in enumerate(rest)))
    state = times(state ^ (state >> 13))
    state ^= state >> 15
    return state - 2**32 if state >= 2**31 else state


@given(st.binary(max_size=600))
def test_murmur2_is_its_twin(data: bytes) -> None:
    assert murmur2(data) == _twin(data)


@given(key=st.binary(max_size=40), partitions=st.integers(1, 10_000))
def test_the_partition_is_the_hash_without_its_sign(key: bytes, partitions: int) -> None:
    expected = murmur2(key) % 2**31 % partitions
    assert partition_for_key(key, partitions) == expected
