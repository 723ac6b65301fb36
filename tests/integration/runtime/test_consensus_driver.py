"""The consensus driver over memory files, on a virtual clock: alone, and three of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import pytest
from logd_wire.errors import NetworkError, NotLeaderError, OutcomeUnknownError

from logd.consensus import Identity, Message, RaftTiming, Role, Voters
from logd.consensus.log_types import Voter
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.runtime import snapshot_taker
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.log_member import LogMember
from logd.runtime.peers import PeerAnswer, PeerCall, SnapshotChunk
from logd.runtime.raft_store import Found, RaftStore
from logd.storage import DataDirectory, MemoryFiles
from logd.testing.clock import SimClock
from logd.testing.disk import SimDisk
from logd.testing.loop import VirtualLoop
from logd.testing.rng import SimRng
from logd.testing.spawn import SimSpawn

CLUSTER = ClusterId(b"c" * 16)
TIMEOUT_MS = 2_000
VOTERS = b"voters:"


def on_virtual_time(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run(scenario(), limit_s=300)
    finally:
        loop.finish()


def voter(node: int) -> Voter:
    return Voter(NodeId(node), DirectoryId(bytes([node]) * 16), f"node:{node}")


def voters_payload(*nodes: int) -> bytes:
    return VOTERS + bytes(nodes)


def voters_of(payloads: Sequence[bytes]) -> Voters | None:
    if not payloads[0].startswith(VOTERS):
        return None
    return tuple(map(voter, payloads[0].removeprefix(VOTERS)))


class Words:
    """A state machine: all payloads, in order."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.roles: list[tuple[Role, int]] = []
        self.restored = 0

    def on_apply(self, index: LogIndex, term: Term, payloads: Sequence[bytes]) -> int:
        self.words += payloads
        return len(self.words)

    def on_applied(self, index: LogIndex) -> None:
        """The words say it all."""

    def on_role(self, role: Role, term: Term, leader_id: NodeId | None) -> None:
        self.roles.append((role, term))

    def snapshot(self) -> Callable[[], bytes]:
        return partial(b"\n".join, list(self.words))

    def restore(self, index: LogIndex, contents: bytes) -> None:
        self.restored = index
        self.words = contents.split(b"\n") if contents else []


class Way:
    """One node's transport: messages and chunks take a millisecond, between nodes not cut off."""

    def __init__(self, world: World, node: int) -> None:
        self._world = world
        self._node = node

    def send(self, message: Message) -> None:
        asyncio.get_running_loop().call_later(0.001, self._world.deliver, self._node, message)

    async def call(self, address: str, call: PeerCall, *, timeout_ms: int) -> PeerAnswer:
        await asyncio.sleep(0.001)
        target = int(address.partition(":")[2])
        assert isinstance(call, SnapshotChunk)
        if not self._world.connected(self._node, target):
            raise NetworkError("cut off")
        self._world.chunks += 1
        return await self._world.nodes[target].driver.take_chunk(call)


class Node:
    def __init__(self, world: World, number: int, files: MemoryFiles, *, founder: bool) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.files = files
        self.machine = Words()
        self.fatal: list[BaseException] = []
        rng = SimRng(f"{number}/{len(world.started)}")
        world.started.append(number)
        self.spawn = SimSpawn(loop, self.fatal.append)
        way: Any = Way(world, number)
        self.disk = SimDisk(loop, rng.child("disk"))
        self.driver = ConsensusDriver(
            member=LogMember(
                Identity(CLUSTER, NodeId(number), voter(number).directory_id),
                founder,
                voter(number).address,
                RaftTiming(),
            ),
            disk=self.disk,
            clock=SimClock(loop),
            rng=rng,
            open_store=self._open,
            machine=self.machine,
            on_fatal=self.fatal.append,
            transport=way,
            address_of=lambda node: voter(node).address,
        )

    def _open(self) -> tuple[RaftStore, Found]:
        return RaftStore.open(self.files, clean=False, now_ms=0, voters_of=voters_of)

    async def start(self) -> None:
        await self.driver.start(self.spawn)

    def kill(self) -> None:
        self.disk.kill()
        self.spawn.kill()
        self.files.crash(SimRng(self.number))

    async def say(self, word: bytes) -> int:
        result = (await self.driver.propose([word], timeout_ms=TIMEOUT_MS)).result
        assert isinstance(result, int)
        return result


