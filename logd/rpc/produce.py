"""The produce stream: batches in, results out, both without waiting for each other.

    request -> checks -> budget -> broker.produce -> ... -> result -> response

A request's bytes are on the connection's account from before the next one is read until the
broker has let go of them, whatever becomes of the stream: a client that leaves gives back nothing
that is still in memory, and keeps nothing that is not.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, NamedTuple

from logd_proto.v1 import log_pb2
from logd_wire.errors import ErrorCode, LogdError, OutcomeUnknownError

from logd.rpc.api import ServerStream
from logd.rpc.checks import (
    check_acks,
    check_batch_size,
    check_count,
    check_leader_epoch,
    check_partition,
    check_topic_id,
)
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import code_of, presentable, to_proto
from logd.runtime.outcomes import ProduceOutcome

METHOD: Final = "/logd.v1.Log/Produce"

#: Batches in one request.
BATCHES_MAX: Final = 10_000
#: Results that may be owed to one stream. A client that sends and does not read stops here.
UNANSWERED_MAX: Final = 10_000
#: Results in one response: with the longest error texts still far below a message's limit.
RESULTS_PER_RESPONSE_MAX: Final = 2_000
#: Topics whose authorization a stream remembers.
TOPICS_REMEMBERED_MAX: Final = 10_000

_Outcome = asyncio.Future[ProduceOutcome]


class _Batch(NamedTuple):
    """One batch, free of the message that it came in."""

    id: int
    topic_id: bytes
    partition: int
    leader_epoch: int
    acks: int
    records: bytes

    @property
    def answered(self) -> bool:
        """Whether the client is told what became of it."""
        return self.acks != 0


class ProduceStream:
    """One stream: this object's task reads, a second one writes."""

    def __init__(self, edge: Edge, stream: ServerStream) -> None:
        self._edge = edge
        self._stream = stream
        self._budget = edge.broker.produce_budget(stream.connection.peer)
        self._meter = edge.requests.of("Produce")
        self._now_ns = edge.clock.monotonic_ns
        self._authorized: set[bytes] = set()
        self._ready: list[tuple[int, _Outcome | LogdError]] = []
        #: Batches that get an answer and whose answer is not written.
        self._unanswered = 0
        self._reading = True
        self._news = asyncio.Event()
        self._written = asyncio.Event()

    async def run(self) -> None:
        """Serve the stream to its end; everything accepted is answered before an error ends it."""
        writer = asyncio.ensure_future(self._write_results())
        writer.add_done_callback(lambda _: self._written.set())
        ending: LogdError | None = None
        try:
            try:
                await self._read_requests(writer)
            except LogdError as error:
                ending = error
            self._reading = False
            self._news.set()
            await writer
        finally:
            # It must have ended before the call does: a write may not follow the call's status.
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        if ending is not None:
            raise ending

    async def _read_requests(self, writer: asyncio.Future[None]) -> None:
        while not writer.done():
            await self._wait_for_room(writer)
            request = await self._stream.read()
            if request is None:
                return
            assert isinstance(request, log_pb2.ProduceRequest)
            check_count("batches", len(request.batches), BATCHES_MAX)
            batches = [self._taken(batch) for batch in request.batches]
            # While this stream waits below, one copy of its bytes is enough.
            del request
            accepted = [batch for batch in batches if batch is not None]
            del batches
            await self._budget.acquire(sum(len(batch.records) for batch in accepted))
            while accepted:
                self._produce(accepted.pop(0))

    async def _wait_for_room(self, writer: asyncio.Future[None]) -> None:
        """Read no further while too many results are owed, or while the budget is used up.

        A request has to be read before its size is known, so each stream may hold one beyond the
        budget; those that come to a full budget do not even read that.
        """
        while self._unanswered >= UNANSWERED_MAX and not writer.done():
            self._written.clear()
            await self._written.wait()
        await self._budget.acquire(1)
        self._budget.release(1)

    def _taken(self, batch: log_pb2.ProduceBatch) -> _Batch | None:
        """Copy one batch out of its request; None when it is refused, and answered so."""
        taken = _Batch(
            batch.id, batch.topic_id, batch.partition, batch.leader_epoch, batch.acks, batch.records
        )
        self._unanswered += taken.answered
        try:
            self._check(taken)
        except Exception as error:
            refusal = presentable(error, METHOD)
            self._meter.failed(refusal.code.name)
            self._answer(taken, refusal)
            return None
        return taken

    def _check(self, batch: _Batch) -> None:
        topic_id = batch.topic_id
        check_topic_id(topic_id)
        check_partition(batch.partition)
        check_leader_epoch(batch.leader_epoch)
        check_acks(batch.acks)
        check_batch_size(len(batch.records))
        if topic_id not in self._authorized:
            self._edge.authorize_topic_id(self._stream.connection, Operation.WRITE, topic_id)
            if len(self._authorized) >= TOPICS_REMEMBERED_MAX:
                self._authorized.clear()
            self._authorized.add(topic_id)

    def _produce(self, batch: _Batch) -> None:
        """Hand a batch over to the broker; its bytes are on the account."""
        size, begun_ns = len(batch.records), self._now_ns()
        try:
            outcome = self._edge.broker.produce(
                batch.topic_id,
                batch.partition,
                batch.records,
                leader_epoch=batch.leader_epoch,
                acks=batch.acks,
            )
        except Exception as error:
            self._budget.release(size)
            refusal = presentable(error, METHOD)
            self._meter.failed(refusal.code.name)
            self._answer(batch, refusal)
            return
        # The callback must not keep the bytes: the broker decides how long they stay.
        answered = batch._replace(records=b"")
        outcome.add_done_callback(partial(self._done, answered, size, begun_ns))

    def _done(self, batch: _Batch, size: int, begun_ns: int, outcome: _Outcome) -> None:
        self._budget.release(size)
        # Looked at in any case, so that asyncio does not complain of one that nobody is told.
        code = _code_of(outcome)
        if code is None:
            self._meter.succeeded(self._now_ns() - begun_ns)
        else:
            self._meter.failed(code.name, self._now_ns() - begun_ns)
        self._answer(batch, outcome)

    def _answer(self, batch: _Batch, outcome: _Outcome | LogdError) -> None:
        if batch.answered:
            self._ready.append((batch.id, outcome))
            self._news.set()

    async def _write_results(self) -> None:
        while self._reading or self._unanswered:
            await self._news.wait()
            self._news.clear()
            while self._ready:
                ready = self._ready[:RESULTS_PER_RESPONSE_MAX]
                del self._ready[:RESULTS_PER_RESPONSE_MAX]
                await self._stream.write(_response(ready))
                self._unanswered -= len(ready)
                self._written.set()


