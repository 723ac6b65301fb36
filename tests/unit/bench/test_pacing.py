"""Tasks, and the times at which a paced producer sends."""

from __future__ import annotations

from dataclasses import replace

from bench.drivers.worker import STAMP_BYTES, due_times, record_latency, stamped, value_of
from bench.histogram import Histogram
from bench.task import Outcome, Task

TASK = Task(role="produce", address="127.0.0.1:1", topic="t", api="send", size=100)


def test_a_stall_does_not_move_the_times_after_it() -> None:
    """No coordinated omission: what is late keeps the time at which it was due."""
    now_ns, slept = 0, 0

    def clock() -> int:
        return now_ns

    def sleep(seconds: float) -> None:
        nonlocal now_ns, slept
        now_ns += round(seconds * 1e9)
        slept += 1

    times = []
    for due_ns in due_times(replace(TASK, rate=1_000.0, seconds=0.05), clock, sleep):
        assert now_ns >= due_ns
        times.append(due_ns)
        if len(times) == 1:
            now_ns += 30_000_000
    assert times == [number * 1_000_000 for number in range(50)]
    assert slept == 19, "30 records of the stall go out at once"


def test_a_stamped_value_tells_how_late_it_is() -> None:
    latency = Histogram()
    value = stamped(1_000_000, bytes(92))
    record_latency(latency, value, 5_000_000)
    assert len(value) == STAMP_BYTES + 92
    assert latency.max_ns == 4_000_000


def test_slices_are_bounded_by_records_and_by_bytes() -> None:
    assert TASK.slice_records == 1_000
    assert replace(TASK, size=1024).slice_records == 128
    assert replace(TASK, size=1 << 20).slice_records == 1


def test_consumers_share_the_partitions() -> None:
    shares = [replace(TASK, partitions=10, workers=3, number=n).own_partitions for n in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10))


def test_values_have_their_size_and_compress_only_when_asked() -> None:
    assert len(value_of(TASK)) == 100
    packed = value_of(replace(TASK, compression="zstd"))
    assert len(packed) == 100
    assert packed.endswith(bytes(49))


def test_tasks_and_outcomes_survive_json() -> None:
    assert Task.from_json(TASK.to_json()) == TASK
    latency = Histogram()
    latency.record(12_345)
    outcome = Outcome(10, 1_000, 5, 2_000_000_005, 0.5, 12, latency, {"client": "1"})
    back = Outcome.from_json(outcome.to_json())
    assert back.to_json() == outcome.to_json()
    assert back.seconds == 2
