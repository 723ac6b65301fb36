"""ListOffsets and InitProducerId."""

from __future__ import annotations

from typing import Final, Literal

from logd_proto.v1 import log_pb2
from logd_wire.errors import InvalidRequestError

from logd.metadata.image import TopicImage
from logd.model.ids import TopicId
from logd.rpc.api import Connection
from logd.rpc.checks import INT64_MAX, check_count, check_partition, check_range, check_topic_id
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import presentable, to_proto

METHOD: Final = "/logd.v1.Log/ListOffsets"
QUERIES_MAX: Final = 10_000


class OffsetHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def list_offsets(
        self, request: log_pb2.ListOffsetsRequest, connection: Connection
    ) -> log_pb2.ListOffsetsResponse:
        """Answer each query on its own, one after the other: each may read from disk."""
        check_count("queries", len(request.queries), QUERIES_MAX)
        return log_pb2.ListOffsetsResponse(
            answers=[await self._answer(query, connection) for query in request.queries]
        )

    async def _answer(
        self, query: log_pb2.OffsetQuery, connection: Connection
    ) -> log_pb2.OffsetAnswer:
        try:
            topic = self._topic(query, connection)
            check_partition(query.partition)
            topic.partition(query.partition)
            offset, timestamp_ms, leader_epoch = await self._edge.broker.list_offset(
                topic.topic_id, query.partition, _spec(query)
            )
        except Exception as error:
            failure = to_proto(presentable(error, METHOD))
            return log_pb2.OffsetAnswer(error=failure, offset=-1, timestamp_ms=-1, leader_epoch=-1)
        return log_pb2.OffsetAnswer(
            offset=offset, timestamp_ms=timestamp_ms, leader_epoch=leader_epoch
        )

    def _topic(self, query: log_pb2.OffsetQuery, connection: Connection) -> TopicImage:
        edge = self._edge
        if not query.topic_id:
            return edge.topic(connection, Operation.DESCRIBE, query.topic)
        check_topic_id(query.topic_id)
        edge.authorize_topic_id(connection, Operation.DESCRIBE, query.topic_id)
        return edge.image.topic(TopicId(query.topic_id))

    async def init_producer_id(
        self, _request: log_pb2.InitProducerIdRequest, connection: Connection
    ) -> log_pb2.InitProducerIdResponse:
        """Hand out a producer id never used before."""
        self._edge.authorize_cluster(connection, Operation.WRITE)
        producer_id, producer_epoch = await self._edge.broker.init_producer_id()
        return log_pb2.InitProducerIdResponse(
            producer_id=producer_id, producer_epoch=producer_epoch
        )


def _spec(query: log_pb2.OffsetQuery) -> Literal["earliest", "latest"] | int:
    match query.WhichOneof("spec"):
        case "earliest":
            return "earliest"
        case "latest":
            return "latest"
        case "timestamp_ms":
            check_range("timestamp_ms", query.timestamp_ms, 0, INT64_MAX)
            return query.timestamp_ms
        case _:
            raise InvalidRequestError(
                "a query asks for nothing", hint="set earliest, latest or timestamp_ms"
            )
