"""The fetch stream to one node: partitions and credit out, batches in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError, NetworkError

from logd_client._core.fetch_state import FetchConfig
from logd_client._core.subscriptions import Subscribe
from logd_client._engine.cluster import Connection
from logd_client._transport.api import Stream
from logd_client._transport.methods import FETCH

logger = logging.getLogger("logd.client.consumer")


class FetchLink:
    """One stream. `account` names its credit; it says once when it broke."""

    def __init__(
        self,
        connection: Connection,
        account: str,
        config: FetchConfig,
        on_frames: Callable[[FetchLink, log_pb2.FetchResponse], None],
        on_broken: Callable[[FetchLink, LogdError], None],
    ) -> None:
        self.connection = connection
        self.account = account
        self.broken = False
        self._on_frames = on_frames
        self._on_broken = on_broken
        self._news = asyncio.Event()
        # What takes effect with the first message of the stream.
        self._request = log_pb2.FetchRequest(
            credit_bytes=config.window_bytes,
            min_bytes=config.min_bytes,
            max_wait_ms=config.max_wait_ms,
            partition_max_bytes=config.partition_max_bytes,
        )
        self._dirty = False
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"logd-client fetch {connection.address}"
        )

    def subscribe(self, wanted: Subscribe) -> None:
        self._request.add.add(
            subscription_id=wanted.subscription_id,
            topic_id=wanted.leader.topic_id,
            partition=wanted.partition,
            offset=wanted.offset,
            leader_epoch=wanted.leader.epoch,
        )
        self._changed()

    def unsubscribe(self, subscription_id: int) -> None:
        self._request.remove.append(subscription_id)
        self._changed()

    def grant(self, size: int) -> None:
        """Let the node send `size` bytes more."""
        self._request.credit_bytes += size
        self._changed()

    def _changed(self) -> None:
        self._dirty = True
        self._news.set()

    async def close(self) -> None:
        """End the stream."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        error: LogdError = NetworkError(
            "the fetch stream was closed", broker=self.connection.address
        )
        stream: Stream | None = None
        reader: asyncio.Task[None] | None = None
        try:
            stream = await self.connection.open_stream(FETCH)
            reader = asyncio.get_running_loop().create_task(
                self._read(stream), name=f"logd-client frames {self.connection.address}"
            )
            reader.add_done_callback(lambda _: self._news.set())
            await self._write(stream, reader)
            await reader
        except LogdError as problem:
            error = problem
            self.connection.doubt()
        finally:
            self.broken = True
            if reader is not None:
                # Also one that has failed: nobody may have looked at why.
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            if stream is not None:
                stream.cancel()
            self.connection.lost()
            self._on_broken(self, error)

    async def _write(self, stream: Stream, reader: asyncio.Task[None]) -> None:
        while not reader.done():
            if not self._dirty:
                self._news.clear()
                await self._news.wait()
                continue
            request, self._request = self._request, log_pb2.FetchRequest()
            self._dirty = False
            await stream.write(request)

    async def _read(self, stream: Stream) -> None:
        while (response := await stream.read()) is not None:
            assert isinstance(response, log_pb2.FetchResponse)
            self._on_frames(self, response)
        raise NetworkError("the node ended the fetch stream", broker=self.connection.address)
