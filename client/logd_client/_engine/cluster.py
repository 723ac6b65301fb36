"""Connections to the nodes of one cluster, and the metadata learned from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BootstrapError,
    ClosedError,
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NetworkError,
    NotLeaderError,
    UnknownTopicError,
    error_for,
)

from logd_client._core.backoff import Backoff
from logd_client._core.candidates import Candidates
from logd_client._core.metadata import (
    MetadataCache,
    PartitionState,
    Snapshot,
    TopicState,
)
from logd_client._engine.ports import Clock, Rng
from logd_client._transport.api import Channel, Stream, Transport
from logd_client._transport.errors import from_proto
from logd_client._transport.methods import GET_METADATA, HELLO
from logd_client.values import NodeInfo
from logd_client.version import CLIENT_SOFTWARE, PROTOCOL_VERSION

logger = logging.getLogger("logd.client.cluster")

#: A node that does not answer the first call for so long is passed over.
HELLO_TIMEOUT_MS: Final = 2_000.0
#: The same for metadata, which every node has at hand.
METADATA_TIMEOUT_MS: Final = 2_000.0
#: A node that does not answer another call for so long is passed over while there are others.
ASK_TIMEOUT_MS: Final = 5_000.0

#: Answers after which another node may do better.
_ELSEWHERE: Final = frozenset(
    {
        ErrorCode.NETWORK,
        ErrorCode.TIMEOUT,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.STORAGE_FAILED,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.CLUSTER_ID_MISMATCH,
    }
)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Times in milliseconds."""

    bootstrap_servers: tuple[str, ...] = ("localhost:7171",)
    client_id: str = ""
    request_timeout_ms: float = 30_000.0
    metadata_max_age_ms: float = 300_000.0


