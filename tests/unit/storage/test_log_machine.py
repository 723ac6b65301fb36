"""A partition log and its ledger against a list, through crashes at any file operation."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from logd_wire import decode_batch, stamp
from logd_wire.errors import FencedError, OutOfOrderSequenceError, StorageFullError

from logd.storage import Ledger, LogConfig, MemoryFiles, PartitionLog
from tests.unit.storage.kit import (
    CONFIG,
    DIRECTORY,
    Stored,
    append,
    make_batch,
    read_from,
    reopen,
)

T = TypeVar("T")

KEY = (bytes(16), 0)
PRODUCERS = 3


class Crash(BaseException):
    """The process ends here."""


class _Crashed(Exception):
    """The step did not complete; the log was opened again."""


class LogMachine(RuleBasedStateMachine):
    """`self.stored` is what was written and not cut, oldest first, trimmed batches included."""

    def __init__(self) -> None:
        super().__init__()
        self.files = MemoryFiles()
        self.rng = random.Random(0)
        self.stored: list[Stored] = []
        self.sequences: dict[int, int] = {}
        self.durable_end = 0
        self.start = 0
        self.epoch = 0
        self.now_ms = 1_000_000
        self.countdown = -1
        self.lose_power = False
        self.number = 0
        self.maybe: list[Stored] = []
        self.starts_maybe: list[int] = []
        self.known_from = 0

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.log = PartitionLog.create(self.files, DIRECTORY, CONFIG)
        self.log.begin_epoch(self.epoch)
        self.ledger = Ledger.open(self.files, "ledger")
        self.files.before = self._count

    # -- crashing --------------------------------------------------------------------------

    def _count(self, operation: str, path: str) -> None:
        if self.countdown >= 0:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash

    @rule(operations=st.integers(0, 25), lose_power=st.booleans())
    def arm(self, operations: int, lose_power: bool) -> None:
        """Let the process end at one of the file operations to come."""
        self.countdown = operations
        self.lose_power = lose_power

    def _do(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except Crash:
            self._restart(clean=False, lose_power=self.lose_power)
            raise _Crashed from None

    def _restart(self, *, clean: bool, lose_power: bool) -> None:
        self.files.capacity = 1 << 40
        while True:
            if lose_power:
                self.files.crash(self.rng)
            else:
                self.files.kill()
            try:
                self.ledger = Ledger.open(self.files, "ledger")
                ledger_end = self.ledger.ends.get(KEY)
                self.log = reopen(
                    self.files, durable_end=ledger_end, clean=clean, now_ms=self.now_ms
                )
                break
            except Crash:
                clean = False
                lose_power = self.rng.random() < 0.5
        self._compare_after_restart(ledger_end or 0)

    def _compare_after_restart(self, ledger_end: int) -> None:
        view = self.log.view
        assert view.start_offset in (self.start, *self.starts_maybe)
        self.start = view.start_offset
        end = view.written_end_offset
        assert view.durable_end_offset == end
        assert end >= max(self.durable_end, ledger_end, self.start)
        possible = [*self.stored, *self.maybe]
        borders = {0, *(batch.next_offset for batch in possible)}
        assert end in borders or end == self.start, "the log ends at a batch border"
        self.stored = [batch for batch in possible if batch.next_offset <= end]
        self.maybe, self.starts_maybe = [], []
        self.durable_end = end
        self.known_from = max(self.known_from, self.start)
        assert not view.damage
        self.log.begin_epoch(self.epoch) if self.countdown < 0 else self._try_epoch()
        self._derive_sequences()

    def _try_epoch(self) -> None:
        countdown, self.countdown = self.countdown, -1
        self.log.begin_epoch(self.epoch)
        self.countdown = countdown

    def _derive_sequences(self) -> None:
        self.sequences = {}
        for batch in self.stored:
            producer_id, sequence, count = _producer_of(batch)
            if producer_id >= 0:
                self.sequences[producer_id] = sequence + count

    # -- writing ---------------------------------------------------------------------------

    def _append(self, batch: bytes) -> None:
        end = self.log.view.written_end_offset
        data = stamp(batch, end, self.epoch)
        count = int.from_bytes(batch[57:61], "big")
        self.maybe = [Stored(end, end + count, data)]
        try:
            appended = self._do(
                lambda: append(self.log, batch, leader_epoch=self.epoch, now_ms=self.now_ms)
            )
        except _Crashed:
            return
        finally:
            self.maybe = []
        assert (appended.base_offset, appended.next_offset) == (end, end + count)
        assert not appended.duplicate
        self.stored.append(Stored(end, end + count, data))
        producer_id, sequence, count = _producer_of(self.stored[-1])
        if producer_id >= 0:
            self.sequences[producer_id] = sequence + count

    def _next_batch(self, count: int, size: int, producer: int) -> bytes:
        self.number += 1
        known = (-1, -1, -1)
        if producer >= 0:
            known = (producer, 0, self.sequences.get(producer, 0))
        return make_batch(
            count, size=size, fill=self.number, timestamp=self.number * 10, producer=known
        )

    @rule(
        count=st.integers(1, 5),
        size=st.integers(0, 400),
        producer=st.integers(-1, PRODUCERS - 1),
    )
    def append_batch(self, count: int, size: int, producer: int) -> None:
        self.now_ms += 7
        self._append(self._next_batch(count, size, producer))

    @rule(producer=st.integers(0, PRODUCERS - 1), back=st.integers(1, 5))
    def retry(self, producer: int, back: int) -> None:
        own = [b for b in self.stored if _producer_of(b)[0] == producer]
        if len(own) < back or own[-5:][0].base_offset < self.known_from:
            return
        batch = own[-back]
        try:
            appended = self._do(
                lambda: append(self.log, batch.data, leader_epoch=self.epoch, now_ms=self.now_ms)
            )
        except _Crashed:
            return
        assert appended.duplicate
        assert (appended.base_offset, appended.next_offset) == batch[:2]

    @rule(producer=st.integers(0, PRODUCERS - 1), gap=st.sampled_from((-1, 1, 2)))
    def send_out_of_order(self, producer: int, gap: int) -> None:
        own = [b for b in self.stored if _producer_of(b)[0] == producer]
        if not own or own[-1].base_offset < self.known_from:
            return
        sequence = self.sequences[producer] + gap
        if sequence < 0:
            return
        batch = make_batch(5, size=1, producer=(producer, 0, sequence))
        with pytest.raises((OutOfOrderSequenceError, FencedError)):
            append(self.log, batch, leader_epoch=self.epoch, now_ms=self.now_ms)

    @rule(count=st.integers(1, 3), room=st.integers(0, 200))
    def append_to_a_full_disk(self, count: int, room: int) -> None:
        batch = self._next_batch(count, 300, 0)
        files = self.files
        files.capacity = files.capacity - files.free_bytes() + min(room, len(batch) - 1)
        before = self.log.view.written_end_offset
        try:
            self._do_full(batch)
        finally:
            files.capacity = 1 << 40
        if self.log.view.written_end_offset == before and self.countdown < 0:
            self._append(batch)

    def _do_full(self, batch: bytes) -> None:
        try:
            with pytest.raises(StorageFullError):
                self._do(
                    lambda: append(self.log, batch, leader_epoch=self.epoch, now_ms=self.now_ms)
                )
        except _Crashed:
            return

    @rule()
    def sync(self) -> None:
        point = self.log.prepare_sync()
        if point is None:
            return
        try:
            self._do(point.run)
        except _Crashed:
            return
        self.log.complete_sync(point)
        self.durable_end = point.end_offset
        assert self.log.view.durable_end_offset == self.durable_end

    @rule(count=st.integers(1, 5), size=st.integers(0, 400))
    def sync_beside_a_write(self, count: int, size: int) -> None:
        """What is written after a point was taken does not count with it."""
        point = self.log.prepare_sync()
        stored = len(self.stored)
        log = self.log
        self._append(self._next_batch(count, size, -1))
        if point is None or self.log is not log:
            return
        try:
            self._do(point.run)
        except _Crashed:
            return
        self.log.complete_sync(point)
        self.durable_end = max(self.durable_end, point.end_offset)
        assert point.end_offset == (self.stored[stored - 1].next_offset if stored else 0)
        assert self.log.view.durable_end_offset == self.durable_end

    @rule(data=st.data())
    def fail_a_sync(self, data: st.DataObject) -> None:
        """EIO once, then the lie that all is well; the process ends as it must."""
        point = self.log.prepare_sync()
        if point is None or not point.sizes:
            return
        self.files.sync_fails = lambda path: path.endswith(".log")
        try:
            with pytest.raises(OSError) as caught:
                self._do(point.run)
            assert caught.value.errno == errno.EIO
        except _Crashed:
            return
        finally:
            self.files.sync_fails = None
        assert self.log.failed
        self._restart(clean=False, lose_power=data.draw(st.booleans()))

    @rule(also_sync=st.booleans())
    def write_ledger(self, also_sync: bool) -> None:
        try:
            self._do(lambda: self.ledger.append({KEY: self.durable_end}))
            if also_sync:
                self._do(self.ledger.sync)
        except _Crashed:
            return

    @rule()
    def begin_epoch(self) -> None:
        self.epoch += 1
        try:
            self._do(lambda: self.log.begin_epoch(self.epoch))
        except _Crashed:
            return
        assert self.log.end_offset_for_epoch(self.epoch) == (
            self.epoch,
            self.log.view.written_end_offset,
        )

    # -- cutting and deleting --------------------------------------------------------------

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, self.durable_end))
        self._move_start([offset], lambda: self.log.trim(offset))
        if self.start < offset:
            self.start = max(self.start, self.log.view.start_offset)
        self.known_from = max(self.known_from, self.start)

    @rule(retention_bytes=st.integers(0, 6000))
    def expire_by_size(self, retention_bytes: int) -> None:
        self.log.reconfigure(
            LogConfig(
                segment_bytes=CONFIG.segment_bytes,
                index_interval_bytes=CONFIG.index_interval_bytes,
                segment_ms=CONFIG.segment_ms,
                retention_ms=-1,
                retention_bytes=retention_bytes,
                file_delete_delay_ms=0,
            )
        )
        size = self.log.view.size_bytes
        borders = [batch.next_offset for batch in self.stored]
        limit = self.durable_end
        deleted = self._move_start(borders, lambda: self.log.enforce_retention(self.now_ms, limit))
        if deleted is None:
            return
        assert self.log.view.size_bytes == size - sum(segment.size for segment in deleted)
        assert not deleted or self.log.view.size_bytes >= retention_bytes
        self.start = self.log.view.start_offset
        assert self.start <= max(limit, self.start if not deleted else 0)
        self.known_from = max(self.known_from, self.start)

    def _move_start(self, possible: list[int], step: Callable[[], T]) -> T | None:
        self.starts_maybe = [offset for offset in possible if offset > self.start]
        try:
            result = self._do(step)
        except _Crashed:
            return None
        finally:
            self.starts_maybe = []
        return result

    @rule()
    def unlink_deleted(self) -> None:
        self.now_ms += 1
        try:
            self._do(lambda: self.log.unlink_deleted(self.now_ms))
        except _Crashed:
            return

    @rule(milliseconds=st.integers(0, 12_000))
    def roll_by_age(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        try:
            self._do(lambda: self.log.maybe_roll(self.now_ms))
        except _Crashed:
            return

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.log.view.written_end_offset))
        kept = [batch for batch in self.stored if batch.next_offset <= offset]
        end = max(kept[-1].next_offset if kept else 0, self.start)
        self.durable_end = min(self.durable_end, end)
        try:
            self._do(lambda: self.ledger.append({KEY: min(self.durable_end, end)}))
            self._do(self.ledger.sync)
            new_end = self._do(lambda: self.log.truncate(offset))
        except _Crashed:
            return
        assert new_end == self.log.view.written_end_offset == end
        self.stored = [batch for batch in self.stored if batch.next_offset <= new_end]
        self.durable_end = min(self.durable_end, new_end)
        self._derive_sequences()

    # -- restarting ------------------------------------------------------------------------

    @rule(lose_power=st.booleans())
    def restart_cleanly(self, lose_power: bool) -> None:
        try:
            self._do(lambda: self.log.close(clean=True))
            self.durable_end = self.stored[-1].next_offset if self.stored else self.start
            if self.rng.random() < 0.5:
                self._do(lambda: self.ledger.append({KEY: self.durable_end}))
                self._do(self.ledger.sync)
        except _Crashed:
            return
        self._restart(clean=True, lose_power=lose_power)

    @rule(lose_power=st.booleans())
    def restart_by_force(self, lose_power: bool) -> None:
        self._restart(clean=False, lose_power=lose_power)

    # -- reading ---------------------------------------------------------------------------

    @rule(data=st.data(), bytes_max=st.integers(1, 3000))
    def read(self, data: st.DataObject, bytes_max: int) -> None:
        view = self.log.view
        offset = data.draw(st.integers(view.start_offset, view.written_end_offset))
        expected = [batch for batch in self.stored if batch.next_offset > offset]
        try:
            found = self._do(lambda: read_from(view, offset, bytes_max))
        except _Crashed:
            return
        assert found == expected

    @rule(number=st.integers(0, 200))
    def seek_by_time(self, number: int) -> None:
        timestamp = number * 10 + 1
        view = self.log.view
        try:
            found = self._do(lambda: view.offset_for_time(timestamp, view.written_end_offset))
        except _Crashed:
            return
        records = [r for batch in self.stored for r in decode_batch(batch.data)]
        expected = next(
            (
                (r.offset, r.timestamp)
                for r in records
                if r.offset >= view.start_offset and r.timestamp >= timestamp
            ),
            None,
        )
        assert found == expected

    @invariant()
    def ends_agree(self) -> None:
        if not hasattr(self, "log"):
            return
        view = self.log.view
        assert view.start_offset == self.start
        end = max(self.stored[-1].next_offset if self.stored else 0, self.start)
        assert view.written_end_offset == end, (
            view.written_end_offset,
            end,
            self.start,
            self.durable_end,
            self.log.recovery,
        )
        assert view.durable_end_offset >= self.durable_end


def _producer_of(batch: Stored) -> tuple[int, int, int]:
    data = batch.data
    return (
        int.from_bytes(data[43:51], "big", signed=True),
        int.from_bytes(data[53:57], "big", signed=True),
        int.from_bytes(data[57:61], "big"),
    )


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=120, stateful_step_count=40)
