"""The produce stream to one node: batches out, results back, many in flight."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError, NetworkError, OutcomeUnknownError

from logd_client._core.batch import ProducerBatch
from logd_client._core.sender import Ack, Send
from logd_client._engine.cluster import Connection
from logd_client._engine.conversation import Conversation
from logd_client._engine.ports import Clock
from logd_client._transport.errors import from_proto
from logd_client._transport.methods import PRODUCE

logger = logging.getLogger("logd.client.producer")

#: Batches are put together in one message up to this size; a single batch may be larger.
REQUEST_BYTES: Final = 1024 * 1024
REQUEST_BATCHES_MAX: Final = 1_000
#: A node that owes answers and gives none for so long may be frozen or cut off: others are asked
#: who leads, and again after `SILENCE_AGAIN_MS`, until it is heard.
SILENCE_MS: Final = 1_000.0
SILENCE_AGAIN_MS: Final = 500.0
#: By then somebody else leads, if there is anybody: what goes on waiting asks more rarely.
SILENCE_LONG_MS: Final = 5_000.0

#: (batch, the answer, whether a failed batch may have reached the node)
OnResult = Callable[[ProducerBatch, Ack | LogdError, bool], None]


class ProduceLink:
    """One stream. When it breaks, everything it holds is handed back once and it is `broken`.

    `suspect_at_ms`: when to suspect the node, unless it is heard before; None: it owes nothing.
    `silent`: it is suspected, and was not heard since.
    """

    def __init__(
        self,
        connection: Connection,
        acks: int,
        clock: Clock,
        on_result: OnResult,
        on_turn: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.suspect_at_ms: float | None = None
        self.silent = False
        self._silent_from_ms = 0.0
        self._clock = clock
        self._acks = acks
        self._on_result = on_result
        self._on_turn = on_turn
        self._queue: deque[Send] = deque()
        self._in_flight: dict[int, ProducerBatch] = {}
        self._next_id = 0
        self._conversation = Conversation(
            connection,
            PRODUCE,
            "produce",
            due=self._due,
            heard=self._heard,
            ended=self._hand_back,
            written=self._written,
        )

    @property
    def broken(self) -> bool:
        return self._conversation.broken

    def send(self, sends: list[Send]) -> None:
        """Queue batches; they go out in this order."""
        self._queue.extend(sends)
        if self.suspect_at_ms is None:
            self._expect()
        self._conversation.news()

    def suspect(self, now_ms: float) -> dict[str, None]:
        """The node is silent: ask others before it. Returns the topics of what it owes, oldest
        first."""
        long = now_ms - self._silent_from_ms >= SILENCE_LONG_MS
        self.suspect_at_ms = now_ms + (SILENCE_LONG_MS if long else SILENCE_AGAIN_MS)
        self.silent = True
        self.connection.doubt()
        owed = [*self._in_flight.values(), *(send.batch for send in self._queue)]
        error = NetworkError("the node does not answer", broker=self.connection.address)
        for batch in owed:
            batch.last_error = error
        return dict.fromkeys(batch.topic for batch in owed)

    def give_up(self, led_elsewhere: Callable[[ProducerBatch], bool]) -> None:
        """Hand back what another node has to answer for; a late answer to it changes nothing."""
        error = NetworkError("the node is silent", broker=self.connection.address)
        moved = {key: each for key, each in self._in_flight.items() if led_elsewhere(each)}
        for key in moved:
            del self._in_flight[key]
        queued = [send for send in self._queue if led_elsewhere(send.batch)]
        self._queue = deque(send for send in self._queue if not led_elsewhere(send.batch))
        if not moved and not queued:
            return
        logger.info(
            "%s is silent and leads no more: %d batches go elsewhere",
            self.connection.address,
            len(moved) + len(queued),
            extra={"broker": self.connection.address, "batches": len(moved) + len(queued)},
        )
        if not self._in_flight and not self._queue:
            self._expect()
        self._return(list(moved.values()), queued, error)

    def _expect(self) -> None:
        """From now on count how long the node is silent, if it owes an answer."""
        self.silent = False
        # With acks=0 it never does.
        owes = self._acks != 0 and bool(self._in_flight or self._queue)
        self._silent_from_ms = self._clock.monotonic_ms()
        self.suspect_at_ms = self._silent_from_ms + SILENCE_MS if owes else None

    async def close(self) -> None:
        """End the stream; what was not answered is handed back."""
        await self._conversation.close()

    def _due(self) -> log_pb2.ProduceRequest | None:
        while self._queue:
            request = self._next_request()
            if request.batches:
                return request
        return None

    def _written(self) -> None:
        if self._acks == 0:
            # Nobody will answer.
            written, self._in_flight = list(self._in_flight.values()), {}
            for batch in written:
                self._on_result(batch, Ack(-1, -1, durable=False, replicas=0), True)
            self._on_turn()

    def _next_request(self) -> log_pb2.ProduceRequest:
        """Take as many batches off the queue as go into one message, at least one."""
        request = log_pb2.ProduceRequest()
        size = 0
        queue = self._queue
        while queue and len(request.batches) < REQUEST_BATCHES_MAX:
            leader, batch = queue[0]
            records = self._encode(batch)
            if records is None:
                queue.popleft()
                continue
            if size and size + len(records) > REQUEST_BYTES:
                break
            queue.popleft()
            size += len(records)
            number = self._next_id
            self._next_id += 1
            self._in_flight[number] = batch
            request.batches.add(
                id=number,
                topic_id=leader.topic_id,
                partition=batch.partition,
                leader_epoch=leader.epoch,
                acks=self._acks,
                records=records,
            )
        return request

    def _encode(self, batch: ProducerBatch) -> bytes | None:
        """The batch's bytes; None when it is not to be sent any more."""
        if batch.done:
            # Its deadline passed while it waited here.
            self._on_result(batch, NetworkError("not sent"), False)
            return None
        try:
            return batch.encode()
        except LogdError as error:
            error.retriable = False
            self._on_result(batch, error, False)
            self._on_turn()
            return None

    def _heard(self, response: log_pb2.ProduceResponse) -> None:
        for result in response.results:
            batch = self._in_flight.pop(result.id, None)
            if batch is None:
                continue
            if result.HasField("error"):
                error = from_proto(result.error, broker=self.connection.address)
                self._on_result(batch, error, True)
            else:
                ack = Ack(result.base_offset, result.append_time_ms, result.synced, result.replicas)
                self._on_result(batch, ack, True)
        self._expect()
        self._on_turn()

    def _hand_back(self, error: LogdError) -> None:
        in_flight, self._in_flight = list(self._in_flight.values()), {}
        queued, self._queue = list(self._queue), deque()
        self._expect()
        if in_flight or queued:
            logger.info(
                "produce stream to %s ended with %d batches in flight: %s",
                self.connection.address,
                len(in_flight),
                error,
                extra={"broker": self.connection.address, "batches": len(in_flight)},
            )
        self._return(in_flight, queued, error)

    def _return(self, in_flight: list[ProducerBatch], queued: list[Send], error: LogdError) -> None:
        for batch in in_flight:
            self._on_result(batch, self._lost(error), True)
        for send in queued:
            self._on_result(send.batch, as_unknown(error), False)
        self._on_turn()

    def _lost(self, error: LogdError) -> LogdError:
        """What becomes of a batch in flight. With acks=0 it is not sent again: nothing would
        tell a node that it has it already."""
        if self._acks != 0:
            return as_unknown(error)
        return OutcomeUnknownError(
            f"the produce stream broke while the batch was written: {error.message}",
            hint="acks=0 promises nothing; use acks=1 or acks=all",
            broker=error.broker,
            retriable=False,
        )


def as_unknown(error: LogdError) -> LogdError:
    """What a broken stream means for one batch: a retriable loss of the connection."""
    return NetworkError(
        f"the produce stream broke: {error.message}", hint=error.hint, broker=error.broker
    )
