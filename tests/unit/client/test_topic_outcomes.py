"""What is asked of the controller is done once, whatever becomes of the answers."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import pytest
from google.protobuf.message import Message
from logd_client._engine.admin import AdminEngine
from logd_client._transport import methods
from logd_proto.v1 import admin_pb2
from logd_wire.errors import (
    BootstrapError,
    ErrorCode,
    LogdError,
    NetworkError,
    NotLeaderError,
    OutcomeUnknownError,
    ShuttingDownError,
    TimeoutError,
    TopicExistsError,
    UnknownTopicError,
)

from tests.unit.client.harness import World, run
from tests.unit.client.memory_cluster import MemoryCluster

ALL = ("n1:7171", "n2:7171", "n3:7171")


class Topics:
    """What the cluster has decided, by the ids that requests carry."""

    def __init__(self) -> None:
        self.topics: dict[str, bytes] = {}
        self.deletions: dict[bytes, bytes] = {}
        self.changes: dict[bytes, int] = {}
        self.asked: list[bytes] = []
        #: What becomes of the next requests; then all goes well.
        self.fates: list[str] = []

    def create(self, _address: str, request: Any) -> Message:
        self.asked.append(request.topic_id)

        def decide() -> Message:
            if self.topics.setdefault(request.name, request.topic_id) != request.topic_id:
                raise TopicExistsError(f"topic {request.name} exists")
            topic = admin_pb2.TopicDescription(name=request.name, topic_id=request.topic_id)
            return admin_pb2.CreateTopicResponse(topic=topic)

        return self._meet(decide)

    def delete(self, _address: str, request: Any) -> Message:
        self.asked.append(request.request_id)

        def decide() -> Message:
            if request.request_id not in self.deletions:
                if request.name not in self.topics:
                    raise UnknownTopicError(f"no topic {request.name}", retriable=False)
                self.deletions[request.request_id] = self.topics.pop(request.name)
            return admin_pb2.DeleteTopicResponse(topic_id=self.deletions[request.request_id])

        return self._meet(decide)

    def change(self, _address: str, request: Any) -> Message:
        """An alteration, or a move of a leadership or of replicas."""
        parts = getattr(request, "partitions", ())
        wanted = [request] if isinstance(parts, int | tuple) else list(parts)
        self.asked += [each.request_id for each in wanted]

        def decide() -> Message:
            for each in wanted:
                self.changes[each.request_id] = self.changes.get(each.request_id, 0) + 1
            return ANSWERS[type(request)]

        return self._meet(decide)

    def _meet(self, decide: Callable[[], Message]) -> Message:
        fate = self.fates.pop(0) if self.fates else "answered"
        if fate in BEFORE:
            raise BEFORE[fate]()
        answer = decide()
        if fate in AFTER:
            raise AFTER[fate]()
        return answer


BEFORE: Final[dict[str, Callable[[], LogdError]]] = {
    "lost": lambda: NetworkError("reset"),
    "silent": lambda: TimeoutError("no answer"),
    "no controller": lambda: NotLeaderError("not I", code=ErrorCode.NOT_CONTROLLER),
    "stopping": lambda: ShuttingDownError("stopping"),
}
AFTER: Final[dict[str, Callable[[], LogdError]]] = {
    "answer lost": lambda: NetworkError("reset"),
    "answer late": lambda: TimeoutError("no answer"),
    "unknown": lambda: OutcomeUnknownError("leadership lost"),
}
FATES = [*BEFORE, *AFTER]
_PARTITION: Final = admin_pb2.PartitionDescription(partition=0, leader_id=2, replicas=[2])
ANSWERS: Final[dict[type[Message], Message]] = {
    admin_pb2.AlterTopicRequest: admin_pb2.AlterTopicResponse(
        topic=admin_pb2.TopicDescription(name="t", topic_id=bytes(range(16)))
    ),
    admin_pb2.TransferLeaderRequest: admin_pb2.TransferLeaderResponse(partition=_PARTITION),
    admin_pb2.ReassignPartitionsRequest: admin_pb2.ReassignPartitionsResponse(
        partitions=[admin_pb2.ReassignedPartition(name="t", partition=_PARTITION)]
    ),
}
CHANGES: Final[dict[str, Callable[[AdminEngine], Awaitable[Any]]]] = {
    methods.ALTER_TOPIC: lambda admin: admin.alter_topic(
        "t", set_config={}, delete_config=(), partitions=2, validate_only=False
    ),
    methods.TRANSFER_LEADER: lambda admin: admin.transfer_leader("t", 0, 2),
    methods.REASSIGN_PARTITIONS: lambda admin: admin.reassign_partitions({("t", 0): [2]}),
}


async def create(admin: AdminEngine, name: str = "t", *, exist_ok: bool = False) -> bytes:
    made = await admin.create_topic(
        name,
        partitions=1,
        replication_factor=-1,
        config={},
        exist_ok=exist_ok,
        validate_only=False,
    )
    return UUID(made.id).bytes


def world_with(topics: Topics) -> World:
    cluster = MemoryCluster(nodes=3)
    cluster.services[methods.CREATE_TOPIC] = topics.create
    cluster.services[methods.DELETE_TOPIC] = topics.delete
    cluster.services |= dict.fromkeys(CHANGES, topics.change)
    return World(cluster, servers=ALL)


@pytest.mark.parametrize("fates", list(itertools.product(FATES, repeat=2)), ids="+".join)
def test_a_topic_is_made_and_ended_once_whatever_is_lost(fates: tuple[str, ...]) -> None:
    async def main() -> None:
        topics = Topics()
        world = world_with(topics)
        admin = world.admin()
        topics.fates = list(fates)
        made = await create(admin)
        assert topics.topics == {"t": made}
        assert topics.asked == [made] * 3
        topics.asked, topics.fates = [], list(fates)
        await admin.delete_topic("t")
        assert topics.topics == {}
        assert len(topics.asked) == 3
        assert list(topics.deletions) == [topics.asked[0]]
        assert len(set(topics.asked)) == 1
        await admin.close()

    run(main)


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("fates", list(itertools.product(FATES, repeat=2)), ids="+".join)
def test_a_change_is_known_again_whatever_is_lost(method: str, fates: tuple[str, ...]) -> None:
    async def main() -> None:
        topics = Topics()
        admin = world_with(topics).admin()
        topics.fates = list(fates)
        await CHANGES[method](admin)
        first = topics.asked[0]
        assert topics.asked == [first] * 3 and len(first) == 16
        assert list(topics.changes) == [first]
        await CHANGES[method](admin)
        assert len(topics.changes) == 2, "another call is another request"
        await admin.close()

    run(main)


def test_each_call_is_a_request_of_its_own() -> None:
    async def main() -> None:
        topics = Topics()
        admin = world_with(topics).admin()
        await create(admin)
        with pytest.raises(TopicExistsError):
            await create(admin)
        await admin.delete_topic("t")
        with pytest.raises(UnknownTopicError):
            await admin.delete_topic("t")
        await create(admin)
        assert len(set(topics.asked)) == len(topics.asked) == 5
        assert all(len(each) == 16 for each in topics.asked)
        await admin.close()

    run(main)


def test_an_answer_that_never_comes_is_said_to_be_unknown() -> None:
    async def main() -> None:
        topics = Topics()
        admin = world_with(topics).admin()
        topics.fates = ["answer lost", *["no controller"] * 1_000]
        with pytest.raises(OutcomeUnknownError):
            await create(admin)
        topics.fates = ["answer lost"] * 1_000
        with pytest.raises(OutcomeUnknownError):
            await admin.delete_topic("t")
        topics.fates = ["no controller"] * 1_000
        with pytest.raises(NotLeaderError):
            await create(admin, "u")
        await admin.close()

    run(main)


def test_without_any_node_nothing_is_waited_for() -> None:
    async def main() -> None:
        world = world_with(Topics())
        for address in ALL:
            world.cluster.take_down(address)
        admin = world.admin()
        before_ms = world.clock.monotonic_ms()
        with pytest.raises(BootstrapError):
            await create(admin)
        assert world.clock.monotonic_ms() - before_ms < 5_000
        await admin.close()

    run(main)


def test_once_it_was_sent_the_loss_of_every_node_leaves_it_unknown() -> None:
    async def main() -> None:
        topics = Topics()
        world = world_with(topics)

        def fall(address: str, request: Any) -> Message:
            topics.create(address, request)
            for each in ALL:
                world.cluster.take_down(each)
            raise NetworkError("reset")

        world.cluster.services[methods.CREATE_TOPIC] = fall
        admin = world.admin()
        with pytest.raises(OutcomeUnknownError):
            await create(admin)
        await admin.close()

    run(main)
