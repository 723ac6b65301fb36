"""The reading side against a model: whatever happens, each partition hands out its records in
order from where it stands, and no credit is lost or made."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from logd_client._core.fetch_state import FetchConfig, FetchState
from logd_client._core.fetcher import Fetcher
from logd_client._core.metadata import Leader
from logd_client._core.partition_reader import Frame, Reset
from logd_client._core.ports import FreeLock
from logd_client._core.subscriptions import Subscriptions
from logd_client.values import TopicPartition
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import ErrorCode, error_for

WINDOW = 4_000
END = 400
BATCHES = {
    base: encode_batch(
        [WireRecord(base + index, 0, None, b"%d" % (base + index)) for index in range(10)],
        base_offset=base,
    )
    for base in range(0, END, 10)
}
TPS = [TopicPartition("t", number) for number in range(3)]


class FetcherMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.stream = 1
        config = FetchConfig(window_bytes=WINDOW, reset=Reset.EARLIEST)
        self.state = FetchState(config, FreeLock(), lambda: None)
        self.fetcher = Fetcher(self.state, FreeLock())
        self.subscriptions = Subscriptions(
            self.state, random.Random(3), lambda *_: Leader(b"i" * 16, 1, 0, "a:1")
        )
        self.fetcher.assign(TPS)
        #: Where each partition's reader must go on.
        self.expected = dict.fromkeys(TPS, 0)
        self.paused: set[TopicPartition] = set()
        #: The node: subscription -> (partition, next offset), and its credit on this stream.
        self.node: dict[int, tuple[TopicPartition, int]] = {}
        self.credit = WINDOW
        self.on_the_way: list[tuple[int, Frame]] = []
        self.plan()

    # ---- the I/O thread ----------------------------------------------------------------------

    @rule()
    def plan(self) -> None:
        plan = self.subscriptions.plan(self.now)
        for _, number in plan.unsubscribe:
            self.node.pop(number, None)
        for account, size in plan.credit.items():
            if account == f"a:1/{self.stream}":
                self.credit += size
        for wanted in plan.subscribe:
            assert wanted.subscription_id not in self.node
            self.node[wanted.subscription_id] = (TPS[wanted.partition], wanted.offset)
        for reader, generation, reset in plan.lookups:
            assert reset is Reset.EARLIEST
            self.subscriptions.on_position(reader, generation, 0)

    @rule(milliseconds=st.sampled_from([1, 100, 2_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds

    # ---- the node ----------------------------------------------------------------------------

    @rule(batches=st.integers(1, 4), which=st.integers(0, 2))
    def push(self, batches: int, which: int) -> None:
        numbers = sorted(self.node)
        if not numbers or self.credit <= 0:
            return
        number = numbers[which % len(numbers)]
        tp, offset = self.node[number]
        data = b""
        while batches and offset < END:
            base = offset - offset % 10
            data += BATCHES[base]
            offset = base + 10
            batches -= 1
        if data:
            self.credit -= len(data)
            self.node[number] = (tp, offset)
            frame = Frame(data, offset, 0, f"a:1/{self.stream}")
            self.on_the_way.append((number, frame))

    @rule()
    def deliver(self) -> None:
        if self.on_the_way:
            number, frame = self.on_the_way.pop(0)
            self.subscriptions.on_frame(number, frame, END, 0)

    @rule(which=st.integers(0, 2), code=st.sampled_from([ErrorCode.NOT_LEADER, ErrorCode.NETWORK]))
    def end_subscription(self, which: int, code: ErrorCode) -> None:
        numbers = sorted(self.node)
        if numbers:
            number = numbers[which % len(numbers)]
            while any(each == number for each, _ in self.on_the_way):
                self.deliver()
            del self.node[number]
            self.subscriptions.on_error(number, error_for(code, "scripted"), self.now)

    @rule()
    def break_stream(self) -> None:
        self.node.clear()
        self.on_the_way.clear()
        self.credit = WINDOW
        self.stream += 1
        self.subscriptions.on_link_lost("a:1", error_for(ErrorCode.NETWORK, "reset"), self.now)

    # ---- the application -----------------------------------------------------------------------

    @rule(count=st.integers(1, 25))
    def take(self, count: int) -> None:
        found = self.fetcher.take(count)
        assert sum(map(len, found.values())) <= count
        for tp, records in found.items():
            assert tp not in self.paused
            self._check(tp, [record.offset for record in records])

    @rule(count=st.integers(1, 12))
    def take_one_by_one(self, count: int) -> None:
        for _ in range(count):
            record = self.fetcher.take_one()
            if record is None:
                return
            assert record.topic_partition not in self.paused
            assert record.value == b"%d" % record.offset
            self._check(record.topic_partition, [record.offset])

    @rule(which=st.integers(0, 2), offset=st.integers(0, END))
    def seek(self, which: int, offset: int) -> None:
        self.fetcher.seek(TPS[which], offset)
        self.expected[TPS[which]] = offset

    @rule(which=st.integers(0, 2))
    def pause(self, which: int) -> None:
        self.fetcher.pause([TPS[which]])
        self.paused.add(TPS[which])

    @rule(which=st.integers(0, 2))
    def resume(self, which: int) -> None:
        self.fetcher.resume([TPS[which]])
        self.paused.discard(TPS[which])

    def _check(self, tp: TopicPartition, offsets: list[int]) -> None:
        begin = self.expected[tp]
        assert offsets == list(range(begin, begin + len(offsets)))
        self.expected[tp] = begin + len(offsets)

    # ---- what must hold ------------------------------------------------------------------------

    @invariant()
    def positions_are_known(self) -> None:
        for tp in TPS:
            position = self.fetcher.position(tp)
            assert position is None or position == self.expected[tp]

    @invariant()
    def credit_is_conserved(self) -> None:
        account = f"a:1/{self.stream}"
        held = sum(
            len(frame.records)
            for reader in self.state.readers.values()
            for frame in reader.frames
            if frame.account == account
        )
        moving = sum(len(frame.records) for _, frame in self.on_the_way)
        assert self.credit + held + moving + self.state.freed.get(account, 0) == WINDOW

    def teardown(self) -> None:
        """Left alone, every partition is read to its end."""
        for tp in TPS:
            self.resume(tp.partition)
        for _ in range(2_000):
            if all(offset == END for offset in self.expected.values()):
                return
            self.now += 500
            self.plan()
            for which in range(3):
                self.push(2, which)
            self.deliver()
            self.take(25)
        raise AssertionError(f"stuck at {self.expected}")


FetcherMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60)
TestFetcher = FetcherMachine.TestCase
