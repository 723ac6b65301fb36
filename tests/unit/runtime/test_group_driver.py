"""The driver of the groups' machine: what is told when, and what a failed append comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from logd_wire import decode_batch, stamp
from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    GroupNotFoundError,
    LogdError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    NotLeaderError,
    OutcomeUnknownError,
    RebalanceError,
)
from logd_wire.limits import MIB

from logd.groups import (
    Commit,
    CurrentKey,
    CurrentMember,
    FetchOffsets,
    Forgotten,
    Groups,
    GroupSettings,
    Heartbeat,
    HeartbeatReply,
    MemberState,
    OffsetCommitted,
    OffsetKey,
    OffsetToCommit,
    TargetMember,
    Topics,
    TopicView,
)
from logd.model.ids import NodeId, TopicId, TopicPartitionId
from logd.runtime.group_codec import decode_group_record
from logd.runtime.group_driver import GroupDriver, GroupSurroundings
from logd.runtime.group_log import encode_decision
from logd.runtime.outcomes import ProduceOutcome
from logd.runtime.parked_heartbeats import ParkedHeartbeats
from logd.runtime.patterns import compile_pattern
from logd.storage import ReadResult

T = TypeVar("T")

ORDERS = TopicId(b"o" * 16)
TOPICS: Topics = {"orders": TopicView(ORDERS, 2)}
OUTCOME = ProduceOutcome(0, 4, 0, True, 3, 0, False)


class Log:
    """A led partition in memory: appends are committed, or fail, when the test says so."""

    def __init__(self) -> None:
        self.id = TopicPartitionId(TopicId(b"g" * 16), 3)
        self.name = "__consumer_offsets-3"
        self.leader_epoch = 4
        self.led = True
        self.state = SimpleNamespace(leader_id=NodeId(2), leader_epoch=5)
        self.batches: list[bytes] = []
        self.high_watermark = 0
        self.end = 0
        self.pending: list[tuple[int, asyncio.Future[ProduceOutcome]]] = []
        self.refusal: LogdError | None = None
        self.listeners: list[Callable[[], None]] = []

    @property
    def view(self) -> Any:
        return SimpleNamespace(start_offset=0, written_end_offset=self.end, read=self._read)

    def _read(self, offset: int, *, bytes_max: int, limit_offset: int) -> ReadResult:
        assert limit_offset <= self.high_watermark, "what is not committed is not read"
        return ReadResult(b"".join(self.batches), limit_offset)

    def leads(self, leader_epoch: int) -> bool:
        return self.led and leader_epoch == self.leader_epoch

    def append(
        self, records: bytes, *, leader_epoch: int, acks: int
    ) -> asyncio.Future[ProduceOutcome]:
        assert (leader_epoch, acks) == (4, -1)
        if self.refusal is not None:
            raise self.refusal
        batch = stamp(records, self.end, leader_epoch)
        self.batches.append(batch)
        self.end += int.from_bytes(records[57:61], "big")
        future: asyncio.Future[ProduceOutcome] = asyncio.get_running_loop().create_future()
        self.pending.append((self.end, future))
        return future

    def listen(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        self.listeners.remove(listener)

    def tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def commit(self) -> None:
        """Everything that was appended is committed."""
        self.high_watermark = self.end
        for _, future in self.pending:
            future.set_result(OUTCOME)
        self.pending.clear()
        self.tell()

    def fail(self, error: LogdError | None = None) -> None:
        """What was appended is not acknowledged; it may stay."""
        for _, future in self.pending:
            future.set_exception(error or OutcomeUnknownError("who knows"))
        self.pending.clear()
        self.tell()


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.now_ms


class InlineDisk:
    async def read(self, work: Callable[[], T]) -> T:
        return work()


class Bench:
    def __init__(self) -> None:
        self.log = Log()
        self.clock = Clock()
        self.serving = True
        self.made = 0
        clock: Any = self.clock
        disk: Any = InlineDisk()
        log: Any = self.log
        self.driver = GroupDriver(
            log,
            GroupSurroundings(
                new_machine=self._new_machine,
                topics=lambda: TOPICS,
                serving=lambda: self.serving,
                disk=disk,
                clock=clock,
            ),
        )
        self.life = asyncio.ensure_future(self.driver.run())

    def _new_machine(self) -> Groups:
        self.made += 1
        return Groups(GroupSettings(), new_pattern=compile_pattern)

    async def loaded(self) -> None:
        await turns()
        assert self.driver.machine is not None

    def later(self) -> None:
        """Enough time passes for what failed to be tried again."""
        self.clock.now_ms += 1_000

    def beat(self, member: str = "m", epoch: int = 0, wait_ms: int = 0) -> Asked[HeartbeatReply]:
        said = Heartbeat("g", member, epoch, topics=("orders",), session_timeout_ms=6_000)
        return Asked(self.driver.heartbeat(said, wait_ms))

    def commit(self, offset: int, member: str = "", epoch: int = -1) -> Asked[Any]:
        request = Commit("g", member, epoch, (OffsetToCommit(ORDERS, 0, offset),))
        return Asked(self.driver.decide(lambda groups, _now, wall: groups.commit(request, wall)))

    def offsets(self) -> Asked[list[int]]:
        return Asked(
            self.driver.read(
                lambda groups: [each.offset for each in groups.fetch_offsets(FetchOffsets("g"))]
            )
        )


class Asked(asyncio.Future[T]):
    """A call under way."""

    def __init__(self, work: Awaitable[T]) -> None:
        super().__init__()
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Future[T]) -> None:
        error = task.exception()
        if error is None:
            self.set_result(task.result())
        else:
            self.set_exception(error)


async def turns(count: int = 30) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_replies_refusals_and_reads_wait_until_what_they_stand_on_is_committed() -> None:
    bench = Bench()
    await bench.loaded()
    joined = bench.beat()
    await turns()
    stranger, read = bench.beat("stranger", epoch=9), bench.offsets()
    again = bench.beat(epoch=1)
    await turns()
    assert not (joined.done() or stranger.done() or read.done() or again.done())
    bench.log.commit()
    assert (await joined).member_epoch == (await again).member_epoch == 1
    assert await read == []
    with pytest.raises(RebalanceError):
        await stranger


async def test_nothing_is_loaded_before_all_of_the_log_is_committed() -> None:
    bench = Bench()
    await bench.loaded()
    first = bench.commit(5)
    await turns()
    other = Bench()
    other.log.batches, other.log.end = bench.log.batches, bench.log.end
    await turns()
    with pytest.raises(CoordinatorLoadingError, match="it reads its log"):
        await other.offsets()
    other.log.high_watermark = other.log.end
    other.log.tell()
    await other.loaded()
    assert await other.offsets() == [5]
    bench.log.commit()
    await first


async def test_after_a_failed_append_the_log_decides() -> None:
    bench = Bench()
    await bench.loaded()
    bench.later()
    lost = bench.commit(6)
    await turns()
    bench.log.fail()
    with pytest.raises(CoordinatorLoadingError) as caught:
        await lost
    assert caught.value.retriable
    await turns()
    with pytest.raises(CoordinatorLoadingError):
        await bench.offsets()
    # It stayed in the log, and is committed after all.
    bench.log.high_watermark = bench.log.end
    bench.log.tell()
    await bench.loaded()
    assert await bench.offsets() == [6]


async def test_what_fails_again_and_again_is_not_loaded_again_and_again() -> None:
    bench = Bench()
    await bench.loaded()
    for _ in range(3):
        failed = bench.commit(6)
        await turns()
        bench.log.fail()
        bench.log.commit()
        with pytest.raises(CoordinatorLoadingError):
            await failed
    await turns()
    assert bench.made == 1


async def test_what_is_refused_before_it_is_appended_leaves_no_trace() -> None:
    bench = Bench()
    await bench.loaded()
    bench.later()
    bench.log.refusal = NotEnoughReplicasError("one of two")
    with pytest.raises(NotEnoughReplicasError):
        await bench.beat()
    bench.log.refusal = None
    await bench.loaded()
    assert bench.made == 2
    bench.clock.now_ms += 10_000
    bench.driver.tick(bench.clock.now_ms)
    joined = bench.beat()
    await turns()
    bench.log.commit()
    assert (await joined).member_epoch == 1


async def test_a_tick_that_cannot_append_is_made_up_for() -> None:
    bench = Bench()
    await bench.loaded()
    joined = bench.beat()
    await turns()
    bench.log.commit()
    await joined
    bench.clock.now_ms += 6_001
    bench.log.refusal = NotEnoughReplicasError("one of two")
    bench.driver.tick(bench.clock.now_ms)
    bench.log.refusal = None
    assert bench.driver.machine is None, "what it decided may be in the log in part"
    await bench.loaded()
    bench.clock.now_ms += 6_001
    bench.driver.tick(bench.clock.now_ms)
    assert bench.log.pending, "the member is removed"
    bench.log.commit()
    with pytest.raises(RebalanceError) as caught:
        await bench.beat(epoch=1)
    assert caught.value.code is ErrorCode.UNKNOWN_MEMBER


def test_a_decision_that_no_batch_holds_is_several() -> None:
    records = [
        OffsetCommitted("g" * 200, ORDERS, number, 1, -1, "x" * 4_000, 0, "orders")
        for number in range(3_000)
    ]
    batches = list(encode_decision(records, 0))
    assert len(batches) > 1 and all(len(batch) < 8 * MIB for batch in batches)
    found = [
        decode_group_record(record.key, record.value)
        for batch in batches
        for record in decode_batch(batch)
    ]
    assert found == records


async def test_a_leadership_that_ends_is_told_with_the_one_that_follows() -> None:
    bench = Bench()
    await bench.loaded()
    waiting = bench.commit(5)
    await turns()
    bench.log.led = False
    bench.log.fail()
    for asked in (waiting, bench.offsets()):
        with pytest.raises(NotCoordinatorError) as caught:
            await asked
        assert (caught.value.leader_id, caught.value.leader_epoch) == (2, 5)
    await asyncio.wait_for(bench.life, 1)
    assert bench.driver.machine is None and not bench.log.listeners


async def test_an_append_that_finds_another_leader_says_so() -> None:
    bench = Bench()
    await bench.loaded()
    bench.log.refusal = NotLeaderError("moved")
    with pytest.raises(NotCoordinatorError):
        await bench.commit(5)


async def test_a_node_out_of_service_answers_nothing_and_begins_anew() -> None:
    bench = Bench()
    await bench.loaded()
    joined = bench.beat()
    await turns()
    bench.log.commit()
    await joined
    bench.serving = False
    for asked in (bench.beat(epoch=1), bench.offsets()):
        with pytest.raises(CoordinatorLoadingError, match="out of service"):
            await asked
    bench.later()
    bench.driver.tick(bench.clock.now_ms)
    await turns()
    assert bench.driver.machine is None
    bench.clock.now_ms += 60_000
    bench.serving = True
    bench.driver.tick(bench.clock.now_ms)
    await bench.loaded()
    bench.driver.tick(bench.clock.now_ms)
    assert not bench.log.pending, "every session begins anew"
    assert (await bench.beat(epoch=1)).member_epoch == 1


async def test_a_log_that_cannot_be_read_is_told_and_not_waited_for() -> None:
    bench = Bench()
    bench.log.batches = [b"\xff" * 100]
    bench.log.end = bench.log.high_watermark = 1
    bench.log.tell()
    await turns()
    with pytest.raises(LogdError) as caught:
        await bench.offsets()
    assert not caught.value.retriable and caught.value.code is ErrorCode.CORRUPT_BATCH


async def test_a_kept_answer_is_released_by_what_concerns_the_member_alone() -> None:
    bench = Bench()
    await bench.loaded()
    joined = bench.beat()
    await turns()
    bench.log.commit()
    await joined
    kept = bench.beat(epoch=1, wait_ms=2_000)
    await turns()
    stored = bench.commit(1, "m", 1)
    await turns()
    bench.log.commit()
    await stored
    await turns()
    assert not kept.done(), "a commit is no news"
    second = bench.beat("n")
    await turns()
    assert kept.done() and (await kept).heartbeat_interval_ms == 0
    assert (await kept).assignment is None, "only the next heartbeat tells"
    bench.log.commit()
    assert (await second).member_epoch > 0


async def test_who_leaves_takes_nothing_back() -> None:
    bench = Bench()
    await bench.loaded()
    gone = asyncio.ensure_future(
        bench.driver.decide(
            lambda groups, _now, wall: groups.commit(
                Commit("g", "", -1, (OffsetToCommit(ORDERS, 0, 7),)), wall
            )
        )
    )
    await turns()
    gone.cancel()
    await turns()
    bench.log.commit()
    assert await bench.offsets() == [7]
    with pytest.raises(GroupNotFoundError):
        await bench.driver.read(lambda groups: groups.describe("other", 0))


async def test_everything_that_moves_partitions_is_news() -> None:
    for record, news in (
        (TargetMember("g", "m", frozenset()), True),
        (CurrentMember("g", "m", 1, 0, MemberState.STABLE, frozenset(), frozenset()), True),
        (Forgotten(CurrentKey("g", "m")), True),
        (Forgotten(OffsetKey("g", ORDERS, 0)), False),
        (OffsetCommitted("g", ORDERS, 0, 1, -1, "", 0, "orders"), False),
        (CurrentMember("h", "m", 1, 0, MemberState.STABLE, frozenset(), frozenset()), False),
    ):
        parked = ParkedHeartbeats()
        told: Any = SimpleNamespace(waiting=lambda _group: ("m",))
        released, other = parked.park("g", "m"), parked.park("g", "n")
        parked.look(told, [record])
        assert released.done() is news and not other.done()
