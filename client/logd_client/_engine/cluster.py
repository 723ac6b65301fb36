"""Connections to the nodes of one cluster, and the metadata learned from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BootstrapError,
    ClosedError,
    ErrorCode,
    LogdError,
    NetworkError,
    NotLeaderError,
    TimeoutError,
    error_for,
)

from logd_client._core.backoff import Backoff
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
HELLO_TIMEOUT_MS: Final = 5_000.0


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Times in milliseconds."""

    bootstrap_servers: tuple[str, ...] = ("localhost:7171",)
    client_id: str = ""
    request_timeout_ms: float = 30_000.0
    metadata_max_age_ms: float = 300_000.0


class Connection:
    """One node. The first call on a connection, and on each one made after a loss, is Hello."""

    def __init__(self, channel: Channel, client_id: str, metadata: MetadataCache) -> None:
        self._channel = channel
        self._client_id = client_id
        self._metadata = metadata
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
        return response

    def lost(self) -> None:
        """The connection broke: the next call says Hello again."""
        self._hello = None

    async def call(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """One unary call; errors as `Channel.unary`."""
        await self.ready()
        try:
            return await self._channel.unary(method, request, timeout_ms=timeout_ms)
        except NetworkError:
            self.lost()
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
        self._good_address = ""
        self._closed = False
        self._backoff = Backoff()

    def connection(self, address: str) -> Connection:
        """The one connection to `address`."""
        if self._closed:
            raise ClosedError("the client is closed")
        found = self._connections.get(address)
        if found is None:
            found = Connection(
                self._transport.connect(address), self.config.client_id, self.metadata
            )
            self._connections[address] = found
        return found

    async def ask(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """Ask any node that answers; for calls that may be repeated.

        Raises what the node answered; BootstrapError when no address could be used.
        """
        causes: list[tuple[str, LogdError]] = []
        for address in self._candidates():
            try:
                answer = await self.connection(address).call(method, request, timeout_ms=timeout_ms)
            except (NetworkError, TimeoutError) as error:
                causes.append((address, error))
                continue
            except LogdError as error:
                if error.code is not ErrorCode.SHUTTING_DOWN:
                    raise
                causes.append((address, error))
                continue
            self._good_address = address
            return answer
        self._good_address = ""
        raise _no_node(causes)

    async def any_connection(self) -> Connection:
        """A connection that just answered; raises BootstrapError when there is none."""
        causes: list[tuple[str, LogdError]] = []
        for address in self._candidates():
            connection = self.connection(address)
            try:
                await connection.ready()
            except (NetworkError, TimeoutError) as error:
                causes.append((address, error))
                continue
            return connection
        raise _no_node(causes)

    def _candidates(self) -> Sequence[str]:
        addresses = self.metadata.addresses(self.config.bootstrap_servers)
        good = self._good_address
        if good in addresses:
            addresses.remove(good)
            addresses.insert(0, good)
        return addresses

    async def refresh(self, topics: Iterable[str], *, allow_auto_create: bool = False) -> None:
        """Learn about `topics` (none: only about the nodes)."""
        names = list(topics)
        request = log_pb2.GetMetadataRequest(topics=names, allow_auto_create=allow_auto_create)
        answer = await self.ask(GET_METADATA, request, timeout_ms=self.config.request_timeout_ms)
        self.metadata.update(snapshot_of(answer, self._good_address))
        for name in names:
            self.stale_topics.pop(name, None)

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

    def apply_hint(self, topic: str, partition: int, error: LogdError) -> bool:
        """Take over the leader that an error names; whether that was news."""
        return isinstance(error, NotLeaderError) and self.metadata.apply_hint(
            topic, partition, error.leader_id, error.leader_epoch, error.leader_address
        )

    async def close(self) -> None:
        """Close every connection; idempotent."""
        self._closed = True
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.close()


def _no_node(causes: Sequence[tuple[str, LogdError]]) -> BootstrapError:
    lines = "; ".join(f"{address}: {_in_words(error)}" for address, error in causes)
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
        nodes=tuple(NodeInfo(node.id, node.address, node.rack) for node in answer.nodes),
        topics=tuple(_topic_of(topic, broker) for topic in answer.topics),
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
