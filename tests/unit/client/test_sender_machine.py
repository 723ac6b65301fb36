"""The sender against a leader that keeps producer windows and a network that loses things.

Whatever happens: nothing acknowledged is missing or elsewhere, nothing is there twice, records of
a partition are in the order in which they were sent, and at most five batches are in flight.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from logd_client._core.accumulator import Accumulator, BatchingConfig
from logd_client._core.batch import ProducerBatch
from logd_client._core.metadata import Leader
from logd_client._core.ports import FreeLock
from logd_client._core.sender import Ack, Sender
from logd_wire.errors import ErrorCode, LogdError, NetworkError, error_for

from tests.unit.client.memory_log import MemoryLog

DELIVERY_TIMEOUT_MS = 30_000.0
RETRIABLE = [ErrorCode.OVERLOADED, ErrorCode.NOT_LEADER, ErrorCode.STORAGE_FULL]


@dataclass
class Message:
    """One copy of a batch under way, and what came back for it."""

    batch: ProducerBatch
    data: bytes
    connection: int
    answer: Ack | LogdError | None = None


class SenderMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epoch = 0
        config = BatchingConfig(
            batch_bytes=200, linger_ms=5, delivery_timeout_ms=DELIVERY_TIMEOUT_MS
        )
        rng = random.Random(7)
        self.accumulator = Accumulator(config, FreeLock(), rng, lambda: self.now, lambda: None)
        self.sender = Sender(
            self.accumulator,
            rng,
            lambda topic, partition: Leader(b"i" * 16, 1, self.epoch, "a:1"),
            idempotent=True,
        )
        self.topic = self.accumulator.set_partitions("t", 2, [0, 1])
        self.logs = [MemoryLog(leader=1), MemoryLog(leader=1)]
        self.connection = 0
        #: Towards the leader, and back, in order.
        self.towards: deque[Message] = deque()
        self.back: deque[Message] = deque()
        #: Copies of broken connections, which may still arrive for a while.
        self.strays: list[Message] = []
        self.sent: list[tuple[int, bytes, ProducerBatch, int]] = []
        self.next_value = 0
        self.next_id = 0

    # ---- the application -------------------------------------------------------------------

    @rule(partition=st.integers(0, 1), count=st.integers(1, 6))
    def append(self, partition: int, count: int) -> None:
        for _ in range(count):
            value = b"%060d" % self.next_value
            self.next_value += 1
            queue = self.topic.queues[partition]
            batch, index = self.accumulator.append(self.topic, queue, 0, None, value, ())
            self.sent.append((partition, value, batch, index))

    @rule()
    def drain(self) -> None:
        for send in self.sender.drain(self.now):
            data = send.batch.encode()
            self.towards.append(Message(send.batch, data, self.connection))
        if self.sender.wants_identity:
            self.next_id += 1
            self.sender.on_identity(self.next_id, 0)

    # ---- time, network and leader ------------------------------------------------------------

    @rule(milliseconds=st.sampled_from([1, 5, 50, 1_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule()
    def pass_the_deadline(self) -> None:
        """Longer than any copy of a batch lives in the network."""
        self.strays.clear()
        self.now += DELIVERY_TIMEOUT_MS
        self.drain()

    @rule()
    def arrive(self) -> None:
        if self.towards:
            message = self.towards.popleft()
            message.answer = self._append(message)
            self.back.append(message)

    @precondition(lambda self: self.strays)
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        """A copy of a broken connection arrives after all; nobody hears the answer."""
        connection = min(message.connection for message in self.strays)
        first = next(each for each in self.strays if each.connection == connection)
        self.strays.remove(first)
        if not data.draw(st.booleans()):
            self._append(first)

    @rule(code=st.sampled_from(RETRIABLE))
    def refuse(self, code: ErrorCode) -> None:
        if self.towards:
            message = self.towards.popleft()
            message.answer = error_for(code, "scripted")
            self.back.append(message)

    @rule()
    def refuse_for_good(self) -> None:
        if self.towards:
            message = self.towards.popleft()
            message.answer = error_for(ErrorCode.INVALID_RECORD, "scripted")
            self.back.append(message)

    @rule()
    def answer(self) -> None:
        if self.back:
            message = self.back.popleft()
            self._tell(message)

    @rule()
    def break_connection(self) -> None:
        lost = [*self.back, *self.towards]
        self.strays += self.towards
        self.back.clear()
        self.towards.clear()
        self.connection += 1
        for message in lost:
            error = NetworkError("reset")
            self.sender.on_failure(message.batch, error, self.now, sent=True)

    @rule()
    def move_leader(self) -> None:
        self.epoch += 1
        self.sender.on_metadata(list(self.sender.wants_metadata))

    def _append(self, message: Message) -> Ack | LogdError:
        try:
            offset, _ = self.logs[message.batch.partition].append(message.data)
        except LogdError as error:
            return error
        return Ack(offset, 0, durable=True, replicas=1)

    def _tell(self, message: Message) -> None:
        if isinstance(message.answer, Ack):
            self.sender.on_ack(message.batch, message.answer, self.now)
        else:
            assert message.answer is not None
            self.sender.on_failure(message.batch, message.answer, self.now, sent=True)

    # ---- what must hold ----------------------------------------------------------------------

    @invariant()
    def window_is_kept(self) -> None:
        for queue in self.topic.queues:
            assert len(queue.in_flight) <= 5

    @invariant()
    def acknowledged_is_there(self) -> None:
        stored = [log.values() for log in self.logs]
        for partition, value, batch, index in self.sent:
            if batch.done and batch.error is None:
                assert stored[partition][batch.base_offset + index] == value

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        for log in self.logs:
            values = log.values()
            assert values == sorted(set(values)), values  # type: ignore[type-var]

    def teardown(self) -> None:
        """With a network that works again everything gets its outcome."""
        for _ in range(3_000):
            if all(batch.done for _, _, batch, _ in self.sent) and not self.towards:
                break
            self.drain()
            self.arrive()
            self.answer()
            self.now += 7
        assert all(batch.done for _, _, batch, _ in self.sent)
        self.acknowledged_is_there()
        self.nothing_twice_and_in_order()
        assert self.accumulator.used_bytes == 0


SenderMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestSender = SenderMachine.TestCase


class ContendedLock(FreeLock):
    """Before it is taken the next time, somebody else has it."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None

    def __enter__(self) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return True


def test_a_caller_closes_the_batch_that_is_about_to_be_taken() -> None:
    lock, rng = ContendedLock(), random.Random(7)
    config = BatchingConfig(batch_bytes=200, linger_ms=5, delivery_timeout_ms=DELIVERY_TIMEOUT_MS)
    accumulator = Accumulator(config, lock, rng, lambda: 0.0, lambda: None)
    topic = accumulator.set_partitions("t", 1, [0])
    queue = topic.queues[0]

    def leader_of(_topic: str, _partition: int) -> Leader:
        lock.meanwhile = lambda: accumulator.close(queue)
        return Leader(b"i" * 16, 1, 0, "a:1")

    sender = Sender(accumulator, rng, leader_of, idempotent=False)
    batch, _ = accumulator.append(topic, queue, 0, None, b"value", ())
    assert [send.batch for send in sender.drain(0.0)] == [batch]
    assert list(queue.in_flight) == [batch]
    assert not queue.closed
