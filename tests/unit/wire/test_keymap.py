"""The cleaner's map of keys, in both codecs, and the batches that stand for missing ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import decode_batch, empty_batch, iter_keys, verify_batch
from logd_wire.batch import verify_produced_batch
from logd_wire.errors import CorruptBatchError
from logd_wire.limits import BATCH_RECORDS_MAX

from tests.unit.wire.codecs import PURE, both, needs_both

MEMORY = 1 << 20
puts = st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 2**63 - 2)), max_size=60)


@needs_both
@given(puts)
def test_both_remember_the_highest_offset_of_each_key(made: list[tuple[bytes, int]]) -> None:
    maps = [codec.KeyMap(MEMORY) for codec in both()]
    wanted: dict[bytes, int] = {}
    for key, offset in made:
        wanted[key] = max(offset, wanted.get(key, -1))
        assert [found.put(key, offset) for found in maps] == [True, True]
    for found in maps:
        assert len(found) == len(wanted)
        assert all(found.get(key) == offset for key, offset in wanted.items())
        assert found.get(b"a key that nobody draws here") == -1


@needs_both
@pytest.mark.parametrize("number", [0, 1])
def test_a_full_map_says_so_and_still_takes_what_it_knows(number: int) -> None:
    codec: SimpleNamespace = both()[number]
    found = codec.KeyMap(4_800)
    count = 0
    while found.put(b"key-%d" % count, count):
        count += 1
    assert 16 <= count <= 160
    assert len(found) == count
    assert found.get(b"key-%d" % count) == -1
    assert found.put(b"key-0", 10**6)
    assert found.get(b"key-0") == 10**6
    assert all(found.get(b"key-%d" % each) == each for each in range(1, count))


@needs_both
@pytest.mark.parametrize("number", [0, 1])
def test_what_is_no_key_or_offset_is_refused(number: int) -> None:
    codec: SimpleNamespace = both()[number]
    found = codec.KeyMap(MEMORY)
    for key in ("text", bytearray(b"x"), None):
        with pytest.raises(TypeError):
            found.put(key, 1)
        with pytest.raises(TypeError):
            found.get(key)
    for offset in (-1, 2**63 - 1):
        with pytest.raises(ValueError, match="an offset is from"):
            found.put(b"key", offset)
    with pytest.raises(ValueError, match="memory for a few keys"):
        codec.KeyMap(10)
    assert len(found) == 0


def test_the_pure_map_takes_a_first_key_of_any_size() -> None:
    found = PURE.KeyMap(200)
    assert found.put(b"k" * 1000, 1)
    assert not found.put(b"l", 2)


@pytest.mark.parametrize("count", [1, 2, BATCH_RECORDS_MAX])
def test_an_empty_batch_stands_for_its_offsets(count: int) -> None:
    batch = empty_batch(70, 70 + count, 4)
    header = verify_batch(batch, exact=True)
    assert (header.base_offset, header.next_offset, header.leader_epoch) == (70, 70 + count, 4)
    assert (header.records_count, header.producer_id, header.max_timestamp) == (0, -1, -1)
    assert decode_batch(batch) == [] == list(iter_keys(batch))
    with pytest.raises(CorruptBatchError, match="a producer sends one record"):
        verify_produced_batch(batch)
