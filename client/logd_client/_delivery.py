"""Handles on what was sent: light, because there is one for each `send`."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from logd_wire import Receipt
from logd_wire.errors import (
    LogdError,
    TimeoutError,
)

from logd_client._io_thread import wait_event
from logd_client.values import RecordMetadata

if TYPE_CHECKING:
    from logd_client._core.batch import ProducerBatch

logger = logging.getLogger("logd.client.producer")

#: Called once with (error, metadata), one of them None, as confluent-kafka does.
OnDelivery = Callable[[LogdError | None, RecordMetadata | None], object]


def metadata_of(batch: ProducerBatch, index: int, timestamp_ms: int) -> RecordMetadata:
    """Where record `index` of a batch is that has succeeded."""
    base = batch.base_offset
    return RecordMetadata(
        batch.topic,
        batch.partition,
        base + index if base >= 0 else -1,
        timestamp_ms,
        batch.durable,
        batch.replicas,
    )


class DeliveryHandle(Receipt):
    """What both kinds of handles share."""

    __slots__ = ()

    _batch: ProducerBatch

    def done(self) -> bool:
        """Whether the record's fate is known (acks=0: whether it was sent)."""
        return self._batch.done

    @property
    def last_error(self) -> LogdError | None:
        """While the record's fate is not known: what the last try ended in; None: none has failed
        yet."""
        return None if self._batch.done else self._batch.last_error

    def _outcome(self) -> RecordMetadata:
        batch = self._batch
        if batch.error is not None:
            raise batch.error
        return metadata_of(batch, self._index, self._timestamp_ms)


def report(callback: OnDelivery, handle: DeliveryHandle) -> None:
    """Have `callback` called with the outcome of one record, on the I/O thread."""
    index, stamp = handle._index, handle._timestamp_ms

    def done(batch: ProducerBatch) -> None:
        try:
            if batch.error is not None:
                callback(batch.error, None)
            else:
                callback(None, metadata_of(batch, index, stamp))
        except Exception:
            logger.exception("an on_delivery callback failed")

    batch = handle._batch
    batch.add_done_callback(done, batch.queue.topic.accumulator.lock)


class Delivery(DeliveryHandle):
    """A record under way; wait for it with `result`."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """Wait up to `timeout` seconds; return where the record is, or raise why it is not.

        TimeoutError means *outcome unknown*: the record stays under way.
        """
        wait_for_batches([self._batch], timeout)
        return self._outcome()


class AsyncDelivery(DeliveryHandle):
    """A record under way; await it."""

    __slots__ = ()

    def __await__(self) -> Generator[object, None, RecordMetadata]:
        """Return where the record is, or raise why it is not."""
        if not self._batch.done:
            yield from await_batch(self._batch).__await__()
        return self._outcome()


class BulkHandle:
    """Handle of one `send_many`: runs of (batch, first index, count), and the records' times."""

    __slots__ = ("_runs", "_timestamps")

    def __init__(
        self, runs: list[tuple[ProducerBatch, int, int]], timestamps: int | list[int]
    ) -> None:
        self._runs = runs
        self._timestamps = timestamps

    def __len__(self) -> int:
        return sum(count for _, _, count in self._runs)

    def done(self) -> bool:
        """Whether the fate of every record is known."""
        return all(batch.done for batch, _, _ in self._runs)

    @property
    def last_error(self) -> LogdError | None:
        """What the last try ended in, of the first record whose fate is not known; None: none has
        failed yet."""
        return next((batch.last_error for batch, _, _ in self._runs if not batch.done), None)

    def _batches(self) -> list[ProducerBatch]:
        return list(dict.fromkeys(batch for batch, _, _ in self._runs))

    def _outcomes(self) -> list[RecordMetadata]:
        found: list[RecordMetadata] = []
        stamps = self._timestamps
        for batch, first, count in self._runs:
            if batch.error is not None:
                raise batch.error
            for index in range(first, first + count):
                stamp = stamps if isinstance(stamps, int) else stamps[len(found)]
                found.append(metadata_of(batch, index, stamp))
        return found


class BulkDelivery(BulkHandle):
    """Records of one `send_many` under way."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> list[RecordMetadata]:
        """Wait up to `timeout` seconds; return where each record is, in the order given.

        Raises the first failure; TimeoutError means *outcome unknown*.
        """
        wait_for_batches(self._batches(), timeout)
        return self._outcomes()


class AsyncBulkDelivery(BulkHandle):
    """Records of one `send_many` under way; await them."""

    __slots__ = ()

    def __await__(self) -> Generator[object, None, list[RecordMetadata]]:
        for batch in self._batches():
            if not batch.done:
                yield from await_batch(batch).__await__()
        return self._outcomes()


def wait_for_batches(batches: list[ProducerBatch], timeout: float | None) -> None:
    """Wait on this thread until all are done. Raises TimeoutError."""
    pending = [batch for batch in batches if not batch.done]
    if not pending:
        return
    for batch in pending:
        hurry(batch)
    deadline = None if timeout is None else time.monotonic() + timeout
    for batch in pending:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not wait_event(_event_of(batch), left) and not batch.done:
            raise TimeoutError(
                f"outcome unknown: {batch.topic}[{batch.partition}] did not answer within "
                f"{timeout:g} s; the records stay under way",
                hint="wait again with result(), or see delivery_timeout_ms",
            )


def hurry(batch: ProducerBatch) -> None:
    """Somebody waits for `batch`: it does not linger."""
    accumulator = batch.queue.topic.accumulator
    with accumulator.lock:
        accumulator.hurry(batch)


def _event_of(batch: ProducerBatch) -> threading.Event:
    """The event that all threads waiting for `batch` share."""
    lock = batch.queue.topic.accumulator.lock
    with lock:
        event = batch.waiter
        if isinstance(event, threading.Event):
            return event
        event = threading.Event()
        batch.waiter = event
    done = event.set
    batch.add_done_callback(lambda _: done(), lock)
    return event


async def await_batch(batch: ProducerBatch) -> None:
    """Wait on the running loop until `batch` is done; its waiters there share one future."""
    hurry(batch)
    loop = asyncio.get_running_loop()
    lock = batch.queue.topic.accumulator.lock
    with lock:
        waiters = batch.waiter
        if not isinstance(waiters, dict):
            waiters = {}
            batch.waiter = waiters
        future: asyncio.Future[None] | None = waiters.get(loop)
        fresh = future is None
        if future is None:
            future = loop.create_future()
            waiters[loop] = future
    if fresh:
        waiting = future
        batch.add_done_callback(lambda _: _resolve_on(loop, waiting), lock)
    # Shielded: one waiter that is cancelled must not cancel the others.
    await asyncio.shield(future)


def _resolve_on(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, future)
    except RuntimeError:
        # The loop that waited was closed: nobody is left to be told.
        return


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
