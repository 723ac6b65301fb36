"""The sketch: what this project's data path could reach, were it to do nothing but the least.

Batches over gRPC streams, their CRC checked, their offsets stamped, one thread that writes (and
syncs once for all that waits). No keys, no partitions, no replication, no recovery, no bounds.

    python -m bench.servers.sketch PORT sync|nosync FILE
"""

from __future__ import annotations

import asyncio
import os
import queue
import struct
import sys
import threading
from bisect import bisect_right
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import grpc
import grpc.aio
from crc32c import crc32c
from logd_proto.v1 import log_pb2
from logd_wire.limits import MESSAGE_BYTES_MAX

OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
]
PRODUCE, FETCH = "/sketch/produce", "/sketch/fetch"
_READ_BYTES = 1 << 20
_WRITES_MAX = 256
_CRC_AT, _CHECKED_FROM, _LAST_DELTA_AT = 17, 21, 23


class Disk(threading.Thread):
    """Writes what waits, syncs it once, and answers for all of it."""

    def __init__(self, path: str, sync: bool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self._sync, self._loop = sync, loop

    def run(self) -> None:
        while True:
            taken = [self.waiting.get()]
            while len(taken) < _WRITES_MAX and not self.waiting.empty():
                taken.append(self.waiting.get())
            parts = [data for data, _ in taken]
            written = os.writev(self.descriptor, parts)
            assert written == sum(map(len, parts)), "the disk is full"
            if self._sync:
                os.fdatasync(self.descriptor)
            self._loop.call_soon_threadsafe(_answer, [future for _, future in taken])


def _answer(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


class Sketch(grpc.GenericRpcHandler):
    """One log in one file."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._next_offset = self._size = 0
        self._offsets: list[int] = []
        self._positions: list[int] = []

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == PRODUCE:
            return grpc.stream_stream_rpc_method_handler(
                self._produce,
                request_deserializer=log_pb2.ProduceRequest.FromString,
                response_serializer=log_pb2.ProduceResponse.SerializeToString,
            )
        return grpc.stream_stream_rpc_method_handler(
            self._fetch, response_serializer=log_pb2.FetchResponse.SerializeToString
        )

    async def _produce(self, requests: AsyncIterator[Any], context: Any) -> None:
        waiting: asyncio.Queue[tuple[int, int, asyncio.Future[None]] | None] = asyncio.Queue()

        async def answer() -> None:
            while (taken := await waiting.get()) is not None:
                number, offset, written = taken
                await written
                result = log_pb2.ProduceResult(id=number, base_offset=offset)
                await context.write(log_pb2.ProduceResponse(results=[result]))

        answering = asyncio.ensure_future(answer())
        async for request in requests:
            batch = request.batches[0]
            offset, written = self._append(batch.records)
            waiting.put_nowait((batch.id, offset, written))
        waiting.put_nowait(None)
        await answering

    def _append(self, records: bytes) -> tuple[int, asyncio.Future[None]]:
        (crc,) = struct.unpack_from(">I", records, _CRC_AT)
        assert crc32c(memoryview(records)[_CHECKED_FROM:]) == crc, "a damaged batch"
        (last,) = struct.unpack_from(">i", records, _LAST_DELTA_AT)
        offset = self._next_offset
        self._next_offset += last + 1
        self._offsets.append(offset)
        self._positions.append(self._size)
        self._size += len(records)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._disk.waiting.put((struct.pack(">q", offset) + records[8:], written))
        return offset, written

    async def _fetch(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            at = bisect_right(self._offsets, int(request)) - 1
            data = os.pread(self._disk.descriptor, _READ_BYTES, self._positions[at])
            end = bisect_right(self._positions, self._positions[at] + len(data))
            whole = self._positions[end - 1] - self._positions[at]
            if self._positions[at] + len(data) == self._size:
                whole, end = len(data), end + 1
            following = self._offsets[end - 1] if end <= len(self._offsets) else self._next_offset
            part = log_pb2.FetchedPartition(records=data[:whole], next_offset=following)
            await context.write(log_pb2.FetchResponse(partitions=[part]))


async def serve(port: int, sync: bool, path: str) -> None:
    disk = Disk(path, sync, asyncio.get_running_loop())
    disk.start()
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Sketch(disk),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import_module("uvloop").run(serve(int(sys.argv[1]), sys.argv[2] == "sync", sys.argv[3]))
