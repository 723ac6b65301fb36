"""Members of groups as applications use them, against a coordinator in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from logd_client import on_error
from logd_client.values import TopicPartition
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import ConfigError, NoOffsetError, RebalanceError

from tests.unit.client.facades import Facades
from tests.unit.client.memory_group import MemoryGroup

SERVERS = "n1:7171"
T0 = TopicPartition("t", 0)
T1 = TopicPartition("t", 1)
DEFAULTS: dict[str, Any] = {
    "bootstrap_servers": SERVERS,
    "group_id": "g",
    "auto_offset_reset": "earliest",
}


@pytest.fixture
def group(logd: Facades) -> MemoryGroup:
    """A coordinator, and a topic `t` of two partitions with 10 records each."""
    for log in logd.cluster.create("t", 2):
        log.append(encode_batch([WireRecord(n, 1_000 + n, b"k", b"%d" % n) for n in range(10)]))
    return MemoryGroup(logd.cluster, interval_ms=20)


def member(logd: Facades, **options: Any) -> Any:
    return logd.Consumer(**{**DEFAULTS, **options})


def test_what_was_returned_last_is_not_finished_at_the_end(
    logd: Facades, group: MemoryGroup
) -> None:
    with logd.Consumer("t", **DEFAULTS) as consumer:
        for count, _ in enumerate(consumer, 1):
            if count == 15:
                break
    assert sum(group.committed.values()) == 14
    with logd.Consumer("t", bootstrap_servers=SERVERS, group_id="g") as again:
        assert len([again.getone(timeout=5) for _ in range(6)]) == 6
        again.commit()
    assert sum(group.committed.values()) == 20


def test_commit_takes_records_offsets_and_nothing(logd: Facades, group: MemoryGroup) -> None:
    consumer = member(logd, enable_auto_commit=False)
    consumer.subscribe(["t"])
    with consumer:
        records = [consumer.getone(T0, timeout=5) for _ in range(5)]
        consumer.commit(records[1])
        assert group.committed[("t", 0)] == 2
        consumer.commit(records[:4])
        assert group.committed[("t", 0)] == 4
        consumer.commit({T1: 7})
        assert group.committed[("t", 1)] == 7
        assert consumer.committed(T1) == 7
        consumer.commit()
        assert group.committed[("t", 0)] == 5
        before = len(group.commits)
        consumer.commit()
        consumer.commit([])
        assert len(group.commits) == before
    assert group.committed == {("t", 0): 5, ("t", 1): 7}


def test_commit_async_tells_the_outcome(logd: Facades, group: MemoryGroup) -> None:
    outcomes: list[Any] = []
    done = threading.Event()
    consumer = member(logd, enable_auto_commit=False)
    consumer.subscribe(["t"])
    with consumer:
        consumer.getone(T0, timeout=5)

        def heard(error: Any, offsets: Any) -> None:
            outcomes.append((error, offsets))
            done.set()

        consumer.commit_async(callback=heard)
        assert done.wait(5)
        done.clear()
        assert outcomes in ([(None, {T0: 1, T1: 0})], [(None, {T0: 1})])
        consumer.commit_async({T0: 99}, heard)
        assert done.wait(5)
    assert "beyond the end" in str(outcomes[1][0])


def test_a_close_ends_a_loop_that_is_still_joining(logd: Facades, group: MemoryGroup) -> None:
    logd.cluster.hung.add(SERVERS)
    consumer = logd.Consumer("t", **DEFAULTS)
    ended: list[str] = []

    def read() -> None:
        ended.extend("record" for _ in consumer)
        ended.append("end")

    reader = threading.Thread(target=read)
    reader.start()
    while not logd.cluster.calls:
        reader.join(0.001)
    consumer.close()
    reader.join(5)
    assert ended == ["end"]
    assert not group.members


def test_a_close_ends_an_async_loop_that_is_still_joining(
    logd: Facades, group: MemoryGroup
) -> None:
    logd.cluster.hung.add(SERVERS)

    async def scenario() -> None:
        consumer = logd.AsyncConsumer("t", **DEFAULTS)

        async def read() -> list[Any]:
            return [record async for record in consumer]

        reader = asyncio.create_task(read())
        while not logd.cluster.calls:
            await asyncio.wait({reader}, timeout=0.001)
        await consumer.close()
        assert await asyncio.wait_for(reader, 5) == []
        given_up = logd.AsyncConsumer("t", **DEFAULTS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(given_up.getone(), 0.05)
        await given_up.close()

    asyncio.run(scenario())
    assert not group.members


def test_an_async_consumer_commits_without_waiting_too(logd: Facades, group: MemoryGroup) -> None:
    async def scenario() -> list[Any]:
        outcomes: asyncio.Queue[Any] = asyncio.Queue()
        consumer = logd.AsyncConsumer("t", **DEFAULTS, enable_auto_commit=False)
        async with consumer:
            await consumer.getone(T0, timeout=5)
            for offsets in ({T0: 1}, {T0: 99}):
                consumer.commit_async(offsets, lambda *outcome: outcomes.put_nowait(outcome))
            return [await asyncio.wait_for(outcomes.get(), 5) for _ in range(2)]

    stored, refused = asyncio.run(scenario())
    assert stored == (None, {T0: 1})
    assert "beyond the end" in str(refused[0])
    assert group.committed == {("t", 0): 1}


def test_a_member_says_its_rack(logd: Facades, group: MemoryGroup) -> None:
    with logd.Consumer("t", **DEFAULTS, client_rack="a") as consumer:
        assert consumer.getone(timeout=5) is not None
    assert group.beats[0].rack == "a"


def test_a_seek_in_on_assign_decides_where_reading_begins(
    logd: Facades, group: MemoryGroup
) -> None:
    group.committed[("t", 0)] = 3
    told: list[Any] = []
    with member(logd, auto_offset_reset="error") as consumer:

        def on_assign(partitions: list[TopicPartition]) -> None:
            told.append(("assign", sorted(partitions), consumer.position(T0)))
            consumer.seek(T1, 8)

        consumer.subscribe(["t"], on_assign=on_assign, on_revoke=lambda _: told.append("revoke"))
        records = [consumer.getone(timeout=5) for _ in range(9)]
    first = {record.partition: record.offset for record in reversed(records)}
    assert first == {0: 3, 1: 8}
    assert told == [("assign", [T0, T1], 3), "revoke"]


def test_a_partition_goes_when_its_reader_comes_back_and_the_others_flow(
    logd: Facades, group: MemoryGroup
) -> None:
    told: list[Any] = []
    consumer = member(logd)
    consumer.subscribe(["t"], on_revoke=lambda gone: told.append(list(gone)))
    with consumer:
        assert consumer.getone(T1, timeout=5).offset == 0
        group.want({"m1": [("t", 0)], "m2": [("t", 1)]})
        assert consumer.getone(T0, timeout=5).offset == 0
        assert _until(lambda: ("t", 1) not in group.member("m1").assigned)
        assert ("t", 1) in group.holds("m1"), "a record of it is in hand still"
        for offset in range(1, 10):
            assert consumer.getone(timeout=5).partition == 0 or offset == 1
        assert _until(lambda: not consumer.getmany(timeout=0.01) and told)
        assert told == [[T1]]
        assert _until(lambda: group.holds("m1") == {("t", 0)})
        assert group.committed[("t", 1)] == 1
        assert consumer.assignment() == {T0}
        with pytest.raises(RebalanceError, match=r"t\[1\] is not assigned"):
            consumer.seek(T1, 0)
        with pytest.raises(RebalanceError, match=r"t\[1\]"):
            consumer.commit({T1: 5})


def test_what_is_lost_is_told_and_cannot_be_committed(logd: Facades, group: MemoryGroup) -> None:
    told: list[Any] = []
    consumer = member(logd)
    consumer.subscribe(["t"], on_assign=lambda _: told.append("assign"), on_lost=told.append)
    with consumer:
        record = consumer.getone(T0, timeout=5)
        group.expel("m1")
        with pytest.raises(RebalanceError):
            consumer.commit(record)
        assert _until(lambda: [beat.member_epoch for beat in group.beats].count(0) == 2)
        again = consumer.getone(T0, timeout=5)
        assert again.offset == 0
        assert told[0] == "assign" and sorted(told[1]) == [T0, T1] and told[2] == "assign"


def test_what_was_lost_is_told_before_it_leaves(logd: Facades, group: MemoryGroup) -> None:
    told: list[Any] = []
    consumer = member(logd)
    consumer.subscribe(["t"], on_revoke=lambda _: told.append("revoke"), on_lost=told.append)
    with consumer:
        assert consumer.getone(timeout=5) is not None
        group.expel("m1")
        assert _until(lambda: [beat.member_epoch for beat in group.beats].count(0) == 2)
        assert told == []
        consumer.unsubscribe()
        assert sorted(told[0]) == [T0, T1]


def test_a_record_of_an_earlier_assignment_cannot_be_committed(
    logd: Facades, group: MemoryGroup
) -> None:
    consumer = member(logd, enable_auto_commit=False)
    consumer.subscribe(["t"])
    with consumer:
        record = consumer.getone(T0, timeout=5)
        # Another member had the partition meanwhile.
        group.committed[("t", 0)] = 8
        group.expel("m1")
        assert _until(lambda: [beat.member_epoch for beat in group.beats].count(0) == 2)
        assert _until(lambda: consumer.getone(T0, timeout=5).offset == 8)
        with pytest.raises(RebalanceError, match=r"t\[0\] at offset 0 is not"):
            consumer.commit(record)
    assert group.committed[("t", 0)] == 8


def test_without_an_offset_and_a_reset_the_first_read_says_so(
    logd: Facades, group: MemoryGroup
) -> None:
    with member(logd, auto_offset_reset="error") as consumer:
        consumer.subscribe(["t"])
        with pytest.raises(NoOffsetError, match="auto_offset_reset"):
            consumer.getone(timeout=5)


def test_partitions_assigned_by_hand_begin_at_what_is_committed(
    logd: Facades, group: MemoryGroup
) -> None:
    group.committed[("t", 0)] = 6
    with member(logd, auto_offset_reset="error") as consumer:
        consumer.assign([T0])
        assert consumer.getone(timeout=5).offset == 6
        assert consumer.getone(timeout=5).offset == 7
        assert consumer.status().state == "assigned"
    assert group.committed[("t", 0)] == 7
    assert group.beats == []


def test_status_says_how_it_stands(logd: Facades, group: MemoryGroup) -> None:
    with member(logd, session_timeout_ms=6_000) as consumer:
        consumer.subscribe(["t"])
        consumer.getone(T0, timeout=5)
        status = consumer.status()
        assert (status.state, status.group_id, status.coordinator) == ("stable", "g", "n1:7171")
        assert 0 < status.session_left_ms <= 6_000
        assert status.partitions[T0].position == 1
        assert status.partitions[T0].lag == 9
        assert consumer.subscription() == {"t"}
        consumer.unsubscribe()
        assert consumer.assignment() == set()
        assert group.members == {}


def test_what_needs_a_group_says_so(logd: Facades) -> None:
    with logd.Consumer(bootstrap_servers=SERVERS) as consumer:
        for call in (
            lambda: consumer.subscribe(["t"]),
            consumer.commit,
            lambda: consumer.committed(T0),
            consumer.unsubscribe,
        ):
            with pytest.raises(ConfigError, match="group_id"):
                call()
    with member(logd) as consumer:
        with pytest.raises(ConfigError, match="neither topics nor a pattern"):
            consumer.subscribe()
        with pytest.raises(ConfigError, match=r"subscribe\(\['t'\]\)"):
            consumer.subscribe("t")


# ---- handlers ----------------------------------------------------------------------------------


def test_a_handler_that_raises_leaves_what_it_resolved(logd: Facades, group: MemoryGroup) -> None:
    def each_batch(batch: Any) -> None:
        for record in batch:
            if record.offset == 4:
                raise RuntimeError("no")
            batch.resolve(record)

    with member(logd) as consumer:
        consumer.subscribe(["t"])
        with pytest.raises(RuntimeError, match="no"):
            consumer.run(each_batch=each_batch)
    assert group.committed in ({("t", 0): 4, ("t", 1): 0}, {("t", 0): 0, ("t", 1): 4})


def test_a_partition_that_fails_does_not_keep_the_others_waiting(
    logd: Facades, group: MemoryGroup
) -> None:
    seen: list[tuple[int, int]] = []

    def handle(record: Any) -> None:
        seen.append((record.partition, record.offset))
        if (record.partition, record.offset) == (0, 5) and seen.count((0, 5)) < 3:
            raise RuntimeError("not yet")

    with member(logd, consumer_timeout_ms=1_000) as consumer:
        consumer.subscribe(["t"])
        consumer.run(handle, on_error=on_error.retry(5, backoff=0.2))
    assert [offset for number, offset in seen if number == 1] == list(range(10))
    assert [offset for number, offset in seen if number == 0] == [
        0,
        1,
        2,
        3,
        4,
        5,
        5,
        *range(5, 10),
    ]
    assert seen.index((1, 9)) < len(seen) - seen[::-1].index((0, 5))
    assert group.committed == {("t", 0): 10, ("t", 1): 10}


def test_skipped_and_dead_records_are_finished(logd: Facades, group: MemoryGroup) -> None:
    (dead,) = logd.cluster.create("t.dead")

    def handle(record: Any) -> None:
        if record.offset == 2:
            raise ValueError("poison")

    with member(logd, consumer_timeout_ms=300) as consumer:
        consumer.subscribe(["t"])
        then = on_error.dead_letter("t.dead")
        consumer.run(handle, on_error=on_error.retry(1, backoff=0.01, then=then))
    assert group.committed == {("t", 0): 10, ("t", 1): 10}
    letters = list(dead.records())
    assert [letter.value for letter in letters] == [b"2", b"2"]
    headers = dict(letters[0].headers)
    assert headers["logd-dlq-reason"] == b"poison"
    assert headers["logd-dlq-exception"] == b"builtins.ValueError"
    assert headers["logd-dlq-attempts"] == b"2"
    assert headers["logd-dlq-topic"] == b"t"
    assert headers["logd-dlq-offset"] == b"2"
    assert b"poison" in (headers["logd-dlq-traceback"] or b"")


def test_what_cannot_be_deserialized_goes_the_way_of_errors(
    logd: Facades, group: MemoryGroup
) -> None:
    seen: list[int] = []

    def number(data: bytes) -> int:
        if data == b"3":
            raise ValueError("three")
        return int(data)

    with member(logd, consumer_timeout_ms=300, value_deserializer=number) as consumer:
        consumer.subscribe(["t"])
        consumer.run(lambda record: seen.append(record.value), on_error=on_error.skip())
    assert sorted(seen) == sorted([n for n in range(10) if n != 3] * 2)
    assert group.committed == {("t", 0): 10, ("t", 1): 10}


def test_a_batch_that_was_left_is_not_finished(logd: Facades, group: MemoryGroup) -> None:
    with member(logd) as consumer:
        consumer.subscribe(["t"])

        def each_batch(batch: Any) -> None:
            assert batch.high_watermark == 10
            assert len(batch) == 10
            for record in batch:
                if not batch.is_running():
                    break
                batch.resolve(record)
                if record.offset == 6:
                    batch.commit()
                    assert group.committed[(batch.topic, batch.partition)] == 7
                    consumer.wakeup()

        consumer.run(each_batch=each_batch)
    assert sorted(group.committed.values()) == [0, 7]


def test_a_batch_is_stale_once_its_partition_goes(logd: Facades, group: MemoryGroup) -> None:
    stale: list[int] = []

    def each_batch(batch: Any) -> None:
        if batch.partition == 1:
            group.want({"m1": [("t", 0)]})
            batch.resolve(4)
            assert _until(batch.is_stale)
            batch.commit()
            stale.append(batch.partition)

    with member(logd, consumer_timeout_ms=500) as consumer:
        consumer.subscribe(["t"])
        consumer.run(each_batch=each_batch)
        assert consumer.assignment() == {T0}
    assert stale == [1]
    assert group.committed == {("t", 0): 10, ("t", 1): 5}


# ---- asyncio -----------------------------------------------------------------------------------


async def test_coroutines_are_awaited(logd: Facades, group: MemoryGroup) -> None:
    logd.cluster.create("t.dead")
    told: list[str] = []
    seen: list[int] = []

    async def on_assign(partitions: list[TopicPartition]) -> None:
        await consumer.seek(T0, 9)
        told.append("assign")

    async def on_revoke(partitions: list[TopicPartition]) -> None:
        await asyncio.sleep(0)
        told.append("revoke")

    async def handle(record: Any) -> None:
        await asyncio.sleep(0)
        if record.offset == 9:
            raise ValueError
        seen.append(record.offset)

    consumer = logd.AsyncConsumer(**DEFAULTS, consumer_timeout_ms=300)
    consumer.subscribe(["t"], on_assign=on_assign, on_revoke=on_revoke)
    async with consumer:
        await consumer.run(handle, on_error=on_error.dead_letter("t.dead"))
        assert await consumer.committed(T0) in (None, 9, 10)
        await consumer.commit()
        assert await consumer.committed(T0) == 10
    assert told == ["assign", "revoke"]
    assert seen == list(range(9))
    assert group.committed == {("t", 0): 10, ("t", 1): 10}


async def test_a_cancelled_run_finishes_nothing_more(logd: Facades, group: MemoryGroup) -> None:
    reached = asyncio.Event()

    async def handle(record: Any) -> None:
        if record.offset == 3:
            reached.set()
            await asyncio.Event().wait()

    consumer = logd.AsyncConsumer(**DEFAULTS)
    consumer.subscribe(["t"])
    async with consumer:
        run = asyncio.create_task(consumer.run(handle))
        await asyncio.wait_for(reached.wait(), 5)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert sorted(group.committed.values()) == [0, 3]


def _until(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether it comes true in time; looked at between naps of the I/O thread's making."""
    news = threading.Event()
    for _ in range(round(seconds * 100)):
        if condition():
            return True
        news.wait(0.01)
    return False