def _response(ready: list[tuple[int, _Outcome | LogdError]]) -> log_pb2.ProduceResponse:
    response = log_pb2.ProduceResponse()
    for batch_id, outcome in ready:
        result = response.results.add(id=batch_id)
        failure = outcome if isinstance(outcome, LogdError) else _failure(outcome)
        if failure is not None:
            result.error.CopyFrom(to_proto(failure))
        elif not isinstance(outcome, LogdError):
            _fill(result, outcome.result())
    return response


def _code_of(outcome: _Outcome) -> ErrorCode | None:
    if outcome.cancelled():
        return ErrorCode.OUTCOME_UNKNOWN
    error = outcome.exception()
    return None if error is None else code_of(error)


def _failure(outcome: _Outcome) -> LogdError | None:
    if outcome.cancelled():
        return OutcomeUnknownError(
            "the node gave the batch up before it knew its fate",
            hint="send it again; a producer id makes that safe",
        )
    error = outcome.exception()
    return None if error is None else presentable(error, METHOD)


def _fill(result: log_pb2.ProduceResult, outcome: ProduceOutcome) -> None:
    result.base_offset = outcome.base_offset
    result.leader_epoch = outcome.leader_epoch
    result.append_time_ms = outcome.append_time_ms
    result.synced = outcome.synced
    result.replicas = outcome.replicas
    result.log_start_offset = outcome.log_start_offset
    result.duplicate = outcome.duplicate


class ProduceHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def produce(self, stream: ServerStream) -> None:
        """Serve one produce stream."""
        await ProduceStream(self._edge, stream).run()
