"""What the handlers of every request family share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from logd.metadata.image import ClusterImage, NodeImage, TopicImage
from logd.model.ids import NodeId, TopicId, format_id
from logd.model.names import check_not_internal
from logd.observe import RequestMeters
from logd.rpc.api import Connection
from logd.rpc.checks import check_name
from logd.runtime.broker import Broker, Operation
from logd.runtime.ports import Clock

__all__ = ["Edge", "Offload", "Operation", "ThreadOffload"]

T = TypeVar("T")

#: What users do to no topic of the system itself, in words. (What alters one is refused where
#: it is decided: leaders are transferred like those of other topics.)
_SHAPES: Final = {Operation.WRITE: "produced to", Operation.DELETE: "trimmed or deleted"}


class Offload(Protocol):
    """Runs work that would hold the event loop up, on few threads, in the order of the calls."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class ThreadOffload:
    """Implements `Offload` with threads of its own, so that slow requests delay no disk work."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, "rpc")

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what was accepted, then release the threads."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Edge:
    """A broker as the handlers of one listener see it.

    `addresses`: where the clients of this listener find nodes that they would not find where these
    are registered.
    """

    broker: Broker
    clock: Clock
    offload: Offload
    addresses: Mapping[NodeId, str] = field(default_factory=dict)
    requests: RequestMeters = field(default_factory=RequestMeters)

    @property
    def image(self) -> ClusterImage:
        """The committed metadata as of now."""
        return self.broker.image

    def address_of(self, node: NodeImage) -> str:
        """Where clients of this listener find the node."""
        return self.addresses.get(node.node_id, node.address)

    def authorize_topic(self, connection: Connection, operation: Operation, name: str) -> None:
        """Raise AuthError unless the caller may do this to the topic, and InvalidRequestError
        where nobody may: only the nodes write the system's own topics."""
        if operation in _SHAPES:
            check_not_internal(name, _SHAPES[operation])
        self.broker.authorize(connection.principal, operation, f"topic:{name}")

    def authorize_group(self, connection: Connection, operation: Operation, group_id: str) -> None:
        """Raise AuthError unless the caller may do this to the consumer group."""
        self.broker.authorize(connection.principal, operation, f"group:{group_id}")

    def authorize_cluster(self, connection: Connection, operation: Operation) -> None:
        """Raise AuthError unless the caller may do this to the cluster as a whole."""
        self.broker.authorize(connection.principal, operation, "cluster")

    def authorize_topic_id(
        self, connection: Connection, operation: Operation, topic_id: bytes
    ) -> None:
        """The same for a topic known by its id; one that does not exist goes by the id's text."""
        topic = self.image.topics.get(TopicId(topic_id))
        name = topic.name if topic is not None else format_id(topic_id)
        self.authorize_topic(connection, operation, name)

    def topic(self, connection: Connection, operation: Operation, name: str) -> TopicImage:
        """Return the topic of this name; raises InvalidTopicNameError, AuthError and
        UnknownTopicError, in this order."""
        check_name(name)
        self.authorize_topic(connection, operation, name)
        return self.image.topic_named(name)
