"""The synchronous consumer as a member of a group: subscribing, committing, handlers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from logd_wire.errors import ClosedError

from logd_client._consuming import checked
from logd_client._core.fetch_state import News
from logd_client._core.fetcher import Fetcher
from logd_client._grouping import Committable, OnCommit, tell_committed
from logd_client._plain_calls import PlainCalls
from logd_client._running import BatchView, Run, Work, check_handlers
from logd_client.on_error import DeadLetter, OnError, Stop, stop
from logd_client.values import Record, TopicPartition

logger = logging.getLogger("logd.client.consumer")

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
K = TypeVar("K")
V = TypeVar("V")


class Batch(BatchView[K, V]):
    """What `each_batch` is called with."""

    def commit(self) -> None:
        """Commit what is resolved; nothing, when the partition has gone."""
        offsets = self._to_commit()
        if offsets:
            self._life.run(self._engine.commit(offsets), "commit")

    def commit_if_necessary(self) -> None:
        """The same, if `auto_commit_interval_ms` has passed since the last commit."""
        if self._commit_is_due():
            self.commit()


class GroupCalls(PlainCalls, Generic[K_co, V_co]):
    """See the module."""

    def _reader(self) -> Fetcher:
        raise NotImplementedError

    def _wait(
        self, fetcher: Fetcher, only: frozenset[TopicPartition] | None, deadline: float | None
    ) -> bool:
        raise NotImplementedError

    # ---- membership ------------------------------------------------------------------------

    def unsubscribe(self) -> None:
        """Leave the group. What was finished is committed, if that was chosen."""
        group = self._grouping.to_leave()
        if group is not None:
            try:
                self._hand_over()
            finally:
                self._life.run(group.leave(), "leaving the group")
        self._grouping.unsubscribe()

    # ---- commits ---------------------------------------------------------------------------

    def commit(self, offsets: Committable = None) -> None:
        """Store where to go on: behind a record or several, at offsets, or behind everything that
        was returned so far. Nothing new to store is no error, and no call.

        Raises RebalanceError when the partition may be another member's.
        """
        engine = self._life.use()
        wanted = self._grouping.offsets_of(engine, offsets)
        self._life.run(engine.commit(wanted), "commit")

    def commit_async(self, offsets: Committable = None, callback: OnCommit | None = None) -> None:
        """The same without waiting. `callback` is called on the client's I/O thread: it must not
        block. Commits are made in the order of the calls."""
        engine = self._life.use()
        wanted = self._grouping.offsets_of(engine, offsets)
        future = self._life.submit(engine.commit(wanted))
        future.add_done_callback(lambda done: tell_committed(done, wanted, callback))

    def committed(self, partition: TopicPartition) -> int | None:
        """What the group has committed: the next offset to read; None: nothing."""
        tp = checked(partition)
        engine = self._life.use()
        group = self._grouping.group_of(engine, "committed")
        return self._life.run(group.offsets.fetch([tp]), "committed offsets").get(tp)

    # ---- what the application is told ------------------------------------------------------

    def _tell(self) -> None:
        """Call what the application wants to hear of."""
        reading = self._life.use().reading
        while (announcement := reading.next_announcement()) is not None:
            callback = self._grouping.callbacks.of(announcement.news)
            try:
                if callback is not None:
                    callback(list(announcement.partitions))
            finally:
                reading.announced(announcement)

    def _hand_over(self) -> None:
        """Stop reading, and tell the application that what it has is going."""
        group = self._grouping.to_leave()
        if group is None:
            return
        partitions = self._life.run(group.stop_reading(), "leaving the group")
        # Of what it lost before it may not have heard yet.
        self._tell()
        callback = self._grouping.callbacks.of(News.REVOKED)
        if partitions and callback is not None:
            callback(list(partitions))

    # ---- handlers --------------------------------------------------------------------------

    def run(
        self,
        each_record: Callable[[Record[K_co, V_co]], object] | None = None,
        *,
        each_batch: Callable[[Batch[K_co, V_co]], object] | None = None,
        on_error: OnError | None = None,
        max_records: int | None = None,
    ) -> None:
        """Call a handler with what comes, record by record or by batches of one partition, until
        `wakeup`, `close`, or so long as `consumer_timeout_ms` says without one.

        Only what handlers have finished is committed by itself. `on_error` (see
        `logd_client.on_error`; default: stop) says what becomes of a record at which the handler
        raises, or that a deserializer refuses; a partition that waits for another attempt does not
        keep the others waiting.
        """
        check_handlers(each_record, each_batch)
        engine = self._life.use()
        count = self._front.max_poll_records if max_records is None else max_records
        run = Run(engine, on_error or stop(), count, time.monotonic)
        handler = _by_record(each_record) if each_record is not None else each_batch
        assert handler is not None
        try:
            fetcher = self._reader()
            while self._run_once(run, fetcher, handler):
                pass
        except ClosedError:
            if not self._life.closed:
                raise
        finally:
            run.end()

    def _run_once(
        self, run: Run, fetcher: Fetcher, handler: Callable[[Batch[Any, Any]], object]
    ) -> bool:
        """Handle what is there, or wait for something; False: that was all."""
        idle_at = run.idle_at_s(self._front.iteration_seconds)
        while True:
            if fetcher.take_wakeup():
                return False
            self._tell()
            work = run.take()
            if work is not None:
                self._handle(run, work, handler)
                return True
            deadline = run.wait_until_s(idle_at)
            if self._wait(fetcher, None, deadline):
                continue
            if run.is_over(deadline, idle_at):
                return False

    def _handle(self, run: Run, work: Work, handler: Callable[[Batch[Any, Any]], object]) -> None:
        batch: Batch[Any, Any] = Batch(self._life, work.reader, work.records)
        try:
            if work.error is not None:
                raise work.error
            handler(batch)
        except Exception as error:
            if run.is_stale(work):
                logger.info("%s went while its handler failed: %r", work.reader.tp, error)
                return
            failure = run.failed(work, batch, error)
            if isinstance(failure.action, Stop):
                raise
            if isinstance(failure.action, DeadLetter):
                try:
                    self._life.run(run.send_away(failure, error), "dead letter")
                except BaseException:
                    run.put_back(work, batch)
                    raise
                run.sent_away(work, failure)
        except BaseException:
            run.put_back(work, batch)
            raise
        else:
            run.done(work, batch)


def _by_record(
    each_record: Callable[[Record[Any, Any]], object],
) -> Callable[[Batch[Any, Any]], object]:
    def handle(batch: Batch[Any, Any]) -> None:
        for record in batch:
            if not batch.is_running() or batch.is_stale():
                return
            each_record(record)
            batch.resolve(record)

    return handle
