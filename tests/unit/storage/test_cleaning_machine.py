"""A compacted log against a dictionary: puts, deletes, passes, crashes in them, restarts, trims."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from logd_wire import Compression

from logd.storage import MemoryFiles, PartitionLog
from logd.storage.cleaner import clean
from tests.unit.storage.compaction_kit import (
    COMPACT,
    HOUR_MS,
    Put,
    batch_of,
    install,
    plan_of,
    roll,
    rows,
)
from tests.unit.storage.kit import DIRECTORY, NOW_MS, append, reopen, sync

CONFIG = replace(COMPACT, segment_bytes=400, segment_ms=1 << 50)
KEYS = [b"key-%d" % number for number in range(6)]
PRODUCERS = 2


class Crash(BaseException):
    """The process ends here."""


class Tombstone:
    """A delete: when a pass may first have met it, and when one is known to have."""

    def __init__(self) -> None:
        self.met_ms = 1 << 60
        self.met_for_certain_ms = 1 << 60
        self.may_be_gone = False
        self.must_be_gone = False


class CleaningMachine(RuleBasedStateMachine):
    """`self.history` is everything that was ever put, by offset."""

    def __init__(self) -> None:
        super().__init__()
        self.files = MemoryFiles()
        self.rng = random.Random(0)
        self.history: dict[int, Put] = {}
        self.end = 0
        self.start = 0
        self.now_ms = NOW_MS
        self.sequences = [0] * PRODUCERS
        self.sent: list[list[tuple[int, bytes]]] = [[] for _ in range(PRODUCERS)]
        self.tombstones: dict[int, Tombstone] = {}
        self.number = 0
        self.countdown = -1
        self.epoch = 0

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.log = PartitionLog.create(self.files, DIRECTORY, CONFIG, now_ms=self.now_ms)
        self.log.begin_epoch(0)
        self.files.before = self._count

    def _count(self, operation: str, path: str) -> None:
        if self.countdown >= 0:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash

    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4),
        deletes=st.sampled_from((0.0, 0.3, 1.0)),
        producer=st.integers(-1, PRODUCERS - 1),
        compression=st.sampled_from((Compression.NONE, Compression.NONE, Compression.GZIP)),
    )
    def put(
        self, keys: list[bytes], deletes: float, producer: int, compression: Compression
    ) -> None:
        puts: list[Put] = []
        for key in keys:
            self.number += 1
            value = b"%d " % self.number * self.rng.randrange(1, 12)
            puts.append((key, None if self.rng.random() < deletes else value))
        known = (-1, -1, -1)
        if producer >= 0:
            known = (producer, 0, self.sequences[producer])
        batch = batch_of(puts, timestamp=self.number, producer=known, compression=compression)
        appended = append(self.log, batch, now_ms=self.now_ms, leader_epoch=self.epoch)
        sync(self.log)
        assert appended.base_offset == self.end
        if producer >= 0:
            self.sequences[producer] += len(puts)
            self.sent[producer].append((self.end, batch))
        for each in puts:
            if each[1] is None:
                self.tombstones[self.end] = Tombstone()
            self.history[self.end] = each
            self.end += 1

    @rule()
    def another_leader(self) -> None:
        self.epoch += 1
        self.log.begin_epoch(self.epoch)

    @rule()
    def close_segment(self) -> None:
        roll(self.log)

    @rule(ms=st.sampled_from((1, HOUR_MS // 2, HOUR_MS)))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.log.unlink_deleted(self.now_ms)

    @rule(
        map_bytes=st.sampled_from((120, 400, 1 << 16)),
        crash_at=st.one_of(st.just(-1), st.integers(0, 60)),
        lose_power=st.booleans(),
    )
    def clean(self, map_bytes: int, crash_at: int, lose_power: bool) -> None:
        self.number += 1
        plan = plan_of(self.log, now_ms=self.now_ms, map_bytes=map_bytes, tag=f"p{self.number}")
        if plan is None:
            return
        self._a_pass_begins(plan.end_offset)
        self.countdown = crash_at
        try:
            result = clean(self.files, plan)
            assert install(self.log, result)
        except Crash:
            self._end_process(lose_power=lose_power)
            return
        finally:
            self.countdown = -1
        assert result.mapped_end > plan.first_dirty or plan.first_dirty == plan.end_offset
        self._a_pass_is_in_place(result.mapped_end)

    def _a_pass_begins(self, end_offset: int) -> None:
        for offset, tombstone in self.tombstones.items():
            if offset < end_offset:
                if self.now_ms >= tombstone.met_ms + HOUR_MS:
                    tombstone.may_be_gone = True
                tombstone.met_ms = min(tombstone.met_ms, self.now_ms)

    def _a_pass_is_in_place(self, mapped_end: int) -> None:
        sealed_in_whole = self._whole_batches_below(mapped_end)
        for offset, tombstone in self.tombstones.items():
            if offset < sealed_in_whole:
                if self.now_ms >= tombstone.met_for_certain_ms + HOUR_MS:
                    tombstone.must_be_gone = True
                tombstone.met_for_certain_ms = min(tombstone.met_for_certain_ms, self.now_ms)

    def _whole_batches_below(self, offset: int) -> int:
        """A batch that the map's end cuts through gets its horizon with the next pass."""
        return max(offset - 4, 0)

    @rule(lose_power=st.booleans())
    def crash(self, lose_power: bool) -> None:
        self._end_process(lose_power=lose_power)

    def _end_process(self, *, lose_power: bool) -> None:
        self.countdown = -1
        if lose_power:
            self.files.crash(self.rng)
        else:
            self.files.kill()
        self._open(clean_stop=False)

    @rule()
    def stop_and_start(self) -> None:
        self.log.close(clean=True)
        self.files.kill()
        self._open(clean_stop=True)

    def _open(self, *, clean_stop: bool) -> None:
        self.log = reopen(
            self.files,
            durable_end=self.end,
            clean=clean_stop,
            config=CONFIG,
            now_ms=self.now_ms,
        )
        assert not self.log.view.damage
        assert (self.log.view.start_offset, self.log.view.written_end_offset) == (
            self.start,
            self.end,
        )

    @rule(producer=st.integers(0, PRODUCERS - 1), back=st.integers(1, 5))
    def retry(self, producer: int, back: int) -> None:
        sent = self.sent[producer]
        if len(sent) < back or sent[-back][0] < self.start:
            return
        offset, batch = sent[-back]
        appended = append(self.log, batch, now_ms=self.now_ms, leader_epoch=self.epoch)
        assert appended.duplicate and appended.base_offset == offset

    @rule(share=st.floats(0, 0.5))
    def trim(self, share: float) -> None:
        if self.rng.random() < 0.3:
            self.start += int((self.end - self.start) * share)
            self.log.trim(self.start)
            self.sent = [[] for _ in range(PRODUCERS)]

    @rule(share=st.floats(0, 1))
    def read_from_anywhere(self, share: float) -> None:
        offset = self.start + int((self.end - self.start) * share)
        everything = rows(self.log.view)
        assert rows(self.log.view, offset) == [row for row in everything if row[0] >= offset]

    @invariant()
    def the_log_is_the_dictionary(self) -> None:
        if not hasattr(self, "log"):
            return
        found = rows(self.log.view)
        offsets = [offset for offset, _, _ in found]
        assert offsets == sorted(set(offsets))
        assert all(self.history[offset] == (key, value) for offset, key, value in found)
        last = {
            key: offset for offset, (key, _) in sorted(self.history.items()) if offset >= self.start
        }
        there = set(offsets)
        for offset in last.values():
            tombstone = self.tombstones.get(offset)
            if tombstone is None or not tombstone.may_be_gone:
                assert offset in there, f"the last record of {self.history[offset][0]!r} is gone"
            if tombstone is not None and tombstone.must_be_gone:
                assert offset not in there, f"the delete at {offset} is still there"
        deleted = {key for key, offset in last.items() if self.history[offset][1] is None}
        if deleted:
            state = {}
            for _, key, value in found:
                state[key] = value
            assert not {key for key in deleted if state.get(key) is not None}, "a key came back"

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.files.before = None
            roll(self.log)
            while (plan := plan_of(self.log, now_ms=self.now_ms, tag="last")) is not None:
                assert install(self.log, clean(self.files, plan))
            found = rows(self.log.view)
            values = {key: value for _, key, value in found if value is not None}
            wanted: dict[bytes | None, bytes | None] = {}
            for offset, (key, value) in sorted(self.history.items()):
                if offset >= self.start:
                    wanted[key] = value
            assert values == {key: value for key, value in wanted.items() if value is not None}
            keys = [key for _, key, _ in found]
            assert len(keys) == len(set(keys)), "one record of each key"


TestCleaningMachine = CleaningMachine.TestCase
TestCleaningMachine.settings = settings(max_examples=120, stateful_step_count=40)
