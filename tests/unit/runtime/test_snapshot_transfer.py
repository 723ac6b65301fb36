"""A snapshot from one node's folder to another's, over a way that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from logd_wire.errors import NetworkError, OverloadedError, StorageFullError

from logd.consensus.log_types import LogPoint, SnapshotMeta, Voter
from logd.consensus.messages import InstallSnapshot, Message
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term
from logd.runtime.adapters import TaskSpawn
from logd.runtime.peers import ChunkTaken, SnapshotChunk
from logd.runtime.snapshot_transfer import SnapshotReceiver, SnapshotSender
from logd.runtime.snapshots import Snapshot, SnapshotFolder, encode_snapshot
from logd.storage import MemoryFiles
from tests.support.loops import settle

T = TypeVar("T")
VOTERS = (Voter(NodeId(1), DirectoryId(b"d" * 16), "one:1"),)


def snapshot(index: int, size: int = 5_000_000) -> Snapshot:
    meta = SnapshotMeta(LogPoint(Term(2), LogIndex(index)), VOTERS)
    return Snapshot(meta, index.to_bytes(4, "big") * (size // 4))


class InlineDisk:
    """Runs everything at once."""

    def _run(self, work: Callable[[], T]) -> Awaitable[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

    write = sync = read = _run

    async def close(self) -> None:
        """Nothing to wait for."""


class Way:
    """The transport between the two; `faults` are raised in turn, None lets a chunk through."""

    def __init__(self, receiver: SnapshotReceiver) -> None:
        self.receiver = receiver
        self.chunks: list[SnapshotChunk] = []
        self.faults: list[Exception | None] = []
        self.spoil: Callable[[bytes], bytes] = lambda data: data

    async def call(self, _address: str, chunk: SnapshotChunk, *, timeout_ms: int) -> ChunkTaken:
        self.chunks.append(chunk)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        await asyncio.sleep(0)
        data = self.spoil(chunk.data)
        return await self.receiver.take(
            SnapshotChunk(chunk.term, chunk.snapshot, chunk.position, chunk.size_bytes, data)
        )


def new_folder() -> SnapshotFolder:
    files = MemoryFiles()
    files.make_dir("raft")
    return SnapshotFolder(files)


class World:
    def __init__(self, sent: Snapshot) -> None:
        disk: Any = InlineDisk()
        self.target = new_folder()
        self.receiver = SnapshotReceiver(self.target, disk)
        self.way = Way(self.receiver)
        self.outcomes: list[tuple[NodeId, bool]] = []
        source = new_folder()
        source.publish(sent.meta.point, source.write(sent))
        self.fatal: list[BaseException] = []
        way: Any = self.way
        self.sender = SnapshotSender(
            way,
            source,
            disk,
            TaskSpawn(self.fatal.append),
            lambda message, done: self.outcomes.append((message.to, done)),
        )
        self.message = Message(
            NodeId(1), DirectoryId(b"d" * 16), NodeId(2), InstallSnapshot(Term(3), sent.meta)
        )

    async def transfer(self) -> None:
        before = len(self.outcomes)
        self.sender.begin(self.message, "two:1")
        while len(self.outcomes) == before:
            await settle()
        assert not self.fatal


async def test_it_arrives_in_chunks() -> None:
    sent = snapshot(10)
    world = World(sent)
    await world.transfer()
    assert world.outcomes == [(2, True)]
    sizes = [len(chunk.data) for chunk in world.way.chunks]
    assert sizes[0] == 0, "first it is asked what is there"
    assert max(sizes) == 1024 * 1024
    assert sum(sizes) == len(encode_snapshot(sent))
    assert world.receiver.has(sent.meta)
    world.target.install_received(sent.meta.point)
    assert world.target.newest() == world.receiver.take_over(sent.meta) == sent


async def test_it_goes_on_where_it_broke_off() -> None:
    sent = snapshot(10)
    world = World(sent)
    world.way.faults = [None, None, None, NetworkError("broken")]
    await world.transfer()
    assert world.outcomes == [(2, False)]
    first = len(world.way.chunks)
    await world.transfer()
    assert world.outcomes == [(2, False), (2, True)]
    again = world.way.chunks[first:]
    assert [chunk.position for chunk in again[:2]] == [0, 2 * 1024 * 1024]
    assert not again[0].data
    await world.transfer()
    assert len(world.way.chunks) == first + len(again) + 1, "what is there is not sent again"


async def test_what_was_spoilt_is_sent_again_and_not_for_ever() -> None:
    world = World(snapshot(10, 100))
    spoilt = [0]

    def spoil(data: bytes) -> bytes:
        if data and spoilt[0] < 2:
            spoilt[0] += 1
            return b"X" + data[1:]
        return data

    world.way.spoil = spoil
    await world.transfer()
    assert world.outcomes == [(2, True)]
    hopeless = World(snapshot(10, 100))
    hopeless.way.spoil = lambda data: data and b"X" + data[1:]
    await hopeless.transfer()
    assert hopeless.outcomes == [(2, False)]


async def test_one_transfer_to_a_peer_at_a_time() -> None:
    world = World(snapshot(10, 100))
    world.sender.begin(world.message, "two:1")
    world.sender.begin(world.message, "two:1")
    await settle(50)
    assert world.outcomes == [(2, True)]


async def test_a_newer_snapshot_takes_the_place_of_one_that_did_not_arrive() -> None:
    world = World(snapshot(10))
    world.way.faults = [None, None, NetworkError("broken")]
    await world.transfer()
    newer = World(snapshot(20, 100))
    newer.way.receiver = world.receiver
    await newer.transfer()
    assert newer.outcomes == [(2, True)]
    assert world.receiver.has(snapshot(20, 100).meta)


async def test_what_is_being_installed_is_not_touched() -> None:
    world = World(snapshot(10, 100))
    await world.transfer()
    world.receiver.hold()
    newer = SnapshotChunk(Term(3), snapshot(20).meta, 0, 100, b"")
    with pytest.raises(OverloadedError):
        await world.receiver.take(newer)
    world.receiver.release()
    assert (await world.receiver.take(newer)).position == 0
    assert not world.receiver.has(snapshot(10, 100).meta), "its file is gone"


async def test_a_full_disk_is_told_and_no_disaster() -> None:
    world = World(snapshot(10))
    files: Any = world.target
    files._files.capacity = 1_000_000
    with pytest.raises(StorageFullError):
        await world.receiver.take(
            SnapshotChunk(Term(3), snapshot(10).meta, 0, 5_000_000, b"x" * 2_000_000)
        )
    await world.transfer()
    assert world.outcomes == [(2, False)]
