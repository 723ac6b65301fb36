"""Producer state against a naive twin, and its snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import BatchHeader, read_header
from logd_wire.errors import FencedError, OutOfOrderSequenceError

from logd.storage import MemoryFiles
from logd.storage.files import write_plain
from logd.storage.producers import ProducerState, encode_snapshot, load_snapshot
from tests.unit.storage.kit import make_batch

SEQUENCES = 2**31


def header(producer_id: int, epoch: int, sequence: int, count: int = 1) -> BatchHeader:
    return read_header(make_batch(count, size=1, producer=(producer_id, epoch, sequence)))


class Naive:
    """All batches ever, in order; the rules read off the text."""

    def __init__(self) -> None:
        self.batches: dict[int, list[tuple[int, int, int, int]]] = {}

    def judge(self, h: BatchHeader) -> int | str:
        own = self.batches.get(h.producer_id, [])
        if not own:
            return "new"
        epoch = own[-1][0]
        if h.producer_epoch < epoch:
            return "fenced"
        if h.producer_epoch > epoch:
            return "new" if h.base_sequence == 0 else "order"
        window = [batch for batch in own if batch[0] == epoch][-5:]
        for _, first, last, offset in window:
            if (first, last) == (h.base_sequence, h.last_sequence):
                return offset
        follows = (window[-1][2] + 1) % SEQUENCES
        return "new" if h.base_sequence == follows else "order"

    def add(self, h: BatchHeader, offset: int) -> None:
        own = self.batches.setdefault(h.producer_id, [])
        own.append((h.producer_epoch, h.base_sequence, h.last_sequence, offset))


def judge(state: ProducerState, h: BatchHeader) -> int | str:
    try:
        known = state.check(h)
    except FencedError:
        return "fenced"
    except OutOfOrderSequenceError:
        return "order"
    return "new" if known is None else known.base_offset


steps = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 2),
        st.one_of(st.integers(0, 6), st.integers(SEQUENCES - 3, SEQUENCES - 1)),
        st.integers(1, 3),
    ),
    max_size=60,
)


@given(steps=steps, follow=st.lists(st.booleans(), min_size=60, max_size=60))
def test_it_judges_as_the_naive_twin(
    steps: list[tuple[int, int, int, int]], follow: list[bool]
) -> None:
    state, naive, files = ProducerState(100), Naive(), MemoryFiles()
    for number, (producer_id, *drawn, count) in enumerate(steps):
        own = naive.batches.get(producer_id)
        epoch, sequence = drawn
        if follow[number] and own:
            epoch, sequence = own[-1][0], (own[-1][2] + 1) % SEQUENCES
        h = header(producer_id, epoch, sequence, count)
        verdict = naive.judge(h)
        assert judge(state, h) == verdict
        if verdict == "new":
            state.record(h, number * 10, number)
            naive.add(h, number * 10)
        if number % 7 == 3:
            write_plain(files, "s", encode_snapshot(state, 5, number))
            loaded = load_snapshot(files, "s", 5, number, 100)
            assert loaded is not None
            assert loaded.encode() == state.encode()
            state = loaded


def test_sequences_wrap() -> None:
    state = ProducerState(10)
    state.record(header(1, 0, SEQUENCES - 2, 3), 0, 0)
    assert state.check(header(1, 0, 1)) is None
    with pytest.raises(OutOfOrderSequenceError):
        state.check(header(1, 0, 0))


def test_the_cap_applies_to_what_a_snapshot_brings() -> None:
    state = ProducerState(10)
    for producer_id in range(10):
        state.record(header(producer_id, 0, 0), 0, producer_id)
    smaller = ProducerState(3)
    smaller.decode(state.encode())
    assert len(smaller) == 3
    assert judge(smaller, header(9, 0, 0)) == 0
    assert judge(smaller, header(0, 0, 0)) == "new"


def test_a_snapshot_of_something_else_is_not_taken() -> None:
    files = MemoryFiles()
    state = ProducerState(10)
    state.record(header(1, 0, 0), 0, 0)
    write_plain(files, "s", encode_snapshot(state, 5, 100))
    assert load_snapshot(files, "s", 5, 100, 10) is not None
    assert load_snapshot(files, "s", 6, 100, 10) is None
    assert load_snapshot(files, "s", 5, 101, 10) is None
    assert load_snapshot(files, "missing", 5, 100, 10) is None
