"""Append and Read: plain records for tools such as grpcurl, in place of encoded batches.

Here the node encodes and decodes, which streams leave to their clients. What may take longer than
a few milliseconds is done off the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logd_proto.v1 import common_pb2, log_pb2
from logd_wire import (
    BatchHeader,
    Compression,
    Headers,
    WireRecord,
    decode_records,
    encode_batch,
    iter_headers,
    partition_for_key,
)
from logd_wire.errors import ErrorCode, InvalidRecordError, InvalidRequestError, LogdError
from logd_wire.limits import BATCH_BYTES_MAX, KIB, MIB

from logd.metadata.image import TopicImage
from logd.rpc.api import Connection
from logd.rpc.checks import (
    INT64_MAX,
    check_acks,
    check_count,
    check_partition,
    check_range,
)
from logd.rpc.edge import Edge, Operation
from logd.runtime.outcomes import Chunk

APPEND_RECORDS_MAX: Final = 10_000
READ_RECORDS_MAX: Final = 10_000
READ_RECORDS_DEFAULT: Final = 100
READ_WAIT_MS_MAX: Final = 30_000
#: Encoded bytes taken from the log for one Read.
READ_CHUNK_BYTES: Final = MIB
#: Plain bytes after which one Read stops; at least one record is answered.
READ_ANSWER_BYTES: Final = 8 * MIB

#: Work beyond these is done off the event loop: about two milliseconds.
INLINE_BYTES: Final = 256 * KIB
INLINE_RECORDS: Final = 500


class PlainHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._decoding = asyncio.Lock()

    async def append(
        self, request: log_pb2.AppendRequest, connection: Connection
    ) -> log_pb2.AppendResponse:
        """Encode the records as one batch, append it, and answer when it is acknowledged."""
        edge = self._edge
        topic = edge.topic(connection, Operation.WRITE, request.topic)
        check_acks(request.acks)
        if not request.records:
            raise InvalidRequestError("no records", hint="send at least one record")
        check_count("records", len(request.records), APPEND_RECORDS_MAX)
        partition = _partition_of(topic, request)
        size = request.ByteSize()
        budget = edge.broker.produce_budget(connection.peer)
        await budget.acquire(size)
        handed_over = False
        try:
            batch = await self._encoded(request, size)
            outcome = edge.broker.produce(
                topic.topic_id, partition, batch, leader_epoch=-1, acks=request.acks or -1
            )
            outcome.add_done_callback(lambda _: budget.release(size))
            handed_over = True
        finally:
            if not handed_over:
                budget.release(size)
        # Shielded: a caller who leaves must not cancel what the broker is about to answer.
        result = await asyncio.shield(outcome)
        return log_pb2.AppendResponse(
            partition=partition,
            base_offset=result.base_offset,
            leader_epoch=result.leader_epoch,
            append_time_ms=result.append_time_ms,
            synced=result.synced,
        )

    async def _encoded(self, request: log_pb2.AppendRequest, size: int) -> bytes:
        work = partial(_encode, request.records, self._edge.clock.wall_ms())
        if size > INLINE_BYTES or len(request.records) > INLINE_RECORDS:
            return await self._edge.offload(work)
        return work()

    async def read(
        self, request: log_pb2.ReadRequest, connection: Connection
    ) -> log_pb2.ReadResponse:
        """Read records from an offset on; may wait for the first one."""
        edge = self._edge
        topic = edge.topic(connection, Operation.READ, request.topic)
        check_partition(request.partition)
        check_range("offset", request.offset, 0, INT64_MAX)
        check_range("max_records", request.max_records, 0, READ_RECORDS_MAX)
        check_range("max_wait_ms", request.max_wait_ms, 0, READ_WAIT_MS_MAX)
        topic.partition(request.partition)
        chunk = await edge.broker.read(
            topic.topic_id,
            request.partition,
            request.offset,
            bytes_max=READ_CHUNK_BYTES,
            wait_ms=request.max_wait_ms,
        )
        count = request.max_records or READ_RECORDS_DEFAULT
        return await self._decoded(chunk, request.offset, count)

    async def _decoded(self, chunk: Chunk, offset: int, count: int) -> log_pb2.ReadResponse:
        headers = [
            _Batch(position, header)
            for position, header in iter_headers(chunk.records)
            if header.next_offset > offset
        ]
        work = partial(_decode, chunk, headers, offset, count)
        if not _decodes_long(headers):
            return work()
        # One at a time: each may hold a whole batch in its full size.
        async with self._decoding:
            return await self._edge.offload(work)


class _Batch(NamedTuple):
    position: int
    header: BatchHeader


def _partition_of(topic: TopicImage, request: log_pb2.AppendRequest) -> int:
    """The partition that is named, or the one that the keys lead to."""
    if request.HasField("partition"):
        check_partition(request.partition)
        return topic.partition(request.partition).partition
    numbers = {
        partition_for_key(record.key, len(topic.partitions)) if record.HasField("key") else 0
        for record in request.records
    }
    if len(numbers) > 1:
        raise InvalidRequestError(
            f"the records' keys lead to {len(numbers)} partitions of {topic.name}",
            hint="name the partition, or send one request for each key",
        )
    return numbers.pop()


def _encode(records: Sequence[common_pb2.Record], now_ms: int) -> bytes:
    return encode_batch(_wire_record(index, record, now_ms) for index, record in enumerate(records))


def _wire_record(index: int, record: common_pb2.Record, now_ms: int) -> WireRecord:
    if record.timestamp_ms < 0:
        raise InvalidRecordError(
            f"record {index}: timestamp_ms is {record.timestamp_ms}",
            code=ErrorCode.INVALID_TIMESTAMP,
            hint="use milliseconds since the Unix epoch, or 0 for the node's clock",
        )
    return WireRecord(
        index,
        record.timestamp_ms or now_ms,
        record.key if record.HasField("key") else None,
        record.value if record.HasField("value") else None,
        tuple(
            (header.key, header.value if header.HasField("value") else None)
            for header in record.headers
        ),
    )


def _decodes_long(batches: Sequence[_Batch]) -> bool:
    """Whether decoding may hold the event loop up. What a compressed batch holds nobody knows."""
    return (
        sum(batch.header.size for batch in batches) > INLINE_BYTES
        or sum(batch.header.records_count for batch in batches) > INLINE_RECORDS
        or any(batch.header.compression is not Compression.NONE for batch in batches)
    )


def _decode(
    chunk: Chunk, batches: Iterable[_Batch], offset: int, count: int
) -> log_pb2.ReadResponse:
    """Decode batch after batch until there are `count` records or enough bytes."""
    response = log_pb2.ReadResponse(
        next_offset=chunk.next_offset,
        high_watermark=chunk.high_watermark,
        log_start_offset=chunk.log_start_offset,
    )
    taking = _Taking(response, offset, count)
    for batch in batches:
        try:
            decode_records(chunk.records, batch.position, taking)
        except LogdError as error:
            if response.records:
                # What is before the faulty batch is good; the next request meets the fault.
                response.next_offset = batch.header.base_offset
                return response
            error.message = f"batch at offset {batch.header.base_offset}: {error.message}"
            error.next_offset = batch.header.next_offset
            error.hint = f"go on reading at offset {batch.header.next_offset}"
            raise
        if taking.ended:
            break
    return response


class _Taking:
    """Puts decoded records into an answer, as long as they are wanted and there is room.

    The decoder calls it with each record, so that of a batch which is far larger than it came
    nothing is kept but what is answered.
    """

    def __init__(self, response: log_pb2.ReadResponse, offset: int, count: int) -> None:
        self._response = response
        self._offset = offset
        self._count = count
        self._room = READ_ANSWER_BYTES
        self.ended = False

    def __call__(
        self,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> None:
        if self.ended or offset < self._offset:
            return
        records = self._response.records
        self._room -= _size_of(key, value, headers)
        if len(records) == self._count or (self._room < 0 and records):
            self._response.next_offset = offset
            self.ended = True
            return
        records.add(
            key=key,
            value=value,
            headers=[common_pb2.Header(key=name, value=text) for name, text in headers],
            timestamp_ms=timestamp,
            offset=offset,
        )


def _size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Bytes of one record in an answer, at least."""
    size = 64 + len(key or b"") + len(value or b"")
    return size + sum(len(name) + len(text or b"") + 16 for name, text in headers)


assert READ_ANSWER_BYTES <= BATCH_BYTES_MAX
