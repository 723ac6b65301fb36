"""Administration in the workload: topics made, altered, trimmed; offsets asked for."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from logd_client._engine.cluster import Cluster, ClusterConfig
from logd_client._transport.methods import ALTER_TOPIC, CREATE_TOPIC, LIST_OFFSETS, TRIM_TOPIC
from logd_proto.v1 import admin_pb2, log_pb2
from logd_wire.errors import LogdError, TopicExistsError

from tests.sim.faults import Plan
from tests.sim.world import Topic, World

TIMEOUT_MS = 3_000.0
RETRY_MS = 200.0
PARTITIONS_MAX = 4


def connect(world: World, name: str) -> Cluster:
    """A client of the cluster of its own."""
    config = ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=TIMEOUT_MS)
    rng = world.rng.child(f"admin/{name}")
    return Cluster(world.network.transport(name), world.client_clock, rng, config)


async def create_topic(world: World, cluster: Cluster, name: str, plan: Plan) -> None:
    """Try until the topic is there."""
    request = admin_pb2.CreateTopicRequest(
        name=name,
        partitions=world.rng.randint(1, 2),
        config={"segment.bytes": str(plan.segment_bytes), "retention.ms": "-1"},
    )
    while True:
        try:
            answer = await cluster.ask(CREATE_TOPIC, request, timeout_ms=TIMEOUT_MS)
            topic = answer.topic
        except TopicExistsError:
            topic = await describe(cluster, name)
            if topic is None:
                continue
        except LogdError as error:
            world.trace(f"create {name}: {error.code.name}")
            await world.client_clock.sleep_ms(RETRY_MS)
            continue
        world.trace(f"created {name}")
        world.topics.append(Topic(name, topic.topic_id, len(topic.partitions)))
        return


async def describe(cluster: Cluster, name: str) -> Any:
    """The description of one topic, None where it cannot be had."""
    request = admin_pb2.DescribeTopicsRequest(names=[name])
    try:
        answer = await cluster.ask("/logd.v1.Admin/DescribeTopics", request, timeout_ms=TIMEOUT_MS)
    except LogdError:
        return None
    topic = answer.topics[0]
    return None if topic.HasField("error") else topic


async def create_topics(world: World, plan: Plan) -> None:
    """The topics of the workload."""
    cluster = connect(world, "setup")
    for name in ("orders", "events"):
        await create_topic(world, cluster, name, plan)
    await cluster.close()


class AdminWorker:
    """Asks and changes things until the consumers stop."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._rng = world.rng.child(f"worker/{name}")
        self._cluster = connect(world, name)

    async def run(self) -> None:
        """Runs until the world stops consuming."""
        world = self._world
        while world.consuming:
            await world.client_clock.sleep_ms(self._rng.exponential(150.0, 2000.0))
            topic = self._rng.choice(world.topics)
            step = self._rng.random()
            if step < 0.7:
                await self._ask_bounds(topic)
            elif step < 0.85:
                await self._trim(topic)
            else:
                await self._alter(topic)
        await self._cluster.close()

    async def _call(self, method: str, request: Message) -> Any:
        """The answer, or None when there was an error."""
        try:
            return await self._cluster.ask(method, request, timeout_ms=TIMEOUT_MS)
        except LogdError as error:
            self._world.trace(f"{method}: {error.code.name}")
            return None

    async def _ask_bounds(self, topic: Topic) -> None:
        history = self._world.history
        partition = self._rng.randrange(topic.partitions)
        latest = self._rng.chance(0.7)
        request = log_pb2.ListOffsetsRequest()
        query = request.queries.add(topic=topic.name, partition=partition)
        if latest:
            query.latest = True
        else:
            query.earliest = True
        invoked = history.tick()
        answer = await self._call(LIST_OFFSETS, request)
        if answer is None or answer.answers[0].HasField("error"):
            return
        offset = answer.answers[0].offset
        kind = "latest" if latest else "earliest"
        self._world.trace(f"{kind} {topic.name}/{partition} {offset}")
        history.add_bound(
            f"{topic.name}/{partition}", "latest" if latest else "earliest", offset, invoked
        )

    async def _trim(self, topic: Topic) -> None:
        world = self._world
        partition = self._rng.randrange(topic.partitions)
        key = f"{topic.name}/{partition}"
        known = [send.offset for send in world.history.sends if send.key == key]
        offset = self._rng.randrange(max([*known, 0]) + 1)
        request = admin_pb2.TrimTopicRequest(name=topic.name)
        request.partitions.add(partition=partition, before_offset=offset)
        trim = world.history.begin_trim(key, offset)
        world.trace(f"trim {key} {offset}")
        answer = await self._call(TRIM_TOPIC, request)
        if answer is not None and not answer.partitions[0].HasField("error"):
            world.history.end_trim(trim)
            world.sometimes("trim")

    async def _alter(self, topic: Topic) -> None:
        request = admin_pb2.AlterTopicRequest(name=topic.name)
        grows = topic.partitions < PARTITIONS_MAX and self._rng.chance(0.3)
        if grows:
            request.partitions = topic.partitions + 1
        else:
            request.set_config["segment.bytes"] = str(self._rng.choice((1024, 4096, 65_536)))
        answer = await self._call(ALTER_TOPIC, request)
        if answer is not None:
            topic.partitions = max(topic.partitions, len(answer.topic.partitions))
            self._world.trace(f"altered {topic.name} {topic.partitions}")
            self._world.sometimes("topic altered")
