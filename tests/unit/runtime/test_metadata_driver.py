"""Commands, committed images, callers that give up half-way, and leaders elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NetworkError,
    NotLeaderError,
    OutcomeUnknownError,
    StorageFullError,
    TopicExistsError,
    UnknownTopicError,
)

from logd.consensus import Committed, Role
from logd.consensus.log_types import Voters
from logd.metadata import (
    AllocateProducerIds,
    AlterTopic,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    FormCluster,
    MetadataMachine,
    MetadataSettings,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    TransferLeader,
    UnfenceNode,
)
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term, TopicId
from logd.runtime.adapters import TaskSpawn
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.peers import Submitted
from tests.support.loops import settle

NODE = NodeId(1)
TOPIC = TopicId(b"t" * 16)
REQUEST = b"r" * 16
INCARNATION = b"i" * 16


class ManualConsensus:
    """Takes proposals; commits them when the test says so."""

    def __init__(self) -> None:
        self.proposed: list[tuple[int, Sequence[bytes], asyncio.Future[Committed]]] = []
        self.refuse: Exception | None = None
        self.role = Role.LEADER
        self.leads = True
        self.leader_id: NodeId | None = NODE
        self.term = Term(1)
        self.applied_index = LogIndex(0)
        self.end_index = 0
        self.barriers = 0
        self._reached: list[tuple[int, asyncio.Future[None]]] = []

    async def propose(self, payloads: Sequence[bytes], *, timeout_ms: int) -> Committed:
        if self.refuse is not None:
            raise self.refuse
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.proposed.append((self.end_index, payloads, future))
        self.end_index += len(payloads)
        return await future

    async def propose_voters(self, voters: Voters, payload: bytes, *, timeout_ms: int) -> Committed:
        return await self.propose([payload], timeout_ms=timeout_ms)

    async def read_barrier(self, *, timeout_ms: int, patience_ms: int = 0) -> LogIndex:
        self.barriers += 1
        return self.applied_index

    async def wait_applied(self, index: LogIndex, *, timeout_ms: float) -> None:
        while self.applied_index < index:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._reached.append((index, future))
            await future

    def apply_to(self, index: int) -> None:
        self.applied_index = LogIndex(index)
        for _, future in self._reached:
            if not future.done():
                future.set_result(None)
        self._reached.clear()


class OtherLeader:
    """A leader elsewhere: answers with what the test has put there."""

    def __init__(self) -> None:
        self.answers: list[Submitted | LogdError] = []
        self.asked: list[tuple[Command, bool]] = []

    async def submit(self, command: Command, *, once: bool, timeout_ms: int) -> Submitted:
        self.asked.append((command, once))
        answer = self.answers.pop(0)
        if isinstance(answer, LogdError):
            raise answer
        return answer


class World:
    def __init__(self) -> None:
        self.consensus = ManualConsensus()
        self.other = OtherLeader()
        self.followed: list[ClusterImage] = []
        self.follow_error: Exception | None = None
        self.fatal: list[BaseException] = []
        clock: Any = SimpleNamespace(
            wall_ms=lambda: 0, monotonic_ms=lambda: 0, sleep_ms=lambda _ms: settle(1)
        )
        self.driver = MetadataDriver(
            machine=MetadataMachine(MetadataSettings()), clock=clock, follow=self._follow
        )
        self.spawn = TaskSpawn(self.fatal.append)
        consensus: Any = self.consensus
        self.driver.start(consensus, self.other)
        self.driver.begin_to_follow(self.spawn)

    async def _follow(self, _before: ClusterImage, after: ClusterImage) -> None:
        if self.follow_error is not None:
            error, self.follow_error = self.follow_error, None
            raise error
        self.followed.append(after)

    async def submit(self, command: Command) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(self.driver.submit(command))
        await settle(4)
        return task

    def commit(self) -> None:
        index, payloads, future = self.consensus.proposed.pop(0)
        self.driver.on_apply(LogIndex(index), Term(1), payloads)
        self.driver.on_applied(LogIndex(index + len(payloads)))
        self.consensus.apply_to(index + len(payloads))
        if not future.done():
            future.set_result(Committed(LogIndex(index), Term(1), None))

    async def done(self, command: Command) -> Any:
        task = await self.submit(command)
        if not task.done():
            self.commit()
        return await task

    def lose_leadership(self) -> None:
        """What was proposed is not answered any more, as the consensus driver does it."""
        self.consensus.role, self.consensus.leads = Role.FOLLOWER, False
        for _, _, future in self.consensus.proposed:
            if not future.done():
                future.set_exception(OutcomeUnknownError("leadership was lost"))
        self.driver.on_role(Role.FOLLOWER, Term(2), None)

    def win_leadership(self) -> None:
        self.consensus.role, self.consensus.leads = Role.LEADER, True
        self.consensus.proposed.clear()
        self.driver.on_role(Role.LEADER, Term(3), NODE)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.done(FormCluster(ClusterId(b"c" * 16)))
    await made.done(RegisterNode(NODE, DirectoryId(b"d" * 16), INCARNATION, "localhost:1"))
    await made.done(UnfenceNode(NODE, INCARNATION))
    yield made
    await made.spawn.cancel_all()
    assert made.fatal == []


def create(name: str, number: int = 1) -> CreateTopic:
    return CreateTopic(TopicId(bytes([number]) * 16), name)


async def test_a_reply_waits_for_the_commit_and_for_the_node_to_follow(world: World) -> None:
    world.follow_error = StorageFullError("the disk is full")
    task = await world.submit(create("orders"))
    assert "orders" not in world.driver.image.topic_ids
    world.commit()
    assert "orders" in world.driver.image.topic_ids
    topic = await task
    assert topic.name == "orders"
    assert world.followed[-1] is world.driver.image, "tried again after the error"


async def test_a_command_is_judged_against_what_is_on_its_way(world: World) -> None:
    first = await world.submit(create("orders", 1))
    second = await world.submit(create("orders", 2))
    assert not second.done(), "what it was judged against is not committed"
    world.commit()
    with pytest.raises(TopicExistsError):
        await second
    await first


async def test_a_refusal_that_stood_on_what_was_lost_is_none(world: World) -> None:
    first = await world.submit(create("orders", 1))
    second = await world.submit(create("orders", 2))
    world.lose_leadership()
    topic = world.driver.image.topics
    assert not topic
    world.win_leadership()
    await settle(8)
    # The first is asked for again, too: it may be sent twice.
    names = [len(payloads) for _, payloads, _ in world.consensus.proposed]
    assert names == [1], "one of the two was proposed anew, the other is judged against it"
    world.commit()
    done = await asyncio.gather(first, second, return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["TopicExistsError", "TopicImage"]


async def test_a_caller_that_gives_up_takes_nothing_back(world: World) -> None:
    abandoned = [await world.submit(AllocateProducerIds(NODE)) for _ in range(2)]
    for task in abandoned:
        task.cancel()
    await settle()
    world.commit()
    third = await world.submit(AllocateProducerIds(NODE))
    world.commit()
    world.commit()
    assert (await third).first_id == 2_000, "the second block, still on its way, was not forgotten"


async def test_what_was_refused_leaves_no_trace(world: World) -> None:
    world.consensus.refuse = InvalidRequestError("too large")
    task = await world.submit(create("orders"))
    with pytest.raises(InvalidRequestError):
        await task
    world.consensus.refuse = None
    assert (await world.done(create("orders", 2))).name == "orders"


async def test_lost_leadership_forgets_what_was_not_committed(world: World) -> None:
    await world.done(create("orders"))
    lost = await world.submit(DeleteTopic("orders"))
    world.lose_leadership()
    with pytest.raises(OutcomeUnknownError):
        await lost
    world.win_leadership()
    again = await world.submit(DeleteTopic("orders"))
    assert not again.done(), "it was proposed anew, not refused for want of the topic"
    world.commit()
    await again


async def test_one_follow_serves_everybody_up_to_it(world: World) -> None:
    tasks = [await world.submit(create(f"topic-{number}", number + 1)) for number in range(5)]
    for _ in tasks:
        world.commit()
    names = [(await task).name for task in tasks]
    assert names == [f"topic-{number}" for number in range(5)]
    assert (await world.done(DeleteTopic("topic-3"))).name == "topic-3"


async def test_a_snapshot_brings_the_same_image(world: World) -> None:
    await world.done(create("orders"))
    contents = world.driver.snapshot()()
    other = World()
    other.driver.restore(LogIndex(7), contents)
    assert other.driver.image == world.driver.image
    assert (await other.done(create("more", 2))).name == "more"
    await other.spawn.cancel_all()


# --- another node leads --------------------------------------------------------------------------


def follow_another(world: World) -> None:
    world.lose_leadership()
    world.consensus.leader_id = NodeId(2)


async def test_a_command_goes_to_the_leader_and_is_answered_when_it_is_seen_here(
    world: World,
) -> None:
    follow_another(world)
    topic: Any = SimpleNamespace(name="orders")
    index = world.consensus.applied_index + 5
    world.other.answers = [Submitted(topic, LogIndex(index))]
    task = await world.submit(create("orders"))
    assert not task.done(), "this node has not applied it"
    world.consensus.apply_to(index)
    assert (await task) is topic


async def test_a_node_that_did_not_lead_is_left_for_the_next(world: World) -> None:
    follow_another(world)
    not_leader = NotLeaderError("not I", code=ErrorCode.NOT_CONTROLLER)
    topic: Any = SimpleNamespace(name="orders")
    world.other.answers = [not_leader, not_leader, Submitted(topic, LogIndex(0))]
    task = await world.submit(DeleteTopic("orders"))
    while not task.done():
        world.driver.on_role(Role.FOLLOWER, Term(3), NodeId(3))
        await settle()
    assert (await task) is topic
    assert len(world.other.asked) == 3


async def test_after_an_unknown_outcome_only_what_is_done_once_is_sent_again(world: World) -> None:
    follow_another(world)
    topic: Any = SimpleNamespace(name="orders")
    world.other.answers = [NetworkError("broken"), Submitted(topic, LogIndex(0))]
    task = await world.submit(create("orders"))
    world.driver.on_role(Role.FOLLOWER, Term(3), NodeId(3))
    assert (await task) is topic
    world.other.answers = [NetworkError("broken")]
    with pytest.raises(OutcomeUnknownError):
        await (await world.submit(DeleteTopic("orders")))
    assert [once for _, once in world.other.asked] == [True, True, False]
    world.other.answers = [NetworkError("broken"), Submitted(topic, LogIndex(0))]
    known = DeleteTopic("orders", b"r" * 16)
    task = await world.submit(known)
    world.driver.on_role(Role.FOLLOWER, Term(3), NodeId(2))
    assert (await task) is topic
    assert world.other.asked[-2:] == [(known, True)] * 2


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        (AlterTopic("t", request_id=REQUEST), AlterTopic("t")),
        (TransferLeader(TOPIC, 0, NODE, REQUEST), TransferLeader(TOPIC, 0, NODE)),
        (ReassignPartition(TOPIC, 0, None, REQUEST), ReassignPartition(TOPIC, 0, None)),
        (RemoveNode(NODE, DirectoryId(REQUEST)), RemoveNode(NODE)),
        (ReplaceNode(NODE, DirectoryId(REQUEST)), ReplaceNode(NODE)),
    ],
)
async def test_a_change_is_sent_again_where_it_is_known_again(
    world: World, known: Any, unknown: Any
) -> None:
    follow_another(world)
    reply: Any = SimpleNamespace(done=False)
    world.other.answers = [NetworkError("broken"), Submitted(reply, LogIndex(0))]
    task = await world.submit(known)
    world.driver.on_role(Role.FOLLOWER, Term(3), NodeId(2))
    assert (await task) is reply
    assert world.other.asked == [(known, True)] * 2
    world.other.answers = [NetworkError("broken")]
    with pytest.raises(OutcomeUnknownError):
        await (await world.submit(unknown))
    assert world.other.asked[2:] == [(unknown, False)]


async def test_a_refusal_of_the_leader_is_the_answer(world: World) -> None:
    follow_another(world)
    world.other.answers = [UnknownTopicError("there is none", retriable=False)]
    with pytest.raises(UnknownTopicError):
        await (await world.submit(DeleteTopic("orders")))


async def test_a_leader_that_has_not_caught_up_decides_nothing(world: World) -> None:
    world.consensus.leads = False
    task = await world.submit(create("orders"))
    assert not world.consensus.proposed
    world.consensus.leads = True
    world.driver.on_role(Role.LEADER, Term(1), NODE)
    await settle()
    world.commit()
    assert (await task).name == "orders"
