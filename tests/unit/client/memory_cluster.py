"""A small log in memory behind the client's `Transport`: real batches, real proto messages.

It keeps the rules that a client depends on: producer windows of five batches, leaders with
epochs, offsets, credit. Faults are scripted: `refuse`, `lose_answer`, `down`, `break_streams`,
nodes that lag behind (`freeze`), that are not counted on (`fence`), or have left (`remove`).
"""

from __future__ import annotations

import asyncio
import builtins
from collections import deque
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from logd_client._transport import methods
from logd_proto.v1 import admin_pb2, log_pb2
from logd_wire.errors import (
    ErrorCode,
    LogdError,
    NetworkError,
    NotLeaderError,
    TimeoutError,
    TopicExistsError,
    UnknownTopicError,
    error_for,
)

from tests.unit.client.memory_log import MemoryLog, to_proto

#: Calls that a node answers without a controller.
_ANYWHERE = frozenset(
    {
        methods.HELLO,
        methods.GET_METADATA,
        methods.LIST_OFFSETS,
        methods.DESCRIBE_TOPICS,
        methods.DESCRIBE_CLUSTER,
        methods.TRIM_TOPIC,
    }
)


class MemoryStream:
    """The client's end of one stream; `serve` is called with each message as it arrives."""

    def __init__(self, cluster: MemoryCluster, address: str, method: str) -> None:
        self.cluster = cluster
        self.address = address
        self.method = method
        self.error: LogdError | None = None
        self._inbox: deque[Message] = deque()
        self._under_way: deque[Message] = deque()
        self._news = asyncio.Event()
        self.subscriptions: dict[int, list[Any]] = {}
        self.credit = 0

    async def write(self, message: Message) -> None:
        await self.cluster.travel()
        self._check()
        self.cluster.written.append((self.method, message))
        if self.address not in self.cluster.hung:
            self.cluster.serve(self, message)

    async def read(self) -> Message | None:
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()

    def push(self, message: Message) -> None:
        # Timers of one instant fire in any order; the messages keep theirs.
        self._under_way.append(message)
        asyncio.get_running_loop().call_later(self.cluster.latency_ms / 1000, self._arrive)

    def _arrive(self) -> None:
        if self.error is None:
            self._inbox.append(self._under_way.popleft())
            self._news.set()

    def fail(self, error: LogdError) -> None:
        self.error = self.error or error
        self._news.set()
        self.cluster.streams.pop(self, None)

    def cancel(self) -> None:
        self.fail(NetworkError("cancelled", broker=self.address))

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class MemoryChannel:
    def __init__(self, cluster: MemoryCluster, address: str) -> None:
        self.address = address
        self._cluster = cluster

    async def unary(self, method: str, request: Message, *, timeout_ms: float) -> Message:
        await self._cluster.travel()
        self._cluster.check_up(self.address)
        self._cluster.calls.append((self.address, method, request))
        if self.address in self._cluster.hung:
            await never(timeout_ms, self.address)
        return self._cluster.answer(self.address, method, request)

    def stream(self, method: str) -> MemoryStream:
        self._cluster.check_up(self.address)
        stream = MemoryStream(self._cluster, self.address, method)
        self._cluster.streams[stream] = None
        return stream

    async def close(self) -> None:
        for stream in list(self._cluster.streams):
            if stream.address == self.address:
                stream.cancel()


