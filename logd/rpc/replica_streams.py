"""Both ends of a stream of replicas, over any `Transport` of the client.

Each has a connection of its own: bulk data delays no heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from logd_client._transport.api import Channel
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import InvalidRequestError, NetworkError

from logd.rpc.api import ServerStream
from logd.rpc.peer_codec import REPLICATE, Route
from logd.rpc.peer_link import is_cancelled
from logd.rpc.peer_values import malformed
from logd.rpc.replica_codec import (
    FRAME_PARTITIONS_MAX,
    decode_chunks,
    decode_positions,
    decode_replica_introduction,
    encode_chunks,
    encode_positions,
    introduce,
)
from logd.runtime.replica_frames import ReplicaChunk, ReplicaPosition


class PeerReplicaStream:
    """Implements `ReplicaStream`; the channel is closed with it."""

    def __init__(self, route: Route, channel: Channel) -> None:
        self._route = route
        self._channel = channel
        self._stream = channel.stream(REPLICATE)
        self._introduced = False

    async def write(self, positions: Sequence[ReplicaPosition]) -> None:
        for first in range(0, len(positions), FRAME_PARTITIONS_MAX):
            frame = encode_positions(positions[first : first + FRAME_PARTITIONS_MAX])
            if not self._introduced:
                self._introduced = True
                introduce(frame, self._route)
            try:
                await self._stream.write(frame)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise self._closed() from None

    async def read(self) -> Sequence[ReplicaChunk] | None:
        try:
            frame = await self._stream.read()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise self._closed() from None
        if frame is None:
            return None
        assert isinstance(frame, pb.ReplicateResponse)
        address = self._channel.address
        try:
            return decode_chunks(frame, broker=address)
        except InvalidRequestError as error:
            raise NetworkError(error.message, hint=error.hint, broker=address) from None

    def _closed(self) -> NetworkError:
        return NetworkError("the connection was closed", broker=self._channel.address)

    async def close(self) -> None:
        self._stream.cancel()
        await self._channel.close()


class PeerReplicaSource:
    """Implements `ReplicaSource` over the node's end of a stream."""

    def __init__(self, stream: ServerStream) -> None:
        self._stream = stream
        self._first: pb.ReplicateRequest | None = None

    async def begin(self) -> Route | None:
        """Who speaks; None: the stream ended before anybody did."""
        frame = await self._stream.read()
        if frame is None:
            return None
        assert isinstance(frame, pb.ReplicateRequest)
        self._first = frame
        return decode_replica_introduction(frame)

    async def read(self) -> Sequence[ReplicaPosition] | None:
        first, self._first = self._first, None
        if first is not None:
            return decode_positions(first)
        frame = await self._stream.read()
        if frame is None:
            return None
        assert isinstance(frame, pb.ReplicateRequest)
        if frame.HasField("sender"):
            malformed("a stream with a second sender")
        return decode_positions(frame)

    async def write(self, chunks: Sequence[ReplicaChunk]) -> None:
        await self._stream.write(encode_chunks(chunks))
