"""Load with unique values against real nodes, and the check that nothing acknowledged was lost."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from logd_client import (
    Consumer,
    LogdError,
    Producer,
    Record,
    RecordMetadata,
    TopicPartition,
)

#: Long enough to outlive a restart, short enough to end a test that hangs.
DELIVERY_TIMEOUT_MS = 60_000


def value_of(producer: int, number: int, size: int = 200) -> bytes:
    """A value that names itself and is different in every byte from the others."""
    name = b"%d:%d:" % (producer, number)
    digest = hashlib.sha256(name).hexdigest().encode()
    return (name + digest * (size // len(digest) + 1))[:size]


class Load:
    """One producer on a thread of its own, from `start` to `stop`; keeps what was acknowledged."""

    def __init__(
        self,
        address: str,
        topic: str,
        producer: int,
        *,
        partitions: int = 1,
        delivery_timeout_ms: float = DELIVERY_TIMEOUT_MS,
        linger_ms: float = 1,
        size: int = 200,
    ) -> None:
        self.acknowledged: dict[TopicPartition, dict[int, bytes]] = {}
        self.failed: list[Exception] = []
        self._topic = topic
        self._number = producer
        self._partitions = partitions
        self._size = size
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._producer: Producer[bytes, bytes] = Producer(
            address, delivery_timeout_ms=delivery_timeout_ms, linger_ms=linger_ms
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Send no more, and wait until the fate of all that was sent is known."""
        self._stop.set()
        self._thread.join(DELIVERY_TIMEOUT_MS / 1000 + 30)
        assert not self._thread.is_alive(), "the producer hangs"

    def wait_for(self, more: int, timeout_s: float = 30.0) -> None:
        """Wait until `more` records were acknowledged from now on."""
        target, deadline = self.count + more, time.monotonic() + timeout_s
        while self.count < target:
            assert time.monotonic() < deadline, f"{self.count} acknowledged, {target} expected"
            time.sleep(0.005)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def count(self) -> int:
        with self._lock:
            return sum(map(len, self.acknowledged.values()))

    def _run(self) -> None:
        with self._producer as producer:
            for number in self._numbers():
                value = value_of(self._number, number, self._size)
                producer.send(
                    self._topic,
                    value,
                    partition=number % self._partitions,
                    on_delivery=self._delivered(value),
                )
                if number % 50 == 49:
                    # Bounded load: a pause that lets acknowledgements come in small rounds.
                    self._stop.wait(0.002)

    def _numbers(self) -> Iterator[int]:
        number = 0
        while not self._stop.is_set():
            yield number
            number += 1

    def _delivered(self, value: bytes) -> Callable[[LogdError | None, RecordMetadata | None], None]:
        def on_delivery(error: LogdError | None, metadata: RecordMetadata | None) -> None:
            with self._lock:
                if error is not None:
                    self.failed.append(error)
                elif metadata is not None:
                    place = TopicPartition(metadata.topic, metadata.partition)
                    self.acknowledged.setdefault(place, {})[metadata.offset] = value

        return on_delivery


def read_all(
    address: str, topic: str, partitions: int
) -> dict[TopicPartition, list[Record[bytes, bytes]]]:
    """Every record of the topic, by partition, from the start to the end as of now."""
    places = [TopicPartition(topic, number) for number in range(partitions)]
    found: dict[TopicPartition, list[Record[bytes, bytes]]] = {place: [] for place in places}
    with Consumer(bootstrap_servers=address) as consumer:
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        while any(consumer.position(place) < ends[place] for place in places):
            for place, records in consumer.getmany(timeout=5.0).items():
                found[place] += records
    return found


def find_losses(
    loads: list[Load], found: dict[TopicPartition, list[Record[bytes, bytes]]]
) -> list[str]:
    """Everything that is wrong: lost, misplaced, doubled, out of order."""
    problems: list[str] = []
    for place, records in found.items():
        by_offset = {record.offset: record.value for record in records}
        offsets = [record.offset for record in records]
        if offsets != list(range(offsets[0] if offsets else 0, len(offsets))):
            problems.append(f"{place}: offsets are not in a row")
        twice = [value for value, count in Counter(by_offset.values()).items() if count > 1]
        problems += [f"{place}: {value!r:.40} is there twice" for value in twice]
        problems += _out_of_order(place, records)
        for load in loads:
            for offset, value in load.acknowledged.get(place, {}).items():
                if by_offset.get(offset) != value:
                    problems.append(
                        f"{place}: {value!r:.40} was acknowledged at {offset}, there is"
                        f" {by_offset.get(offset)!r:.40}"
                    )
    return problems


def _out_of_order(place: TopicPartition, records: list[Record[bytes, bytes]]) -> list[str]:
    last: dict[bytes, int] = {}
    problems = []
    for record in records:
        producer, number = (record.value or b"").split(b":", 2)[:2]
        if int(number) <= last.get(producer, -1):
            problems.append(f"{place}: {number!r} of {producer!r} is out of order")
        last[producer] = int(number)
    return problems
