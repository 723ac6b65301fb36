"""Hello and GetMetadata: what a client asks before anything else."""

from __future__ import annotations

from typing import Final

from logd_proto.v1 import common_pb2, log_pb2
from logd_wire import limits
from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError, UnknownTopicError

from logd.metadata.image import ClusterImage, TopicImage
from logd.model.ids import TopicId, format_id, parse_id
from logd.rpc.api import Connection
from logd.rpc.checks import (
    INT32_MAX,
    check_count,
    check_name,
    check_range,
    check_text,
    check_topic_id,
)
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import to_proto

PROTOCOL_VERSION_MIN: Final = 1
PROTOCOL_VERSION_MAX: Final = 1
#: Names and ids in one request.
TOPICS_MAX: Final = 10_000

LIMITS: Final = log_pb2.Limits(
    record_bytes_max=limits.RECORD_BYTES_MAX,
    key_bytes_max=limits.KEY_BYTES_MAX,
    headers_max=limits.HEADERS_MAX,
    batch_bytes_max=limits.BATCH_BYTES_MAX,
    batch_records_max=limits.BATCH_RECORDS_MAX,
    message_bytes_max=limits.MESSAGE_BYTES_MAX,
    decompressed_bytes_max=limits.DECOMPRESSED_BYTES_MAX,
)


class HandshakeHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def hello(
        self, request: log_pb2.HelloRequest, connection: Connection
    ) -> log_pb2.HelloResponse:
        """Check that both sides understand each other, and tell who answers."""
        check_text("client_software", request.client_software)
        check_text("client_id", request.client_id)
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        _check_protocol_version(request.protocol_version)
        identity = self._edge.broker.identity
        if request.expected_cluster_id:
            _check_cluster(request.expected_cluster_id, identity.cluster_id)
        return log_pb2.HelloResponse(
            cluster_id=format_id(identity.cluster_id),
            node_id=identity.node_id,
            version=identity.version,
            protocol_version_min=PROTOCOL_VERSION_MIN,
            protocol_version_max=PROTOCOL_VERSION_MAX,
            limits=LIMITS,
        )

    async def get_metadata(
        self, request: log_pb2.GetMetadataRequest, connection: Connection
    ) -> log_pb2.GetMetadataResponse:
        """Describe the cluster and the topics asked for, each with its own error."""
        edge = self._edge
        edge.authorize_cluster(connection, Operation.DESCRIBE)
        check_count("topics", len(request.topics) + len(request.topic_ids), TOPICS_MAX)
        if request.all_topics and (request.topics or request.topic_ids):
            raise InvalidRequestError(
                "all_topics is set, and topics are named", hint="ask for one or the other"
            )
        topics = await self._named(list(request.topics), request.allow_auto_create, connection)
        topics += [self._by_id(topic_id, connection) for topic_id in request.topic_ids]
        # Read in one go with the image: the index says how new the image is.
        image, quorum = edge.image, edge.broker.quorum
        if request.all_topics:
            topics = [describe(topic) for topic in image.topics_by_name()]
        return log_pb2.GetMetadataResponse(
            cluster_id=format_id(edge.broker.identity.cluster_id),
            controller_id=quorum.leader_id,
            controller_epoch=quorum.term,
            metadata_index=quorum.applied_index,
            nodes=nodes(self._edge, image),
            topics=topics,
        )

    async def _named(
        self, names: list[str], allow_auto_create: bool, connection: Connection
    ) -> list[log_pb2.TopicMetadata]:
        """One entry for each name. Names that cannot be topics never reach the broker."""
        edge = self._edge
        operation = Operation.CREATE if allow_auto_create else Operation.DESCRIBE
        refused: dict[str, LogdError] = {}
        for name in names:
            try:
                check_name(name)
                edge.authorize_topic(connection, operation, name)
            except LogdError as error:
                refused[name] = error
        asked = [name for name in dict.fromkeys(names) if name not in refused]
        found = await edge.broker.metadata_for(asked, allow_auto_create) if asked else []
        # Another one may have taken long: all are looked at again, at one moment.
        answers = {
            name: _as_of_now(edge.image, name, answer)
            for name, answer in zip(asked, found, strict=True)
        }
        answers.update(refused)
        return [_answered(name, answers[name]) for name in names]

    def _by_id(self, topic_id: bytes, connection: Connection) -> log_pb2.TopicMetadata:
        try:
            check_topic_id(topic_id)
            self._edge.authorize_topic_id(connection, Operation.DESCRIBE, topic_id)
            return describe(self._edge.image.topic(TopicId(topic_id)))
        except LogdError as error:
            return log_pb2.TopicMetadata(error=to_proto(error), topic_id=topic_id[:16])


def describe(topic: TopicImage) -> log_pb2.TopicMetadata:
    """A topic as clients see it."""
    return log_pb2.TopicMetadata(
        name=topic.name,
        topic_id=topic.topic_id,
        internal=topic.internal,
        partitions=[
            log_pb2.PartitionMetadata(
                partition=state.partition,
                leader_id=state.leader_id,
                leader_epoch=state.leader_epoch,
                replicas=state.replicas,
                isr=state.isr,
            )
            for state in topic.partitions
        ],
    )


def nodes(edge: Edge, image: ClusterImage) -> list[common_pb2.Node]:
    """All registered nodes, by id."""
    return [
        common_pb2.Node(
            id=node.node_id, address=edge.address_of(node), rack=node.rack, fenced=node.fenced
        )
        for _, node in sorted(image.nodes.items())
    ]


def _as_of_now(
    image: ClusterImage, name: str, answer: TopicImage | LogdError
) -> TopicImage | LogdError:
    try:
        return image.topic_named(name)
    except UnknownTopicError as error:
        return answer if isinstance(answer, LogdError) else error


def _answered(name: str, answer: TopicImage | LogdError) -> log_pb2.TopicMetadata:
    if isinstance(answer, LogdError):
        shown = name[: limits.TOPIC_NAME_CHARACTERS_MAX]
        return log_pb2.TopicMetadata(error=to_proto(answer), name=shown)
    return describe(answer)


def _check_protocol_version(version: int) -> None:
    """0 is what a caller says who leaves the field out, such as a person with grpcurl."""
    check_range("protocol_version", version, 0, INT32_MAX)
    if 0 < version < PROTOCOL_VERSION_MIN:
        raise LogdError(
            f"the client speaks protocol version {version} at most, this node"
            f" {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}",
            code=ErrorCode.UNSUPPORTED_VERSION,
            hint="use a newer client",
        )


def _check_cluster(expected: str, actual: bytes) -> None:
    if parse_id(expected) != actual:
        raise LogdError(
            f"this node belongs to cluster {format_id(actual)}, the client expects"
            f" {format_id(parse_id(expected))}",
            code=ErrorCode.CLUSTER_ID_MISMATCH,
            hint="check the address",
        )