async def never(timeout_ms: float, address: str) -> None:
    """What a caller sees of a node that takes calls and does not answer."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await asyncio.Event().wait()
    except builtins.TimeoutError:
        raise TimeoutError("no answer in time", broker=address) from None


class MemoryCluster:
    """All nodes; node n listens at `n<n>:7171`.

    `index` grows with every change of the metadata. A node answers with what it has followed: all
    of it, unless it is frozen.
    """

    def __init__(self, nodes: int = 1, *, latency_ms: float = 1.0) -> None:
        self.nodes = {number: f"n{number}:7171" for number in range(1, nodes + 1)}
        self.latency_ms = latency_ms
        self.topics: dict[str, list[MemoryLog]] = {}
        self.ids: dict[str, bytes] = {}
        self.streams: dict[MemoryStream, None] = {}
        self.down: dict[str, str] = {}
        #: Addresses of nodes that take calls and messages, and never answer.
        self.hung: set[str] = set()
        #: Nodes that left the cluster and go on listening.
        self.left: set[str] = set()
        #: Addresses at which another cluster answers.
        self.foreign: set[str] = set()
        self.fenced: set[int] = set()
        self.index = 1
        self.controller, self.controller_epoch = 1, 1
        #: Address -> the metadata that its node stopped at.
        self.frozen: dict[str, log_pb2.GetMetadataResponse] = {}
        #: Address -> (controller id, epoch, address) in its refusal of calls that change something.
        self.not_controller: dict[str, tuple[int, int, str]] = {}
        self.next_producer_id = 100
        self.made = 0
        self.auto_create = False
        self.cluster_id = "c"
        #: Method -> what every node answers, for calls that mean nothing here.
        self.canned: dict[str, Message] = {}
        #: Method -> what answers it, for services of their own.
        self.services: dict[str, Callable[[str, Any], Message]] = {}
        #: Every unary call and stream message, in order.
        self.calls: list[tuple[str, str, Message]] = []
        self.written: list[tuple[str, Message]] = []
        #: (batch) -> an error to refuse it with before it is appended, or None.
        self.refuse: Callable[[log_pb2.ProduceBatch], LogdError | None] = lambda _: None
        #: (batch) -> whether its answer gets lost with the whole stream, after the append.
        self.lose_answer: Callable[[log_pb2.ProduceBatch], bool] = lambda _: False
        #: (batch) -> whether it is never answered.
        self.swallow: Callable[[log_pb2.ProduceBatch], bool] = lambda _: False
        #: What becomes of record bytes on their way to a consumer.
        self.mangle: Callable[[bytes], bytes] = lambda records: records
        #: (name, partition, offset) -> an error instead of data (-1: of an offset), or None.
        self.read_error: Callable[[str, int, int], LogdError | None] = lambda *_: None

    # ---- the transport and the operator --------------------------------------------------------

    def connect(self, address: str) -> MemoryChannel:
        return MemoryChannel(self, address)

    async def travel(self) -> None:
        """One way from a client to a node."""
        arrived = asyncio.Event()
        asyncio.get_running_loop().call_later(self.latency_ms / 1000, arrived.set)
        await arrived.wait()

    def create(self, name: str, partitions: int = 1) -> list[MemoryLog]:
        nodes = list(self.nodes)
        logs = [MemoryLog(leader=nodes[number % len(nodes)]) for number in range(partitions)]
        self.topics[name] = logs
        self.made += 1
        self.ids[name] = self.made.to_bytes(16, "big")
        self.index += 1
        return logs

    def delete(self, name: str) -> None:
        del self.topics[name], self.ids[name]
        self.index += 1

    def freeze(self, node: int) -> None:
        """From now on the node follows the metadata no further."""
        request = log_pb2.GetMetadataRequest(topics=list(self.topics))
        self.frozen[self.nodes[node]] = self._metadata("", request)

    def fence(self, node: int) -> None:
        """The controller counts on the node no more: its partitions lose their leader."""
        self.fenced.add(node)
        self._unlead(node)

    def unfence(self, node: int) -> None:
        self.fenced.discard(node)
        self.index += 1

    def remove(self, node: int) -> None:
        """The node leaves; its process goes on answering what it knows."""
        self.freeze(node)
        self._unlead(node)
        self.left.add(self.nodes.pop(node))

    def _unlead(self, node: int) -> None:
        for logs in self.topics.values():
            for log in logs:
                if log.leader == node:
                    log.leader, log.epoch = -1, log.epoch + 1
        self.index += 1

    def take_down(self, address: str, why: str = "connection refused") -> None:
        self.down[address] = why
        self.break_streams(address)

    def break_streams(self, address: str) -> None:
        for stream in list(self.streams):
            if stream.address == address:
                stream.fail(NetworkError("reset", broker=address))

    def move_leader(self, name: str, partition: int, node: int) -> None:
        log = self.topics[name][partition]
        log.leader, log.epoch = node, log.epoch + 1
        self.index += 1

    def move_node(self, node: int, address: str) -> None:
        """The node comes back at another address."""
        self.nodes[node] = address
        self.index += 1

    def check_up(self, address: str) -> None:
        if address in self.down:
            raise NetworkError(self.down[address], broker=address)
        if address not in {*self.nodes.values(), *self.left}:
            raise NetworkError(f"DNS: {address} is not known", broker=address)

    def called(self, method: str) -> int:
        return sum(1 for _, name, _ in self.calls if name == method)

    # ---- unary calls ---------------------------------------------------------------------------

    def answer(self, address: str, method: str, request: Any) -> Message:
        self._check_controller(address, method)
        if method in self.canned:
            return self.canned[method]
        if method in self.services:
            return self.services[method](address, request)
        match method:
            case methods.HELLO:
                return self._hello(address, request)
            case methods.GET_METADATA:
                return self._metadata(address, request)
            case methods.INIT_PRODUCER_ID:
                self.next_producer_id += 1
                return log_pb2.InitProducerIdResponse(producer_id=self.next_producer_id)
            case methods.LIST_OFFSETS:
                return log_pb2.ListOffsetsResponse(
                    answers=[self._offset(address, query) for query in request.queries]
                )
            case methods.TRIM_TOPIC:
                return self._trim(address, request)
            case methods.DESCRIBE_TOPICS:
                names = list(request.names) or sorted(self.topics)
                return admin_pb2.DescribeTopicsResponse(
                    topics=[self._describe(name, address) for name in names]
                )
            case _:
                return self._changed(address, method, request)

    def _changed(self, address: str, method: str, request: Any) -> Message:
        match method:
            case methods.CREATE_TOPIC:
                if request.name in self.topics:
                    raise TopicExistsError(f"topic {request.name!r} exists")
                self.create(request.name, request.partitions or 1)
                return admin_pb2.CreateTopicResponse(topic=self._describe(request.name, address))
            case methods.DELETE_TOPIC:
                if request.name not in self.topics:
                    raise UnknownTopicError(f"no topic {request.name!r}")
                self.delete(request.name)
                return admin_pb2.DeleteTopicResponse()
            case _:
                raise AssertionError(method)

    def _check_controller(self, address: str, method: str) -> None:
        if address in self.not_controller and method not in _ANYWHERE:
            refusal = NotLeaderError("no controller", code=ErrorCode.NOT_CONTROLLER, broker=address)
            hint = self.not_controller[address]
            refusal.leader_id, refusal.leader_epoch, refusal.leader_address = hint
            raise refusal

    def _hello(self, address: str, request: log_pb2.HelloRequest) -> log_pb2.HelloResponse:
        cluster_id = "another" if address in self.foreign else self.cluster_id
        if request.expected_cluster_id not in ("", cluster_id):
            code = ErrorCode.CLUSTER_ID_MISMATCH
            raise error_for(code, f"this is another cluster, {cluster_id}")
        return log_pb2.HelloResponse(
            cluster_id=self.cluster_id, protocol_version_min=1, protocol_version_max=1
        )

    def _describe(self, name: str, address: str) -> admin_pb2.TopicDescription:
        if name not in self.topics:
            return admin_pb2.TopicDescription(
                name=name, error=to_proto(UnknownTopicError(f"no topic {name!r}"))
            )
        topic = admin_pb2.TopicDescription(name=name, topic_id=self.ids[name], durability="d")
        for number, log in enumerate(self.topics[name]):
            here = self.nodes.get(log.leader) == address
            start, end = (log.start, log.end) if here else (-1, -1)
            topic.partitions.add(
                partition=number, leader_id=log.leader, start_offset=start, end_offset=end
            )
        topic.config.add(name="retention.ms", value="1", source="default")
        return topic

    def _trim(
        self, address: str, request: admin_pb2.TrimTopicRequest
    ) -> admin_pb2.TrimTopicResponse:
        answer = admin_pb2.TrimTopicResponse()
        for part in request.partitions:
            try:
                _, log = self._led(address, self.ids[request.name], part.partition)
            except LogdError as error:
                answer.partitions.add(partition=part.partition, error=to_proto(error))
                continue
            log.start = log.end if part.before_offset < 0 else part.before_offset
            answer.partitions.add(partition=part.partition, start_offset=log.start)
        return answer

    def _metadata(
        self, address: str, request: log_pb2.GetMetadataRequest
    ) -> log_pb2.GetMetadataResponse:
        if address in self.frozen:
            return _part_of(self.frozen[address], request)
        answer = log_pb2.GetMetadataResponse(
            cluster_id=self.cluster_id,
            controller_id=self.controller,
            controller_epoch=self.controller_epoch,
        )
        for number, place in self.nodes.items():
            answer.nodes.add(id=number, address=place, fenced=number in self.fenced)
        for name in request.topics:
            if name not in self.topics and self.auto_create and request.allow_auto_create:
                self.create(name)
            if name not in self.topics:
                error = to_proto(UnknownTopicError(f"no topic {name!r}"))
                answer.topics.add(name=name, error=error)
                continue
            topic = answer.topics.add(name=name, topic_id=self.ids[name])
            for number, log in enumerate(self.topics[name]):
                topic.partitions.add(partition=number, leader_id=log.leader, leader_epoch=log.epoch)
        answer.metadata_index = self.index
        return answer

    def _offset(self, address: str, query: log_pb2.OffsetQuery) -> log_pb2.OffsetAnswer:
        try:
            name, log = self._led(address, query.topic_id, query.partition)
            if refused := self.read_error(name, query.partition, -1):
                raise refused
        except LogdError as error:
            return log_pb2.OffsetAnswer(error=to_proto(error), offset=-1)
        if query.HasField("earliest") or query.HasField("latest"):
            offset = log.start if query.HasField("earliest") else log.end
            return log_pb2.OffsetAnswer(offset=offset, timestamp_ms=-1)
        found = (each for each in log.records() if each.timestamp >= query.timestamp_ms)
        first = next(((each.offset, each.timestamp) for each in found), (-1, -1))
        return log_pb2.OffsetAnswer(offset=first[0], timestamp_ms=first[1])

    def _led(self, address: str, topic_id: bytes, partition: int) -> tuple[str, MemoryLog]:
        names = [name for name, known in self.ids.items() if known == topic_id]
        if not names or names[0] not in self.topics:
            raise UnknownTopicError(f"no topic with id {topic_id.hex()}")
        log = self.topics[names[0]][partition]
        if self.nodes.get(log.leader) != address:
            error = NotLeaderError(f"{address} does not lead {names[0]}[{partition}]")
            if address not in self.frozen:
                error.leader_id, error.leader_epoch = log.leader, log.epoch
                error.leader_address = self.nodes.get(log.leader, "")
            raise error
        return names[0], log

    # ---- streams -------------------------------------------------------------------------------

    def serve(self, stream: MemoryStream, message: Any) -> None:
        serve = self._produce if stream.method == methods.PRODUCE else self._fetch
        serve(stream, message)

    def _produce(self, stream: MemoryStream, request: log_pb2.ProduceRequest) -> None:
        response = log_pb2.ProduceResponse()
        for batch in request.batches:
            result = log_pb2.ProduceResult(id=batch.id)
            try:
                _, log = self._led(stream.address, batch.topic_id, batch.partition)
                refusal = self.refuse(batch)
                if refusal is not None:
                    raise refusal
                offset, duplicate = log.append(batch.records)
            except LogdError as error:
                result.error.CopyFrom(to_proto(error))
            else:
                result.base_offset, result.duplicate = offset, duplicate
                result.synced, result.replicas = True, 1
                if self.lose_answer(batch):
                    stream.fail(NetworkError("reset", broker=stream.address))
                    self.push_all()
                    return
            if batch.acks != 0 and not self.swallow(batch):
                response.results.append(result)
        if response.results:
            stream.push(response)
        self.push_all()

    def push_all(self) -> None:
        """Push what is new to every fetch stream."""
        for stream in list(self.streams):
            if stream.method == methods.FETCH:
                self._push(stream)

    def _fetch(self, stream: MemoryStream, request: log_pb2.FetchRequest) -> None:
        for number in request.remove:
            stream.subscriptions.pop(number, None)
        for add in request.add:
            assert add.subscription_id not in stream.subscriptions
            at = [add.topic_id, add.partition, add.offset, None]
            stream.subscriptions[add.subscription_id] = at
        stream.credit += request.credit_bytes
        self._push(stream)

    def _push(self, stream: MemoryStream) -> None:
        response = log_pb2.FetchResponse()
        for number, wanted in list(stream.subscriptions.items()):
            part = log_pb2.FetchedPartition(subscription_id=number, preferred_replica=-1)
            try:
                name, log = self._led(stream.address, wanted[0], wanted[1])
                error = self.read_error(name, wanted[1], wanted[2])
                if error is not None:
                    raise error
                records, next_offset = log.read(wanted[2], 4096)
            except LogdError as error:
                part.error.CopyFrom(to_proto(error))
                del stream.subscriptions[number]
                response.partitions.append(part)
                continue
            if records and stream.credit > 0:
                stream.credit -= len(records)
                wanted[2], part.records = next_offset, self.mangle(records)
            elif wanted[2] != log.end or wanted[3] == (log.end, log.start):
                continue
            part.next_offset = wanted[2]
            part.high_watermark, part.log_start_offset = wanted[3] = (log.end, log.start)
            response.partitions.append(part)
        if response.partitions:
            stream.push(response)
            asyncio.get_running_loop().call_soon(self._push_if_open, stream)

    def _push_if_open(self, stream: MemoryStream) -> None:
        if stream.error is None:
            self._push(stream)


def _part_of(
    known: log_pb2.GetMetadataResponse, request: log_pb2.GetMetadataRequest
) -> log_pb2.GetMetadataResponse:
    """What a frozen node answers."""
    answer = log_pb2.GetMetadataResponse()
    answer.CopyFrom(known)
    del answer.topics[:]
    by_name = {topic.name: topic for topic in known.topics}
    for name in request.topics:
        error = to_proto(UnknownTopicError(f"no topic {name!r}"))
        answer.topics.append(by_name.get(name) or log_pb2.TopicMetadata(name=name, error=error))
    return answer


def refusals(*codes: ErrorCode) -> Callable[[log_pb2.ProduceBatch], LogdError | None]:
    """Refuse the first batches that come with these codes, one each."""
    left = list(codes)

    def refuse(_: log_pb2.ProduceBatch) -> LogdError | None:
        return error_for(left.pop(0), "scripted") if left else None

    return refuse
