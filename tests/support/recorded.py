"""What clients did to a real cluster, and what its nodes have on disk, as the checker wants it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from logd_client import Consumer, LogdError, Producer, RecordMetadata, TopicPartition
from logd_wire import decode_batch, iter_headers

from tests.sim.history import History, Replica, Seen, Send
from tests.support.load import DELIVERY_TIMEOUT_MS, value_of
from tests.support.waits import Waits

#: Between two records of one producer: about 600 a second.
_PAUSE_S = 0.0015


def key_of(place: TopicPartition) -> str:
    """A partition as the history names it."""
    return f"{place.topic}/{place.partition}"


def seen(offset: int, value: bytes | None) -> Seen:
    """A record by the name that its value begins with, and the digest of all its bytes."""
    data = value or b""
    name = data.rpartition(b":")[0].decode(errors="replace")
    return Seen(offset, name, hashlib.sha256(data).hexdigest())


class RecordedLoad:
    """One producer on a thread of its own; every send and its outcome go into the history.

    Nothing that a producer reports as failed is taken for surely not appended: a retry that was
    given up may have been the second one.
    """

    def __init__(
        self,
        history: History,
        lock: threading.Lock,
        address: str,
        places: Sequence[TopicPartition],
        number: int,
        *,
        waits: Waits,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """`lock` is of all that write into the history; `places` are written to in turn, each with
        what it takes in `waits`."""
        self.acknowledged = 0
        self.failed: list[LogdError] = []
        self._history, self._lock = history, lock
        self._places, self._number = places, number
        self._waits, self._pause_s = waits, pause_s
        self._stop = threading.Event()
        self._producer: Producer[bytes, bytes] = Producer(
            address, delivery_timeout_ms=DELIVERY_TIMEOUT_MS, linger_ms=1
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(DELIVERY_TIMEOUT_MS / 1000 + 30)
        assert not self._thread.is_alive(), "the producer hangs"

    def _run(self) -> None:
        with self._producer as producer:
            number = 0
            while not self._stop.wait(self._pause_s):
                place = self._places[number % len(self._places)]
                value = value_of(self._number, number)
                named = seen(-1, value)
                with self._lock:
                    send = self._history.begin_send(
                        f"p{self._number}", key_of(place), named.value, named.digest
                    )
                producer.send(
                    place.topic,
                    value,
                    partition=place.partition,
                    on_delivery=self._ended(send, place, time.monotonic()),
                )
                number += 1

    def _ended(
        self, send: Send, place: TopicPartition, sent_s: float
    ) -> Callable[[LogdError | None, RecordMetadata | None], None]:
        def on_delivery(error: LogdError | None, metadata: RecordMetadata | None) -> None:
            with self._lock:
                if error is not None:
                    self.failed.append(error)
                if metadata is None:
                    self._history.end_send(send, "info", error=str(error))
                else:
                    self._history.end_send(send, "ok", metadata.offset)
                    self.acknowledged += 1
                    self._waits.acknowledged(place, sent_s, time.monotonic())

        return on_delivery


def drain(history: History, address: str, places: list[TopicPartition]) -> dict[str, int]:
    """Read every partition from its start to its end as of now; returns the ends, which consumers
    are told by the high watermark."""
    with Consumer(bootstrap_servers=address) as consumer:
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        for place in places:
            history.drain[key_of(place)] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for place, records in consumer.getmany(timeout=5.0).items():
                history.drain[key_of(place)] += [
                    seen(record.offset, record.value) for record in records
                ]
    return {key_of(place): end for place, end in ends.items()}


def add_replica(
    history: History, partition_dir: Path, key: str, *, node: int, high_watermark: int
) -> None:
    """Read a replica of a node that is stopped, batch by batch, with the codec alone."""
    records: list[Seen] = []
    epochs: dict[int, int] = {}
    for epoch, record in _records(partition_dir):
        epochs.setdefault(epoch, record.offset)
        records.append(record)
    start = records[0].offset if records else high_watermark
    history.replicas.append(Replica(key, node, start, high_watermark, records, epochs))


def _records(partition_dir: Path) -> Iterator[tuple[int, Seen]]:
    """(leader epoch, record) of every segment, in order."""
    for segment in sorted(partition_dir.glob("*.log")):
        data = segment.read_bytes()
        for position, header in iter_headers(data):
            for record in decode_batch(data[position : position + header.size]):
                yield header.leader_epoch, seen(record.offset, record.value)
