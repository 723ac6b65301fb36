"""What takes a producer's values in, with both codecs."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import Compression, decode_batch
from logd_wire.limits import RECORD_BYTES_MAX

from tests.unit.wire.codecs import both, needs_both

pytestmark = needs_both


@pytest.fixture(params=(0, 1), ids=("pure", "compiled"))
def codec(request: pytest.FixtureRequest) -> SimpleNamespace:
    return both()[request.param]


def receipts_of(codec: SimpleNamespace) -> Any:
    """A class of receipts, as clients have one."""
    return type("Handle", (codec.Receipt,), {"__slots__": ()})


def place(receipt: Any) -> tuple[object, int]:
    return (receipt._batch, receipt._index)


def test_a_value_becomes_a_record_of_now(codec: SimpleNamespace) -> None:
    handle, builder, intake = receipts_of(codec), codec.BatchBuilder(), codec.Intake()
    intake.put(builder, "batch")
    before = time.time_ns() // 1_000_000
    made = [intake.add(value, handle, time.time_ns) for value in (b"", b"one", bytes(5_000))]
    after = time.time_ns() // 1_000_000
    assert [place(each) for each in made] == [("batch", 0), ("batch", 1), ("batch", 2)]
    assert {type(each) for each in made} == {handle}
    records = decode_batch(builder.build())
    assert [each._timestamp_ms for each in made] == [record.timestamp for record in records]
    assert all(before <= record.timestamp <= after for record in records)
    assert [record[2:] for record in records] == [
        (None, value, ()) for value in (b"", b"one", bytes(5_000))
    ]


def test_the_clock_is_the_one_given(codec: SimpleNamespace) -> None:
    handle, builder, intake = receipts_of(codec), codec.BatchBuilder(), codec.Intake()
    intake.put(builder, "batch")
    made = [intake.add(b"v", handle, lambda at=at: at) for at in (1_999_999, 5_000_000, 0)]
    assert [each._timestamp_ms for each in made] == [1, 5, 0]
    assert [record.timestamp for record in decode_batch(builder.build())] == [1, 5, 0]


@given(
    st.lists(
        st.one_of(st.binary(max_size=300), st.none(), st.just("text"), st.just(bytearray(b"b"))),
        max_size=30,
    ),
    st.integers(62, 2_000),
    st.sampled_from((Compression.NONE, Compression.ZSTD)),
)
def test_both_take_the_same_values(
    values: list[object], bytes_max: int, compression: Compression
) -> None:
    taken = []
    for codec in both():
        handle, intake = receipts_of(codec), codec.Intake()
        builder = codec.BatchBuilder(compression, bytes_max)
        intake.put(builder, builder)
        made = [intake.add(value, handle, time.time_ns) for value in values]
        indices = [None if each is None else each._index for each in made]
        content = [record.value for record in decode_batch(builder.build())] if any(made) else []
        taken.append((indices, content, builder.size_estimate if not content else 0))
        assert all(each is None or each._batch is builder for each in made)
    assert taken[0] == taken[1]


def test_what_cannot_be_taken_is_left_to_others(codec: SimpleNamespace) -> None:
    handle, intake = receipts_of(codec), codec.Intake()
    assert intake.add(b"nowhere", handle, time.time_ns) is None
    builder = codec.BatchBuilder()
    intake.put(builder, "batch")
    for value in (None, "text", 5, bytearray(b"b"), bytes(RECORD_BYTES_MAX + 1)):
        assert intake.add(value, handle, time.time_ns) is None
    assert builder.count == 0
    assert intake.add(b"fits", handle, time.time_ns) is not None
    builder.close()
    assert intake.add(b"late", handle, time.time_ns) is None
    following = codec.BatchBuilder()
    intake.put(following, "following")
    assert place(intake.add(b"next", handle, time.time_ns)) == ("following", 0)
    intake.put(None, None)
    assert intake.add(b"nowhere", handle, time.time_ns) is None
    assert (builder.count, following.count) == (1, 1)


def test_threads_lose_nothing_without_a_lock() -> None:
    """The compiled one alone: clients take no lock around it."""
    _, codec = both()
    handle, intake, builder = receipts_of(codec), codec.Intake(), codec.BatchBuilder()
    intake.put(builder, "batch")
    found: list[list[int]] = []

    def send() -> None:
        made = [intake.add(b"v", handle, time.time_ns) for _ in range(5_000)]
        found.append([each._index for each in made])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(index for each in found for index in each) == list(range(20_000))
    assert all(each == sorted(each) for each in found)


def test_a_receipt_is_collected_with_the_error_that_leads_back_to_it(
    codec: SimpleNamespace,
) -> None:
    class Batch:
        error: object = None

    handle, builder, intake, batch = (
        receipts_of(codec),
        codec.BatchBuilder(),
        codec.Intake(),
        Batch(),
    )
    intake.put(builder, batch)
    batch.error = [intake.add(b"v", handle, time.time_ns)]
    gone = weakref.ref(batch)
    intake.put(None, None)
    del batch
    gc.collect()
    assert gone() is None


def test_an_intake_is_collected_with_the_batch_that_leads_back_to_it(
    codec: SimpleNamespace,
) -> None:
    class Batch:
        topic: object = None

    intake, batch = codec.Intake(), Batch()
    intake.put(codec.BatchBuilder(), batch)
    batch.topic = [intake]
    gone = weakref.ref(batch)
    del batch, intake
    gc.collect()
    assert gone() is None


def test_the_compiled_one_takes_nothing_else() -> None:
    pure, speed = both()
    intake = speed.Intake()
    for builder in (pure.BatchBuilder(), object(), 1):
        with pytest.raises(TypeError):
            intake.put(builder, None)
    intake.put(speed.BatchBuilder(), None)
    for receipt in (object, int, 5, None):
        with pytest.raises(TypeError):
            intake.add(b"v", receipt, time.time_ns)
    for call in (intake.put, intake.add):
        with pytest.raises(TypeError):
            call(b"v")
    for clock in (None, lambda: "noon", lambda: 2**80):
        with pytest.raises((TypeError, OverflowError)):
            intake.add(b"v", speed.Receipt, clock)
    with pytest.raises(TypeError):
        speed.Receipt("batch")
    with pytest.raises(AttributeError):
        intake.add(b"v", speed.Receipt, time.time_ns)._index = 5
