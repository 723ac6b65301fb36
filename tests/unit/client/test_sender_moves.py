"""What a producer does with batches in flight when their partition gets another leader."""

from __future__ import annotations

import random
from collections.abc import Callable

from logd_client._core.accumulator import Accumulator, BatchingConfig
from logd_client._core.batch import ProducerBatch
from logd_client._core.metadata import Leader
from logd_client._core.ports import FreeLock
from logd_client._core.sender import Ack, Sender
from logd_wire.errors import ErrorCode, error_for
from logd_wire.limits import PRODUCER_WINDOW_BATCHES

#: Longer than the longest wait between two tries.
LONG_MS = 2_000.0


class Rig:
    """A producer of one partition, led by the node with the number of the epoch."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = 1
        rng = random.Random(7)
        config = BatchingConfig(linger_ms=0, delivery_timeout_ms=60_000)
        self.accumulator = Accumulator(config, FreeLock(), rng, lambda: self.now, lambda: None)
        self.sender = Sender(self.accumulator, rng, self._leader, idempotent=True)
        self.topic = self.accumulator.set_partitions("t", 1, [0])
        self.sender.on_identity(1, 0)

    def _leader(self, _topic: str, _partition: int) -> Leader:
        return Leader(b"i" * 16, self.epoch, self.epoch, f"n{self.epoch}:1")

    def write(self) -> list[tuple[str, ProducerBatch]]:
        self.accumulator.append(self.topic, self.topic.queues[0], 0, None, b"v", ())
        return self.sent()

    def sent(self) -> list[tuple[str, ProducerBatch]]:
        """What is sent now, and where to."""
        return [(send.leader.address, send.batch) for send in self.sender.drain(self.now)]

    def acknowledge(self, batch: ProducerBatch) -> None:
        self.sender.on_ack(batch, Ack(0, 0, durable=True, replicas=3), self.now)

    def in_flight(self) -> list[ProducerBatch]:
        """A full window at the leader."""
        [(_, batch)] = self.write()
        self.acknowledge(batch)
        found = [self.write()[0][1] for _ in range(PRODUCER_WINDOW_BATCHES)]
        return [batch for batch in found if not batch.done]

    def refuse(self, batch: ProducerBatch, code: ErrorCode = ErrorCode.NOT_LEADER) -> None:
        self.sender.on_failure(batch, error_for(code, "scripted"), self.now, sent=True)

    def waited(self, tries: Callable[[], bool]) -> float:
        """How long until `tries`, looking as often as the sender wants to."""
        began = self.now
        while not tries():
            deadline = self.sender.next_deadline_ms()
            assert deadline is not None and self.now - began < LONG_MS
            self.now = max(deadline, self.now + 1)
        return self.now - began


def test_what_another_leader_has_to_answer_goes_there_at_once() -> None:
    """All of it: that the first one told of the new leader must not make the others wait."""
    rig = Rig()
    flying = rig.in_flight()
    rig.epoch = 2
    for batch in flying:
        rig.refuse(batch)
    assert rig.sent() == [("n2:1", flying[0])]
    rig.acknowledge(flying[0])
    assert rig.sent() == [("n2:1", batch) for batch in flying[1:]]


def test_moves_are_free_however_many_there_are() -> None:
    rig = Rig()
    for epoch in range(2, 60):
        flying = rig.in_flight()
        rig.epoch = epoch
        for batch in flying:
            rig.refuse(batch)
        rest = list(flying)
        while rest:
            sent = rig.sent()
            assert sent, f"batches wait in epoch {epoch}"
            for address, batch in sent:
                assert address == f"n{epoch}:1"
                rest.remove(batch)
                rig.acknowledge(batch)


def test_a_new_leader_that_does_not_know_it_yet_is_asked_again_soon_and_not_at_once() -> None:
    rig = Rig()
    flying = rig.in_flight()
    rig.epoch = 2
    for batch in flying:
        rig.refuse(batch)
    [(_, batch)] = rig.sent()
    rig.refuse(batch)
    assert rig.sent() == []
    assert 0 < rig.waited(lambda: rig.sent() == [("n2:1", flying[0])]) <= 40


def test_batches_that_fail_together_wait_together_and_count_as_one_try() -> None:
    """So that a window of them does not use up what many tries are meant to last for."""
    rig = Rig()
    waits = []
    for _ in range(12):
        flying = rig.in_flight()
        for batch in flying:
            rig.refuse(batch, ErrorCode.OUTCOME_UNKNOWN)
        waits.append(rig.waited(lambda first=flying[0]: rig.sent() == [("n1:1", first)]))  # type: ignore[misc]
        rig.acknowledge(flying[0])
        for _, batch in rig.sent():
            rig.acknowledge(batch)
    assert max(waits) <= 40, waits
