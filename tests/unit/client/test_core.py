"""The small machines: batching, metadata by epoch, backoff, sticky partitions, identities."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_client._core.accumulator import Accumulator, BatchingConfig, queue_for
from logd_client._core.backoff import Backoff, RetryBudget
from logd_client._core.batch import with_identity
from logd_client._core.metadata import (
    Leader,
    MetadataCache,
    PartitionState,
    Snapshot,
    TopicState,
)
from logd_client._core.partitioner import next_sticky
from logd_client._core.ports import FreeLock
from logd_client.values import NodeInfo
from logd_wire import (
    BatchBuilder,
    Compression,
    Receipt,
    decode_batch,
    partition_for_key,
    verify_batch,
)
from logd_wire.errors import RecordTooLargeError, UnknownTopicError


def accumulator(*, partitions: int = 1, **config: Any) -> tuple[Accumulator, list[int]]:
    """One topic "t"; the list has one entry for each wake-up."""
    wakes: list[int] = []
    made = Accumulator(
        BatchingConfig(**config), FreeLock(), random.Random(1), lambda: 0.0, lambda: wakes.append(1)
    )
    made.set_partitions("t", partitions, range(partitions))
    return made, wakes


# ---- batching ----------------------------------------------------------------------------------


def test_many_records_wake_the_io_thread_once() -> None:
    made, wakes = accumulator()
    topic = made.topics["t"]
    for _ in range(100):
        made.append(topic, None, 0, None, b"v", ())
    assert len(wakes) == 1
    made.take_work()
    made.append(topic, None, 0, None, b"v", ())
    assert len(wakes) == 1
    queue = topic.queues[0]
    made.close(queue)
    assert len(wakes) == 2


def test_a_record_that_no_batch_takes_leaves_no_trace() -> None:
    made, wakes = accumulator()
    with pytest.raises(RecordTooLargeError):
        made.append(made.topics["t"], None, 0, None, bytes(2**21), ())
    assert (made.used_bytes, wakes, made.topics["t"].queues[0].open) == (0, [], None)
    assert not made.by_age


def test_who_found_a_batch_open_just_before_it_was_closed_comes_too_late() -> None:
    """A `send` takes no lock for the batch that it finds."""
    made, _ = accumulator()
    topic = made.topics["t"]
    batch, _ = made.append(topic, None, 0, None, b"first", ())
    append = batch.append
    made.close(topic.queues[0])
    assert append(0, None, b"second", ()) == -1
    assert batch.count == 1
    assert [record.value for record in decode_batch(batch.encode())] == [b"first"]


def test_values_are_taken_in_by_the_open_batch_of_the_sticky_partition() -> None:
    made, _ = accumulator(partitions=2, batch_bytes=1_000)
    topic = made.topics["t"]
    assert topic.add(b"nothing is open", Receipt, lambda: 0) is None
    first, index = made.append(topic, None, 0, None, b"v", ())
    assert index == 0
    taken = topic.add(b"v", Receipt, lambda: 0)
    assert taken is not None and (taken._batch, taken._index) == (first, 1)
    made.take_work()
    made.close(first.queue)
    assert made.used_bytes == first.charged_bytes >= 2 * 41
    assert topic.add(b"the sticky partition moved on", Receipt, lambda: 0) is None
    # What opened the batch does not matter, if it is that of the sticky partition.
    sticky = topic.sticky
    second, _ = made.append(topic, sticky, 0, b"key", b"v", ())
    made.append(topic, first.queue, 0, b"key", b"another partition", ())
    taken = topic.add(b"v", Receipt, lambda: 0)
    assert taken is not None and (taken._batch, taken._index) == (second, 1)


def test_one_partition_takes_nothing_in_between_two_batches() -> None:
    made, _ = accumulator()
    topic = made.topics["t"]
    made.append(topic, None, 0, None, b"v", ())
    made.close(topic.queues[0])
    assert topic.add(b"v", Receipt, lambda: 0) is None


def test_nothing_is_taken_in_while_there_is_no_room() -> None:
    made, _ = accumulator(buffer_bytes=100)
    topic = made.topics["t"]
    made.append(topic, None, 0, None, bytes(100), ())
    assert topic.add(b"v", Receipt, lambda: 0) is None


def test_records_without_key_fill_a_batch_and_then_move_on() -> None:
    made, _ = accumulator(partitions=4, batch_bytes=1_000)
    topic = made.topics["t"]
    runs: list[int] = []
    for _ in range(200):
        batch, _ = made.append(topic, None, 0, None, bytes(50), ())
        if not runs or runs[-1] != batch.partition:
            runs.append(batch.partition)
    assert 8 <= len(runs) <= 20
    assert len(set(runs)) == 4


@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(200, 900))
def test_values_in_bulk_are_appended_as_one_by_one(values: list[bytes], batch_bytes: int) -> None:
    bulk, _ = accumulator(batch_bytes=batch_bytes)
    single, _ = accumulator(batch_bytes=batch_bytes)
    runs = bulk.append_values(bulk.topics["t"], 7, values)
    places = [single.append(single.topics["t"], None, 7, None, value, ()) for value in values]
    flat = [(batch.order, first + index) for batch, first, count in runs for index in range(count)]
    assert flat == [(batch.order, index) for batch, index in places]
    assert bulk.used_bytes == single.used_bytes
    for mine, theirs in zip(bulk.by_age, single.by_age, strict=True):
        assert mine.builder is None or mine.encode() == theirs.encode()
        assert mine.charged_bytes == theirs.charged_bytes


def test_a_key_decides_unless_a_partition_is_named() -> None:
    made, _ = accumulator(partitions=5)
    topic = made.topics["t"]
    chosen = queue_for(topic, b"order_123", None)
    assert chosen is topic.queues[partition_for_key(b"order_123", 5)]
    assert queue_for(topic, b"", None) is topic.queues[partition_for_key(b"", 5)]
    assert queue_for(topic, None, None) is None
    assert queue_for(topic, b"k", 3) is topic.queues[3]
    assert queue_for(topic, b"k", None, lambda *_: 4) is topic.queues[4]
    assert queue_for(topic, b"k", None, lambda *_: None) is topic.queues[partition_for_key(b"k", 5)]
    with pytest.raises(UnknownTopicError, match="0 to 4"):
        queue_for(topic, None, 5)


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_another_identity_changes_nothing_but_itself(compression: Compression) -> None:
    builder = BatchBuilder(compression)
    for number in range(10):
        builder.append(number, b"k", b"value %d" % number, ())
    first = builder.build(producer_id=5, producer_epoch=0, base_sequence=40)
    changed = with_identity(first, 77, 3, 0)
    header = verify_batch(changed, exact=True)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (77, 3, 0)
    assert decode_batch(changed) == decode_batch(first)
    assert changed == builder.build(producer_id=77, producer_epoch=3, base_sequence=0)


# ---- sticky partitions ---------------------------------------------------------------------------


@given(st.integers(-1, 7), st.lists(st.integers(0, 7), unique=True), st.integers(0, 1000))
def test_the_next_sticky_partition_is_another_one_with_a_leader(
    current: int, available: list[int], seed: int
) -> None:
    chosen = next_sticky(current, available, 8, random.Random(seed))
    assert chosen in (available or range(8))
    if len(available or range(8)) > 1:
        assert chosen != current


def test_sticky_partitions_are_even() -> None:
    rng = random.Random(5)
    current, counts = -1, Counter[int]()
    for _ in range(8_000):
        current = next_sticky(current, range(4), 4, rng)
        counts[current] += 1
    assert all(1_800 < count < 2_200 for count in counts.values())


# ---- backoff ----------------------------------------


@given(st.integers(1, 200), st.integers(0, 100))
def test_backoff_is_jittered_over_the_whole_bound(attempt: int, seed: int) -> None:
    delay = Backoff(20, 1_000).delay_ms(attempt, random.Random(seed))
    assert 1 <= delay <= min(1_000, 20 * 2 ** min(attempt, 30))


def test_backoff_grows_and_spreads() -> None:
    rng = random.Random(1)
    delays = [Backoff(20, 1_000).delay_ms(10, rng) for _ in range(1_000)]
    assert min(delays) < 50
    assert max(delays) > 950
    assert 450 < sum(delays) / len(delays) < 550


def test_the_retry_budget_bounds_retries_to_a_tenth_of_the_successes() -> None:
    budget = RetryBudget(capacity=5, ratio=0.1)
    assert [budget.take() for _ in range(6)] == [True] * 5 + [False]
    for _ in range(19):
        budget.success()
    assert [budget.take(), budget.take()] == [True, False]


# ---- metadata ----------------------------------------


OTHER = b"2" * 16
ID = b"1" * 16


def snapshot(
    *partitions: PartitionState,
    topic_id: bytes = ID,
    index: int = 0,
    controller: tuple[int, int] = (1, 0),
    nodes: tuple[NodeInfo, ...] = (NodeInfo(1, "a:1"), NodeInfo(2, "b:1")),
) -> Snapshot:
    topic = TopicState("t", topic_id, dict(enumerate(partitions)))
    return Snapshot("c", controller[0], nodes, (topic,), index, controller[1])


def hint(  # noqa: PLR0917
    cache: MetadataCache, node: int, epoch: int, address: str, topic_id: bytes = ID, name: str = "t"
) -> bool:
    return cache.apply_hint(name, topic_id, 0, leader_id=node, leader_epoch=epoch, address=address)


def led(cache: MetadataCache) -> Leader:
    leader = cache.leader("t", 0)
    assert leader is not None
    return leader


def test_older_knowledge_never_replaces_newer() -> None:
    cache = MetadataCache()
    cache.update(snapshot(PartitionState(1, 5)))
    cache.update(snapshot(PartitionState(2, 4)))
    assert led(cache).node_id == 1
    cache.update(snapshot(PartitionState(2, 6)))
    assert led(cache).address == "b:1"
    assert not hint(cache, 1, 6, "a:1")
    assert hint(cache, 1, 7, "a:1")
    assert led(cache).epoch == 7
    cache.update(snapshot(PartitionState(2, 6)))
    assert led(cache).node_id == 1


def test_a_topic_made_again_begins_anew() -> None:
    cache = MetadataCache()
    cache.update(snapshot(PartitionState(1, 5), PartitionState(1, 5)))
    cache.update(snapshot(PartitionState(2, 0), topic_id=b"2" * 16))
    leader = cache.leader("t", 0)
    assert leader is not None
    assert (leader.topic_id, leader.epoch, leader.node_id) == (b"2" * 16, 0, 2)
    assert cache.leader("t", 1) is None


def test_a_hint_may_name_a_node_that_is_not_known_yet() -> None:
    cache = MetadataCache()
    cache.update(snapshot(PartitionState(1, 0)))
    assert hint(cache, 9, 1, "new:1")
    assert led(cache).address == "new:1"
    assert not hint(cache, -1, 2, "")
    assert not hint(cache, 1, 2, "a:1", name="other")
    cache.update(snapshot(PartitionState(-1, 2)))
    assert cache.leader("t", 0) is None
    assert cache.available("t") == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 2)), min_size=1, max_size=20))
def test_the_newest_epoch_wins_in_any_order(heard: list[tuple[int, int]]) -> None:
    leaders = dict(heard)
    cache = MetadataCache()
    for epoch, _ in heard:
        cache.update(snapshot(PartitionState(leaders[epoch], epoch)))
    newest = max(leaders)
    leader = cache.leader("t", 0)
    assert leader is not None
    assert (leader.epoch, leader.node_id) == (newest, leaders[newest])
