"""The fetch stream: the client names partitions and grants bytes, the node pushes batches.

What is read but not yet taken by the client stays on the session's account; a client that does
not read stalls the write here, and with it the reading from disk.
"""

from __future__ import annotations

import asyncio
from typing import Final

from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError
from logd_wire.limits import MIB

from logd.rpc.api import ServerStream
from logd.rpc.checks import (
    INT32_MAX,
    INT64_MAX,
    check_leader_epoch,
    check_partition,
    check_range,
    check_topic_id,
)
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import presentable, to_proto
from logd.runtime.fetch_session import FetchFrame

METHOD: Final = "/logd.v1.Log/Fetch"

#: Frames are put together in one message up to this size. A single frame may be larger.
RESPONSE_BYTES: Final = MIB
#: What a frame has besides its records: most of it is the text of an error, if it has one.
FRAME_OVERHEAD_BYTES: Final = 128
MAX_WAIT_MS_MAX: Final = 60_000


class FetchStream:
    """One stream: one task applies requests to the session, the other writes frames."""

    def __init__(self, edge: Edge, stream: ServerStream) -> None:
        self._edge = edge
        self._stream = stream
        self._session = edge.broker.fetch_session(stream.connection.peer)
        self._configured = False
        #: Both tasks write: frames the one, refusals the other.
        self._write_lock = asyncio.Lock()

    async def run(self) -> None:
        """Serve the stream until the client ends its side, leaves, or errs."""
        reader = asyncio.ensure_future(self._apply_requests())
        writer = asyncio.ensure_future(self._push_frames())
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            for task in (writer, reader):
                if task.done():
                    task.result()
        finally:
            self._session.close()
            for task in (reader, writer):
                task.cancel()
            # Both must have ended before the call does: a write may not follow its status.
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _apply_requests(self) -> None:
        while (request := await self._stream.read()) is not None:
            assert isinstance(request, log_pb2.FetchRequest)
            await self._apply(request)

    async def _apply(self, request: log_pb2.FetchRequest) -> None:
        if not self._configured:
            self._configure(request)
            self._configured = True
        for subscription_id in request.remove:
            self._session.remove(subscription_id)
        for wanted in request.add:
            try:
                self._check(wanted)
            except LogdError as error:
                await self._refuse(wanted, error)
                continue
            self._session.add(
                wanted.subscription_id,
                wanted.topic_id,
                wanted.partition,
                wanted.offset,
                wanted.leader_epoch,
            )
        if request.credit_bytes:
            self._session.grant(request.credit_bytes)

    def _configure(self, request: log_pb2.FetchRequest) -> None:
        check_range("min_bytes", request.min_bytes, 0, INT32_MAX)
        check_range("max_wait_ms", request.max_wait_ms, 0, MAX_WAIT_MS_MAX)
        check_range("partition_max_bytes", request.partition_max_bytes, 0, INT32_MAX)
        self._session.configure(
            min_bytes=request.min_bytes,
            max_wait_ms=request.max_wait_ms,
            partition_max_bytes=request.partition_max_bytes,
        )

    def _check(self, wanted: log_pb2.FetchPartition) -> None:
        check_topic_id(wanted.topic_id)
        check_partition(wanted.partition)
        check_range("offset", wanted.offset, 0, INT64_MAX)
        check_leader_epoch(wanted.leader_epoch)
        self._edge.authorize_topic_id(self._stream.connection, Operation.READ, wanted.topic_id)

    async def _refuse(self, wanted: log_pb2.FetchPartition, error: LogdError) -> None:
        response = log_pb2.FetchResponse()
        response.partitions.add(
            subscription_id=wanted.subscription_id,
            error=to_proto(error),
            high_watermark=-1,
            log_start_offset=-1,
            next_offset=wanted.offset,
            leader_epoch=-1,
            preferred_replica=-1,
        )
        async with self._write_lock:
            await self._stream.write(response)

    async def _push_frames(self) -> None:
        while frames := await self._session.next_frames():
            frames.reverse()
            async with self._write_lock:
                while frames:
                    # Not kept in a variable: while a client stalls, one copy of the data is enough.
                    await self._stream.write(next_response(frames))
            self._session.sent()


def next_response(frames: list[FetchFrame]) -> log_pb2.FetchResponse:
    """Take as many frames off the end of the list as go into one message, at least one."""
    response, size = log_pb2.FetchResponse(), 0
    while frames and (size == 0 or size + len(frames[-1].records) <= RESPONSE_BYTES):
        frame = frames.pop()
        size += len(frame.records) + FRAME_OVERHEAD_BYTES
        _add(response, frame)
    return response


def _add(response: log_pb2.FetchResponse, frame: FetchFrame) -> None:
    response.partitions.add(
        subscription_id=frame.subscription_id,
        error=None if frame.error is None else to_proto(presentable(frame.error, METHOD)),
        records=frame.records,
        high_watermark=frame.high_watermark,
        log_start_offset=frame.log_start_offset,
        next_offset=frame.next_offset,
        leader_epoch=frame.leader_epoch,
        preferred_replica=-1,
    )


class FetchHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def fetch(self, stream: ServerStream) -> None:
        """Serve one fetch stream."""
        await FetchStream(self._edge, stream).run()