class Connection:
    """One node. The first call on a connection, and on each one made after a loss, is Hello."""

    def __init__(
        self, channel: Channel, client_id: str, metadata: MetadataCache, candidates: Candidates
    ) -> None:
        self._channel = channel
        self._client_id = client_id
        self._metadata = metadata
        self._candidates = candidates
        self._hello: asyncio.Task[log_pb2.HelloResponse] | None = None

    @property
    def address(self) -> str:
        return self._channel.address

    async def ready(self) -> log_pb2.HelloResponse:
        """Return what the node said of itself; asks it unless the connection stands."""
        task = self._hello
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.get_running_loop().create_task(
                self._say_hello(), name=f"logd-client hello {self.address}"
            )
            # Its error is looked at even if whoever waited for it has given up.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._hello = task
        return await asyncio.shield(task)

    async def _say_hello(self) -> log_pb2.HelloResponse:
        request = log_pb2.HelloRequest(
            client_software=CLIENT_SOFTWARE,
            client_id=self._client_id,
            protocol_version=PROTOCOL_VERSION,
            # Another cluster at an old address must not take our records.
            expected_cluster_id=self._metadata.cluster_id,
        )
        response = await self._channel.unary(HELLO, request, timeout_ms=HELLO_TIMEOUT_MS)
        assert isinstance(response, log_pb2.HelloResponse)
        if not response.protocol_version_min <= PROTOCOL_VERSION:
            raise error_for(
                ErrorCode.UNSUPPORTED_VERSION,
                f"the node speaks protocol {response.protocol_version_min} and newer, "
                f"this client {PROTOCOL_VERSION}",
                hint="upgrade logd-client",
                broker=self.address,
            )
        self._candidates.heard_of(self.address)
        return response

    def lost(self) -> None:
        """The connection broke, or may have: the next call says Hello again."""
        self._hello = None

    def doubt(self) -> None:
        """The node is silent: others are asked before it, until it is heard of again."""
        self._candidates.failed(self.address)

    async def call(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """One unary call; errors as `Channel.unary`."""
        await self.ready()
        try:
            return await self._channel.unary(method, request, timeout_ms=timeout_ms)
        except NetworkError:
            self.lost()
            self.doubt()
            raise

    async def open_stream(self, method: str) -> Stream:
        await self.ready()
        return self._channel.stream(method)

    async def close(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
            await asyncio.gather(self._hello, return_exceptions=True)
        await self._channel.close()


class Cluster:
    """All nodes. Connects when first used; a broken connection is no error of its own."""

    def __init__(self, transport: Transport, clock: Clock, rng: Rng, config: ClusterConfig) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self.config = config
        self.metadata = MetadataCache()
        #: Topics whose metadata is known to be old; a refresh takes them off.
        self.stale_topics: dict[str, None] = {}
        self._connections: dict[str, Connection] = {}
        self._candidates = Candidates()
        self._closed = False
        self._backoff = Backoff()

    def connection(self, address: str) -> Connection:
        """The one connection to `address`."""
        if self._closed:
            raise ClosedError("the client is closed")
        found = self._connections.get(address)
        if found is None:
            found = Connection(
                self._transport.connect(address),
                self.config.client_id,
                self.metadata,
                self._candidates,
            )
            self._connections[address] = found
        return found

    async def ask(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """Ask any node that answers; for calls that may be repeated.

        Raises what the nodes answered; BootstrapError when no address could be used.
        """
        answer, _ = await self._ask(method, request, timeout_ms, ASK_TIMEOUT_MS)
        return answer

    async def _ask(
        self, method: str, request: Message, timeout_ms: float, patience_ms: float
    ) -> tuple[Any, str]:
        """The answer, and the address that it came from; `patience_ms`: with one node, while there
        are others."""
        causes: dict[str, LogdError] = {}
        waiting = self._in_order()
        while waiting:
            address = waiting.pop(0)
            limit_ms = min(timeout_ms, patience_ms) if waiting else timeout_ms
            try:
                connection = self.connection(address)
                answer = await connection.call(method, request, timeout_ms=limit_ms)
            except LogdError as error:
                if error.code not in _ELSEWHERE:
                    raise
                causes[address] = error
                if self.go_elsewhere(address, error):
                    waiting = [each for each in self._in_order() if each not in causes]
                continue
            self._candidates.answered(address)
            return answer, address
        raise _no_node(causes)

    def address_of(self, node_id: int) -> str | None:
        """Where a node is; None: not known."""
        node = self.metadata.nodes.get(node_id)
        return node.address if node is not None and node.address else None

    async def ask_node(
        self, node_id: int, method: str, request: Message, *, timeout_ms: float
    ) -> Any:
        """Ask exactly this node. Raises what it answers, NetworkError or TimeoutError, and
        InvalidRequestError when the cluster has no such node."""
        address = self.address_of(node_id)
        if address is None:
            known = ", ".join(map(str, sorted(self.metadata.nodes)))
            raise InvalidRequestError(
                f"the cluster has no node {node_id}", hint=f"its nodes are {known or 'not known'}"
            )
        return await self.connection(address).call(method, request, timeout_ms=timeout_ms)

    def go_elsewhere(self, address: str, error: LogdError) -> bool:
        """`address` could not do what it was asked for; whether it named who can."""
        self._candidates.failed(address)
        if not isinstance(error, NotLeaderError) or error.code is not ErrorCode.NOT_CONTROLLER:
            return False
        target = self.metadata.apply_controller_hint(
            error.leader_id, error.leader_epoch, error.leader_address
        )
        if target in ("", address):
            return False
        self._candidates.prefer(target)
        return True

    async def any_connection(self) -> Connection:
        """A connection that answered just now; raises BootstrapError when there is none."""
        causes: dict[str, LogdError] = {}
        for address in self._in_order():
            connection = self.connection(address)
            # What stood for a while may be gone without anybody having noticed.
            connection.lost()
            try:
                await connection.ready()
            except LogdError as error:
                if error.code not in _ELSEWHERE:
                    raise
                causes[address] = error
                self._candidates.failed(address)
                continue
            self._candidates.answered(address)
            return connection
        raise _no_node(causes)

    def _in_order(self) -> list[str]:
        hinted = self._candidates.preferred
        known = self.metadata.addresses()
        bootstrap = self.config.bootstrap_servers
        return self._candidates.order(known, [*bootstrap, *([hinted] if hinted else [])])

    async def refresh(self, topics: Iterable[str], *, allow_auto_create: bool = False) -> None:
        """Learn about `topics` (none: only about the nodes)."""
        names = list(topics)
        request = log_pb2.GetMetadataRequest(topics=names, allow_auto_create=allow_auto_create)
        timeout_ms = self.config.request_timeout_ms
        answer, address = await self._ask(GET_METADATA, request, timeout_ms, METADATA_TIMEOUT_MS)
        if self.metadata.cluster_id not in ("", answer.cluster_id):
            # The node of our cluster went away, and another one took its address since the Hello.
            self.connection(address).lost()
            self._candidates.failed(address)
            return
        if not self.metadata.update(snapshot_of(answer, address)):
            # Whatever the reason to ask was, this node does not know more than we did.
            self._candidates.had_nothing_new(address)
        missing = [name for name in names if self._is_missing(name)]
        if missing:
            await self._ask_controller(missing, unless=address)
        for name in names:
            self.stale_topics.pop(name, None)

    def _is_missing(self, name: str) -> bool:
        state = self.metadata.topic(name)
        return state is not None and isinstance(state.error, UnknownTopicError)

    async def _ask_controller(self, names: list[str], *, unless: str) -> None:
        """A topic that one node does not know may be so new that only the others know it."""
        address = self.metadata.controller_address
        if address in ("", unless):
            return
        request = log_pb2.GetMetadataRequest(topics=names)
        try:
            answer = await self.connection(address).call(
                GET_METADATA,
                request,
                timeout_ms=min(self.config.request_timeout_ms, METADATA_TIMEOUT_MS),
            )
        except LogdError as error:
            logger.info("the controller at %s was not asked: %s", address, error)
            return
        self.metadata.update(snapshot_of(answer, address))

    async def refresh_until_heard(
        self, topics: Iterable[str], *, allow_auto_create: bool = False, patience_ms: float
    ) -> None:
        """`refresh`, tried again while no node can be reached, for `patience_ms`."""
        names = list(topics)
        deadline_ms = self._clock.monotonic_ms() + patience_ms
        attempt = 0
        while True:
            try:
                await self.refresh(names, allow_auto_create=allow_auto_create)
                return
            except BootstrapError as error:
                attempt += 1
                if not self.metadata.cluster_id:
                    raise
                delay_ms = self._backoff.delay_ms(attempt, self._rng)
                if self._clock.monotonic_ms() + delay_ms > deadline_ms:
                    raise
                logger.info("no node answers, trying again: %s", error)
                await self._clock.sleep_ms(delay_ms)

    def apply_hint(self, topic: str, topic_id: bytes, partition: int, error: LogdError) -> bool:
        """Take over the leader that an error about `topic_id` names; whether that was news."""
        if not isinstance(error, NotLeaderError) or error.code is ErrorCode.NOT_CONTROLLER:
            return False
        return self.metadata.apply_hint(
            topic,
            topic_id,
            partition,
            leader_id=error.leader_id,
            leader_epoch=error.leader_epoch,
            address=error.leader_address,
        )

    async def close(self) -> None:
        """Close every connection; idempotent."""
        self._closed = True
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.close()


def _no_node(causes: Mapping[str, LogdError]) -> LogdError:
    """What to raise after every address was tried: an answer says more than silence."""
    for error in causes.values():
        if error.code is ErrorCode.NOT_CONTROLLER:
            return error
    silent = [each for each in causes.values() if each.code is not ErrorCode.CLUSTER_ID_MISMATCH]
    if causes and not silent:
        return next(iter(causes.values()))
    lines = "; ".join(f"{address}: {_in_words(error)}" for address, error in causes.items())
    return BootstrapError(
        f"no node could be reached: {lines}",
        hint="check bootstrap_servers and that a node runs there",
        retriable=True,
    )


def _in_words(error: LogdError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def snapshot_of(answer: log_pb2.GetMetadataResponse, broker: str) -> Snapshot:
    """The answer in plain values."""
    return Snapshot(
        cluster_id=answer.cluster_id,
        controller_id=answer.controller_id,
        nodes=tuple(
            NodeInfo(node.id, node.address, node.rack, node.fenced) for node in answer.nodes
        ),
        topics=tuple(_topic_of(topic, broker) for topic in answer.topics),
        index=answer.metadata_index,
        controller_epoch=answer.controller_epoch,
    )


def _topic_of(topic: log_pb2.TopicMetadata, broker: str) -> TopicState:
    return TopicState(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions={
            partition.partition: PartitionState(partition.leader_id, partition.leader_epoch)
            for partition in topic.partitions
        },
        error=from_proto(topic.error, broker=broker) if topic.HasField("error") else None,
        internal=topic.internal,
    )