class World:
    """Nodes that reach each other, except those that are cut off."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.cut: set[int] = set()
        self.started: list[int] = []
        self.chunks = 0

    def connected(self, one: int, other: int) -> bool:
        return not self.cut.intersection((one, other))

    def deliver(self, sender: int, message: Message) -> None:
        target = self.nodes.get(message.to)
        if target is not None and self.connected(sender, message.to):
            target.driver.on_message(message)

    async def start(self, number: int, *, founder: bool = False) -> Node:
        files = self.nodes[number].files if number in self.nodes else new_files()
        node = self.nodes[number] = Node(self, number, files, founder=founder)
        await node.start()
        return node

    async def of_three(self) -> None:
        """Node 1 begins, 2 and 3 follow and vote."""
        first = await self.start(1, founder=True)
        await first.driver.wait_caught_up()
        await self.start(2)
        await self.start(3)
        first.driver.set_observers([NodeId(2), NodeId(3)])
        for nodes in ((1, 2), (1, 2, 3)):
            payload = voters_payload(*nodes)
            change = tuple(map(voter, nodes))
            await first.driver.propose_voters(change, payload, timeout_ms=TIMEOUT_MS)

    def leader(self) -> Node | None:
        leading = [each for each in self.nodes.values() if each.driver.leads]
        return max(leading, key=lambda each: each.driver.term, default=None)

    async def new_leader(self, old: Node) -> Node:
        while (found := self.leader()) in (None, old):
            await asyncio.sleep(0.01)
        assert found is not None
        return found

    async def agree(self) -> None:
        """Wait until all have applied the same."""
        while len({tuple(each.machine.words) for each in self.nodes.values()}) > 1:
            await asyncio.sleep(0.01)


def new_files() -> MemoryFiles:
    files = MemoryFiles()
    DataDirectory.open_or_create(
        files, node_id=1, cluster_id=CLUSTER, new_ids=lambda: b"d" * 16
    ).close(clean=False)
    return files


def test_a_single_voter_leads_at_once_and_keeps_what_it_said() -> None:
    async def scenario() -> None:
        world = World()
        node = await world.start(1, founder=True)
        await node.driver.wait_caught_up()
        assert asyncio.get_running_loop().time() < 0.1
        assert [await node.say(word) for word in (b"one", b"two")] == [1, 2]
        assert await node.driver.read_barrier(timeout_ms=TIMEOUT_MS) == node.driver.applied_index
        await node.driver.close(clean=True)
        again = await world.start(1, founder=True)
        await again.driver.wait_caught_up()
        assert again.machine.words == [b"one", b"two"]
        assert again.driver.term == 2

    on_virtual_time(scenario)


def test_snapshots_come_by_themselves_and_are_what_a_start_begins_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_taker, "SNAPSHOT_ENTRIES", 10)

    async def scenario() -> None:
        world = World()
        node = await world.start(1, founder=True)
        await node.driver.wait_caught_up()
        words = [b"word %d" % number for number in range(300)]
        for word in words:
            await node.say(word)
        status = node.driver.status()
        assert 100 <= status.snapshot_point.index <= 301
        node.kill()
        again = await world.start(1, founder=True)
        await again.driver.wait_caught_up()
        assert again.machine.restored >= 100
        assert again.machine.words == words

    on_virtual_time(scenario)


def test_what_was_said_is_with_a_majority_when_the_leader_dies() -> None:
    async def scenario() -> None:
        world = World()
        await world.of_three()
        first = world.nodes[1]
        assert await first.say(b"kept") == 3
        first.kill()
        del world.nodes[1]
        second = await world.new_leader(first)
        assert second.machine.words[-1] == b"kept"
        assert await second.say(b"more") == 4
        await world.agree()

    on_virtual_time(scenario)


def test_proposals_of_a_leader_that_was_cut_off_have_an_unknown_outcome() -> None:
    async def scenario() -> None:
        world = World()
        await world.of_three()
        first = world.nodes[1]
        world.cut.add(1)
        doomed = asyncio.ensure_future(first.say(b"doomed"))
        read = asyncio.ensure_future(first.driver.read_barrier(timeout_ms=TIMEOUT_MS))
        second = await world.new_leader(first)
        await second.say(b"kept")
        with pytest.raises(OutcomeUnknownError):
            await doomed
        with pytest.raises((NotLeaderError, OutcomeUnknownError)):
            await read
        assert (Role.LEADER, 1) in first.machine.roles
        assert first.driver.role is not Role.LEADER
        world.cut.clear()
        await world.agree()
        assert b"doomed" not in first.machine.words

    on_virtual_time(scenario)


def test_leadership_is_handed_over_when_asked_for() -> None:
    async def scenario() -> None:
        world = World()
        await world.of_three()
        first = world.nodes[1]
        began = asyncio.get_running_loop().time()
        first.driver.transfer(NodeId(3))
        assert await world.new_leader(first) is world.nodes[3]
        assert asyncio.get_running_loop().time() - began < 0.3, "nobody waited for a timeout"

    on_virtual_time(scenario)


def test_a_node_that_is_far_behind_begins_from_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_taker, "SNAPSHOT_ENTRIES", 10)

    async def scenario() -> None:
        world = World()
        await world.of_three()
        world.nodes[3].kill()
        world.cut.add(3)
        for number in range(40):
            await world.nodes[1].say(b"word %d" % number)
        world.cut.clear()
        third = await world.start(3)
        await third.driver.wait_caught_up()
        await world.agree()
        assert third.machine.restored > 10
        assert world.chunks >= 2
        # The snapshot is durable, and so are the voters in it.
        third.kill()
        third = await world.start(3)
        assert [each.node_id for each in third.driver.voters] == [1, 2, 3]
        await world.agree()

    on_virtual_time(scenario)


def test_a_full_disk_silences_a_leader_until_there_is_room() -> None:
    async def scenario() -> None:
        world = World()
        await world.of_three()
        first = world.nodes[1]
        first.files.unlink("raft/reserve")
        first.files.capacity -= first.files.free_bytes()
        with pytest.raises(OutcomeUnknownError):
            await first.say(b"x" * 10_000)
        second = await world.new_leader(first)
        assert first.driver.role is not Role.LEADER
        await second.say(b"meanwhile")
        assert not first.fatal
        first.files.capacity = 1 << 40
        await world.agree()

    on_virtual_time(scenario)


def test_a_full_disk_holds_no_stop_up() -> None:
    async def scenario() -> None:
        world = World()
        node = await world.start(1, founder=True)
        await node.driver.wait_caught_up()
        node.files.unlink("raft/reserve")
        node.files.capacity -= node.files.free_bytes()
        waiting = asyncio.ensure_future(node.say(b"x" * 10_000))
        await asyncio.sleep(0.5)
        await node.driver.close(clean=True)
        with pytest.raises(OutcomeUnknownError):
            await waiting

    on_virtual_time(scenario)


def test_an_error_of_the_disk_is_fatal_and_told() -> None:
    async def scenario() -> None:
        world = World()
        node = await world.start(1, founder=True)
        await node.driver.wait_caught_up()
        node.files.sync_fails = lambda path: path.endswith(".log")
        with pytest.raises(OutcomeUnknownError):
            await node.say(b"lost")
        assert isinstance(node.fatal[0], OSError)

    on_virtual_time(scenario)


def test_a_start_that_cannot_write_says_so() -> None:
    async def scenario() -> None:
        world = World()
        node = world.nodes[1] = Node(world, 1, new_files(), founder=True)
        node.files.sync_fails = lambda path: path.endswith("hard-state.tmp")
        await node.start()
        with pytest.raises(Exception, match="could not be written at the start"):
            await node.driver.wait_caught_up()
        assert node.fatal

    on_virtual_time(scenario)
