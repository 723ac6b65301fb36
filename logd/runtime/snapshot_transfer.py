"""Snapshots on their way from a leader to a node that needs entries which are no longer there.

    sender                            receiver
    chunk at 0, empty         ───▶
                              ◀───    position wanted: what it has of this snapshot already
    chunk at that position    ───▶    written, not synced
                              ◀───    position wanted
    ...
    last chunk                ───▶    synced, checked
                              ◀───    size: complete
    InstallSnapshot (by the stream of messages)

One chunk is under way at a time, and each peer has one transfer: heartbeats go beside it. A
receiver that finds the whole damaged wants it from 0 again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from logd_wire.errors import LogdError, OverloadedError, StorageFailedError, StorageFullError

from logd.consensus.log_types import SnapshotMeta
from logd.consensus.messages import InstallSnapshot, Message
from logd.model.ids import NodeId
from logd.runtime.peers import ChunkTaken, PeerTransport, SnapshotChunk
from logd.runtime.ports import Disk, Spawn, Task
from logd.runtime.snapshots import Snapshot, SnapshotFolder
from logd.storage import is_no_space

_logger = logging.getLogger("logd.consensus")

CHUNK_BYTES: Final = 1024 * 1024
#: How long the answer to one chunk may take.
CHUNK_TIMEOUT_MS: Final = 30_000
#: So often the receiver may want to begin again before the transfer is given up.
RESTARTS_MAX: Final = 3

#: Told of every transfer: the message that asked for it, and whether the snapshot is there now.
OnDelivery = Callable[[Message, bool], None]


class SnapshotSender:
    """Transfers snapshots; at most one to each peer."""

    def __init__(
        self,
        transport: PeerTransport | None,
        folder: SnapshotFolder,
        disk: Disk,
        spawn: Spawn,
        on_delivery: OnDelivery,
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._disk = disk
        self._spawn = spawn
        self._on_delivery = on_delivery
        self._under_way: dict[NodeId, Task] = {}

    def begin(self, message: Message, address: str) -> None:
        """Bring the contents of an InstallSnapshot to its receiver; `on_delivery` follows.

        While a transfer to the same peer is under way, nothing.
        """
        if message.to not in self._under_way:
            task = self._spawn(self._run(message, address), f"snapshot to {message.to}")
            self._under_way[message.to] = task

    async def _run(self, message: Message, address: str) -> None:
        body = message.body
        assert isinstance(body, InstallSnapshot)
        delivered = False
        try:
            await self._transfer(body, address)
            delivered = True
            _logger.info("node %d has the snapshot at %d", message.to, body.snapshot.point.index)
        except (LogdError, OSError) as error:
            _logger.warning("the snapshot did not reach node %d: %s", message.to, error)
        finally:
            del self._under_way[message.to]
        self._on_delivery(message, delivered)

    async def _transfer(self, body: InstallSnapshot, address: str) -> None:
        point = body.snapshot.point
        size = await self._disk.read(partial(self._folder.size_of, point))
        position = await self._chunk(body, address, 0, size, b"")
        restarts = 0
        while position < size:
            data = await self._disk.read(
                partial(self._folder.read_part, point, position, CHUNK_BYTES)
            )
            wanted = await self._chunk(body, address, position, size, data)
            if wanted <= position:
                restarts += 1
                if restarts > RESTARTS_MAX:
                    raise StorageFailedError("the receiver does not get on with it")
            position = wanted

    async def _chunk(
        self, body: InstallSnapshot, address: str, position: int, size: int, data: bytes
    ) -> int:
        assert self._transport is not None, "without peers there is nobody to send to"
        answer = await self._transport.call(
            address,
            SnapshotChunk(body.term, body.snapshot, position, size, data),
            timeout_ms=CHUNK_TIMEOUT_MS,
        )
        assert isinstance(answer, ChunkTaken), "the transport matches answers to calls"
        return answer.position

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way.values():
            task.cancel()


class SnapshotReceiver:
    """Takes in one snapshot at a time, from whoever sends it."""

    def __init__(self, folder: SnapshotFolder, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._lock = asyncio.Lock()
        self._whole: Snapshot | None = None
        self._held = False

    def hold(self) -> None:
        """Keep what is here, whatever is sent: the log is about to begin from it."""
        self._held = True

    def release(self) -> None:
        """Nothing begins from it, or it has."""
        self._held = False

    def has(self, meta: SnapshotMeta) -> bool:
        """Whether all of this snapshot is here, durable and checked."""
        return self._whole is not None and self._whole.meta == meta

    def take_over(self, meta: SnapshotMeta) -> Snapshot:
        """Hand over a snapshot that is here; it was installed."""
        whole, self._whole = self._whole, None
        self._held = False
        assert whole is not None and whole.meta == meta, "it was here when it was asked for"
        return whole

    async def take(self, chunk: SnapshotChunk) -> ChunkTaken:
        """Keep a chunk. Raises StorageFullError, and OSError after which the disk is not to be
        trusted."""
        async with self._lock:
            if self.has(chunk.snapshot):
                return ChunkTaken(chunk.size_bytes)
            if self._held:
                raise OverloadedError("another snapshot is being installed", hint="try again")
            # Its file makes way for the one that comes now.
            self._whole = None
            point = chunk.snapshot.point
            try:
                position = await self._disk.write(
                    partial(self._folder.receive, point, chunk.position, chunk.data)
                )
                if position < chunk.size_bytes:
                    return ChunkTaken(position)
                finish = partial(self._folder.finish_received, chunk.snapshot)
                self._whole = await self._disk.write(finish)
            except StorageFailedError as error:
                _logger.warning("a received snapshot is asked for again: %s", error)
                return ChunkTaken(0)
            except OSError as error:
                if not is_no_space(error):
                    raise
                raise StorageFullError("no space for the snapshot of the metadata") from error
            return ChunkTaken(chunk.size_bytes)
