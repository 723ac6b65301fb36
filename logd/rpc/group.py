"""Consumer groups: every call goes to the group's coordinator, which is this node or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from logd_proto.v1 import common_pb2, group_pb2
from logd_wire.errors import LogdError, NotCoordinatorError

from logd.groups import Groups
from logd.metadata import PartitionImage
from logd.model.ids import NodeId
from logd.rpc import group_values as values
from logd.rpc.api import Connection
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import to_proto

T = TypeVar("T")


class GroupHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def _check(self, connection: Connection, operation: Operation, group_id: str) -> None:
        values.check_group_id(group_id)
        self._edge.authorize_group(connection, operation, group_id)

    async def _read(self, group_id: str, look: Callable[[Groups], T]) -> T:
        return await self._answered(self._edge.broker.groups.read(group_id, look))

    async def _answered(self, work: Awaitable[T]) -> T:
        """The answer; a refusal says where clients of this listener find the coordinator."""
        try:
            return await work
        except NotCoordinatorError as error:
            error.leader_address = self._address_of(NodeId(error.leader_id))
            raise

    def _address_of(self, node_id: NodeId) -> str:
        node = self._edge.image.nodes.get(node_id)
        return "" if node is None else self._edge.address_of(node)

    def _hint(self, state: PartitionImage) -> common_pb2.LeaderHint:
        return common_pb2.LeaderHint(
            leader_id=state.leader_id,
            leader_epoch=state.leader_epoch,
            address=self._address_of(state.leader_id),
        )

    # --- members and consumers ---------------------------------------------------------------

    async def find_coordinator(
        self, request: group_pb2.FindCoordinatorRequest, connection: Connection
    ) -> group_pb2.FindCoordinatorResponse:
        """Say who coordinates; makes the groups' topic where there is none."""
        self._check(connection, Operation.DESCRIBE, request.group_id)
        state = await self._edge.broker.groups.find(request.group_id)
        return group_pb2.FindCoordinatorResponse(coordinator=self._hint(state))

    async def heartbeat(
        self, request: group_pb2.GroupHeartbeatRequest, connection: Connection
    ) -> group_pb2.GroupHeartbeatResponse:
        """What a member says, and what it is told."""
        self._check(connection, Operation.READ, request.group_id)
        said = values.heartbeat(request, connection.peer)
        for topic in said.topics or ():
            self._edge.authorize_topic(connection, Operation.READ, topic)

        reply = await self._answered(self._edge.broker.groups.heartbeat(said, request.max_wait_ms))
        return values.heartbeat_message(reply, values.topic_names(self._edge.image))

    async def commit_offsets(
        self, request: group_pb2.CommitOffsetsRequest, connection: Connection
    ) -> group_pb2.CommitOffsetsResponse:
        """Store offsets, each answered on its own."""
        self._check(connection, Operation.READ, request.group_id)
        outcomes = await self._answered(self._edge.broker.groups.commit(values.commit(request)))
        return group_pb2.CommitOffsetsResponse(outcomes=map(_outcome, outcomes))

    async def fetch_offsets(
        self, request: group_pb2.FetchOffsetsRequest, connection: Connection
    ) -> group_pb2.FetchOffsetsResponse:
        """Read committed offsets."""
        self._check(connection, Operation.READ, request.group_id)
        wanted = values.fetch_offsets(request)
        offsets = await self._read(request.group_id, lambda groups: groups.fetch_offsets(wanted))
        name = values.topic_names(self._edge.image)
        return group_pb2.FetchOffsetsResponse(
            offsets=[values.offset_message(each, name) for each in offsets]
        )

    # --- administration ----------------------------------------------------------------------

    async def list_groups(
        self, _request: group_pb2.ListGroupsRequest, connection: Connection
    ) -> group_pb2.ListGroupsResponse:
        """The groups that this node coordinates, by id."""
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        listed = await self._edge.broker.groups.listing()
        return group_pb2.ListGroupsResponse(
            groups=[
                group_pb2.ListedGroup(
                    group_id=each.group_id,
                    state=each.state,
                    members=each.members,
                    group_epoch=each.group_epoch,
                )
                for each in listed
            ]
        )

    async def describe_group(
        self, request: group_pb2.DescribeGroupRequest, connection: Connection
    ) -> group_pb2.DescribeGroupResponse:
        """Members, assignments and state."""
        group_id = request.group_id
        self._check(connection, Operation.DESCRIBE, group_id)
        now_ms = self._edge.clock.monotonic_ms()
        group = await self._read(group_id, lambda groups: groups.describe(group_id, now_ms))
        state = await self._edge.broker.groups.find(group_id)
        name = values.topic_names(self._edge.image)
        return group_pb2.DescribeGroupResponse(
            group_id=group.group_id,
            state=group.state,
            group_epoch=group.group_epoch,
            assignment_epoch=group.assignment_epoch,
            assignor=group.assignor,
            members=[values.member_message(member, name) for member in group.members],
            coordinator=self._hint(state),
        )

    async def group_lag(
        self, request: group_pb2.GroupLagRequest, connection: Connection
    ) -> group_pb2.GroupLagResponse:
        """How far a group is behind."""
        self._check(connection, Operation.DESCRIBE, request.group_id)
        found = await self._answered(self._edge.broker.groups.lag(request.group_id))
        name = values.topic_names(self._edge.image)
        found.sort(key=lambda lag: (name(lag.position.partition.topic_id), lag.position.partition))
        return group_pb2.GroupLagResponse(
            partitions=[values.lag_message(each, name) for each in found]
        )

    async def delete_offsets(
        self, request: group_pb2.DeleteOffsetsRequest, connection: Connection
    ) -> group_pb2.DeleteOffsetsResponse:
        """Forget offsets of partitions that nobody reads."""
        group_id = request.group_id
        self._check(connection, Operation.DELETE, group_id)
        forgotten = values.partitions(request.topics)
        await self._answered(
            self._edge.broker.groups.decide(
                group_id, lambda groups, _now, _wall: groups.delete_offsets(group_id, forgotten)
            )
        )
        return group_pb2.DeleteOffsetsResponse()

    async def delete_group(
        self, request: group_pb2.DeleteGroupRequest, connection: Connection
    ) -> group_pb2.DeleteGroupResponse:
        """Forget an empty group."""
        group_id = request.group_id
        self._check(connection, Operation.DELETE, group_id)
        await self._answered(
            self._edge.broker.groups.decide(
                group_id, lambda groups, _now, _wall: groups.delete_group(group_id)
            )
        )
        return group_pb2.DeleteGroupResponse()


def _outcome(outcome: LogdError | None) -> group_pb2.OffsetOutcome:
    if outcome is None:
        return group_pb2.OffsetOutcome()
    return group_pb2.OffsetOutcome(error=to_proto(outcome))
