"""The produce stream to one node: batches out, results back, many in flight."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError, NetworkError, OutcomeUnknownError

from logd_client._core.batch import ProducerBatch
from logd_client._core.sender import Ack, Send
from logd_client._engine.cluster import Connection
from logd_client._transport.api import Stream
from logd_client._transport.errors import from_proto
from logd_client._transport.methods import PRODUCE

logger = logging.getLogger("logd.client.producer")

#: Batches are put together in one message up to this size; a single batch may be larger.
REQUEST_BYTES: Final = 1024 * 1024
REQUEST_BATCHES_MAX: Final = 1_000

#: (batch, the answer, whether a failed batch may have reached the node)
OnResult = Callable[[ProducerBatch, Ack | LogdError, bool], None]


class ProduceLink:
    """One stream. When it breaks, everything it holds is handed back once and it is `broken`."""

    def __init__(
        self, connection: Connection, acks: int, on_result: OnResult, on_turn: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.broken = False
        self._acks = acks
        self._on_result = on_result
        self._on_turn = on_turn
        self._queue: deque[Send] = deque()
        self._in_flight: dict[int, ProducerBatch] = {}
        self._next_id = 0
        self._news = asyncio.Event()
        self._stream: Stream | None = None
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name=f"logd-client produce {connection.address}")

    def send(self, sends: list[Send]) -> None:
        """Queue batches; they go out in this order."""
        self._queue.extend(sends)
        self._news.set()

    async def close(self) -> None:
        """End the stream; what was not answered is handed back."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        error: LogdError = NetworkError(
            "the produce stream was closed", broker=self.connection.address
        )
        reader: asyncio.Task[None] | None = None
        try:
            stream = await self.connection.open_stream(PRODUCE)
            self._stream = stream
            loop = asyncio.get_running_loop()
            reader = loop.create_task(
                self._read(stream), name=f"logd-client results {self.connection.address}"
            )
            reader.add_done_callback(lambda _: self._news.set())
            await self._write(stream, reader)
            await reader
        except LogdError as problem:
            error = problem
        finally:
            self.broken = True
            if reader is not None:
                # Also when it has ended: its error is the reason, and is looked at here.
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            if self._stream is not None:
                self._stream.cancel()
            self.connection.lost()
            self._hand_back(error)

    async def _write(self, stream: Stream, reader: asyncio.Task[None]) -> None:
        while not reader.done():
            if not self._queue:
                self._news.clear()
                await self._news.wait()
                continue
            request, batches = self._next_request()
            if not batches:
                continue
            await stream.write(request)
            if self._acks == 0:
                self._in_flight.clear()
                for batch in batches:
                    self._on_result(batch, Ack(-1, -1, durable=False, replicas=0), True)
                self._on_turn()

    def _next_request(self) -> tuple[log_pb2.ProduceRequest, list[ProducerBatch]]:
        """Take as many batches off the queue as go into one message, at least one."""
        request = log_pb2.ProduceRequest()
        batches: list[ProducerBatch] = []
        size = 0
        queue = self._queue
        while queue and len(batches) < REQUEST_BATCHES_MAX:
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
            # With acks=0 only until it is written: nobody will answer.
            self._in_flight[number] = batch
            batches.append(batch)
            request.batches.add(
                id=number,
                topic_id=leader.topic_id,
                partition=batch.partition,
                leader_epoch=leader.epoch,
                acks=self._acks,
                records=records,
            )
        return request, batches

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

    async def _read(self, stream: Stream) -> None:
        while (response := await stream.read()) is not None:
            assert isinstance(response, log_pb2.ProduceResponse)
            for result in response.results:
                batch = self._in_flight.pop(result.id, None)
                if batch is None:
                    continue
                if result.HasField("error"):
                    error = from_proto(result.error, broker=self.connection.address)
                    self._on_result(batch, error, True)
                else:
                    ack = Ack(
                        result.base_offset, result.append_time_ms, result.synced, result.replicas
                    )
                    self._on_result(batch, ack, True)
            self._on_turn()
        raise NetworkError("the node ended the produce stream", broker=self.connection.address)

    def _hand_back(self, error: LogdError) -> None:
        in_flight, self._in_flight = list(self._in_flight.values()), {}
        queued, self._queue = list(self._queue), deque()
        if in_flight or queued:
            logger.info(
                "produce stream to %s ended with %d batches in flight: %s",
                self.connection.address,
                len(in_flight),
                error,
                extra={"broker": self.connection.address, "batches": len(in_flight)},
            )
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
