"""Calls of the admin client about consumer groups."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import group_pb2 as pb
from logd_wire.errors import (
    ConfigError,
    GroupNotEmptyError,
    GroupNotFoundError,
    LogdError,
    OffsetOutOfRangeError,
    UnknownTopicError,
)

from logd_client._core.backoff import Backoff
from logd_client._engine.cluster import Cluster
from logd_client._engine.coordinator import Coordinator, passes
from logd_client._engine.offsets import Answer, Spec, list_offsets
from logd_client._engine.ports import Clock, Rng
from logd_client._transport import methods
from logd_client._transport.errors import from_proto
from logd_client.group_values import (
    GroupDescription,
    GroupInfo,
    GroupLag,
    GroupMemberInfo,
    OffsetChange,
)
from logd_client.values import Offset, TopicPartition, time_to_ms

#: Offsets in one commit.
COMMIT_OFFSETS_MAX: Final = 10_000

#: Where `alter_offsets` moves a group: to the ends, to a time, or to these offsets.
Place = Offset | datetime | Mapping[TopicPartition, int]


class GroupAdmin:
    """Asks coordinators, each call the one of its group."""

    def __init__(self, cluster: Cluster, clock: Clock, rng: Rng) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff()
        self._timeout_ms = cluster.config.request_timeout_ms

    async def _call(self, group_id: str, method: str, request: Message) -> Any:
        """Ask the coordinator; all that is asked of one may be asked twice."""
        coordinator = Coordinator(self._cluster, self._clock, self._rng, group_id)
        return await coordinator.call(method, request, timeout_ms=self._timeout_ms)

    # ---- looking ---------------------------------------------------------------------------

    async def list_groups(self) -> list[GroupInfo]:
        """Every group, by id; raises when a coordinator does not answer in time."""
        deadline_ms = self._clock.monotonic_ms() + self._timeout_ms
        attempt = 0
        while True:
            left_ms = max(1.0, deadline_ms - self._clock.monotonic_ms())
            try:
                return await self._listed(left_ms)
            except LogdError as error:
                attempt += 1
                delay_ms = self._backoff.delay_ms(attempt, self._rng)
                if not passes(error) or delay_ms >= left_ms:
                    raise
            await self._clock.sleep_ms(delay_ms)

    async def _listed(self, timeout_ms: float) -> list[GroupInfo]:
        await self._cluster.refresh(())
        nodes = self._cluster.metadata.nodes.values()
        answers = await asyncio.gather(
            *(
                self._cluster.ask_node(
                    node.id, methods.LIST_GROUPS, pb.ListGroupsRequest(), timeout_ms=timeout_ms
                )
                for node in nodes
                if not node.fenced
            )
        )
        # Two nodes may both tell of a group that moves.
        found = {
            each.group_id: GroupInfo(each.group_id, each.state, each.members, each.group_epoch)
            for answer in answers
            for each in answer.groups
        }
        return [found[group_id] for group_id in sorted(found)]

    async def describe_group(self, group_id: str) -> GroupDescription:
        """One group; raises GroupNotFoundError."""
        request = pb.DescribeGroupRequest(group_id=group_id)
        answer = await self._call(group_id, methods.DESCRIBE_GROUP, request)
        return GroupDescription(
            group_id=answer.group_id,
            state=answer.state,
            group_epoch=answer.group_epoch,
            assignment_epoch=answer.assignment_epoch,
            assignor=answer.assignor,
            members=tuple(_member(each) for each in answer.members),
            coordinator=answer.coordinator.leader_id,
        )

    async def group_lag(self, group_id: str) -> list[GroupLag]:
        """How far a group is behind, by topic and partition; raises GroupNotFoundError."""
        request = pb.GroupLagRequest(group_id=group_id)
        answer = await self._call(group_id, methods.GROUP_LAG, request)
        return [_lag(each) for each in answer.partitions]

    async def committed(self, group_id: str) -> dict[TopicPartition, int]:
        """Committed offsets of a group, of topics that exist."""
        request = pb.FetchOffsetsRequest(group_id=group_id, member_epoch=-1)
        answer = await self._call(group_id, methods.FETCH_OFFSETS, request)
        return {
            TopicPartition(each.topic, each.partition): each.offset
            for each in answer.offsets
            if each.topic
        }

    # ---- changing --------------------------------------------------------------------------

    async def delete_group(self, group_id: str) -> None:
        """Forget a group without members; raises GroupNotFoundError, GroupNotEmptyError."""
        request = pb.DeleteGroupRequest(group_id=group_id)
        await self._call(group_id, methods.DELETE_GROUP, request)

    async def delete_offsets(self, group_id: str, partitions: Iterable[TopicPartition]) -> None:
        """Forget offsets; raises GroupNotEmptyError for topics that members read."""
        wanted = sorted(set(partitions))
        ids = await self._ids({tp.topic for tp in wanted})
        request = pb.DeleteOffsetsRequest(group_id=group_id)
        for tp in wanted:
            request.topics.add(topic_id=ids[tp.topic], partitions=[tp.partition])
        await self._call(group_id, methods.DELETE_OFFSETS, request)

    async def alter_offsets(
        self,
        group_id: str,
        to: Place | None,
        *,
        shift: int | None,
        topics: Iterable[str],
        dry_run: bool,
    ) -> list[OffsetChange]:
        """Move a group without members; `topics` none: those where it has committed something.

        Raises GroupNotFoundError when that is nowhere.
        """
        if (to is None) == (shift is None):
            raise ConfigError("say where to go: `to` a place, or by how much: `shift`")
        await self._check_empty(group_id)
        before = await self.committed(group_id)
        names = sorted(set(topics))
        if not before and not names and not isinstance(to, Mapping):
            raise GroupNotFoundError(
                f"group {group_id!r} has committed nothing",
                hint="name the topics in which it shall begin: topics=[...], --topic",
            )
        after = await self._places(to, shift, before, await self._chosen(before, to, names))
        if not dry_run:
            await self._store(group_id, after)
        return [OffsetChange(tp, before.get(tp), after[tp]) for tp in sorted(after)]

    async def _check_empty(self, group_id: str) -> None:
        try:
            members = (await self.describe_group(group_id)).members
        except GroupNotFoundError:
            return
        if members:
            raise GroupNotEmptyError(
                f"group {group_id!r} has {len(members)} member{'' if len(members) == 1 else 's'}",
                hint="stop them first: while they live only they say where the group is; "
                "`logd group describe GROUP -m` names them",
            )

    async def _chosen(
        self, before: Mapping[TopicPartition, int], to: Place | None, names: Sequence[str]
    ) -> list[TopicPartition]:
        if isinstance(to, Mapping):
            return sorted(tp for tp in to if not names or tp.topic in names)
        if not names:
            return sorted(before)
        await self._ids(names)
        return [
            TopicPartition(name, number)
            for name in names
            for number in sorted(self._partitions(name))
        ]

    def _partitions(self, name: str) -> Iterable[int]:
        state = self._cluster.metadata.topic(name)
        return () if state is None else state.partitions

    async def _places(
        self,
        to: Place | None,
        shift: int | None,
        before: Mapping[TopicPartition, int],
        chosen: list[TopicPartition],
    ) -> dict[TopicPartition, int]:
        """Where each partition goes, within what its leader has."""
        starts = await self._offsets(chosen, Spec.earliest())
        ends = await self._offsets(chosen, Spec.latest())
        if isinstance(to, Mapping):
            wanted = {tp: to[tp] for tp in chosen}
            for tp, offset in wanted.items():
                if not starts[tp] <= offset <= ends[tp]:
                    raise OffsetOutOfRangeError(
                        f"{tp.topic}[{tp.partition}] has offsets {starts[tp]} to {ends[tp]}, not "
                        f"{offset}",
                        hint="choose one of them; the end is where new records come",
                    )
            return wanted
        if shift is not None:
            # Without a committed offset there is nothing to move.
            return {
                tp: min(max(before[tp] + shift, starts[tp]), ends[tp])
                for tp in chosen
                if tp in before
            }
        if isinstance(to, datetime):
            found = await self._offsets(chosen, Spec.at_time(time_to_ms(to)))
            return {tp: ends[tp] if found[tp] < 0 else found[tp] for tp in chosen}
        return starts if to is Offset.BEGINNING else ends

    async def _offsets(
        self, partitions: list[TopicPartition], spec: Spec
    ) -> dict[TopicPartition, int]:
        answers = await list_offsets(
            self._cluster, dict.fromkeys(partitions, spec), timeout_ms=self._timeout_ms
        )
        return {tp: _offset(answer) for tp, answer in answers.items()}

    async def _store(self, group_id: str, offsets: Mapping[TopicPartition, int]) -> None:
        wanted = sorted(offsets)
        ids = await self._ids({tp.topic for tp in wanted})
        for first in range(0, len(wanted), COMMIT_OFFSETS_MAX):
            request = pb.CommitOffsetsRequest(group_id=group_id, member_epoch=-1)
            for tp in wanted[first : first + COMMIT_OFFSETS_MAX]:
                request.offsets.add(
                    topic_id=ids[tp.topic],
                    partition=tp.partition,
                    offset=offsets[tp],
                    leader_epoch=-1,
                )
            answer = await self._call(group_id, methods.COMMIT_OFFSETS, request)
            for outcome in answer.outcomes:
                if outcome.HasField("error"):
                    raise from_proto(outcome.error, broker=None)

    async def _ids(self, names: Iterable[str]) -> dict[str, bytes]:
        """Topic ids by name; raises UnknownTopicError."""
        wanted = sorted(names)
        if wanted:
            await self._cluster.refresh(wanted)
        ids = {}
        for name in wanted:
            state = self._cluster.metadata.topic(name)
            if state is None or state.error is not None:
                raise UnknownTopicError(
                    f"topic {name!r} does not exist", hint="see `logd topic list`"
                )
            ids[name] = state.topic_id
        return ids


def _offset(answer: Answer) -> int:
    if isinstance(answer, LogdError):
        raise answer
    return answer.offset


def _held(topics: Iterable[pb.TopicPartitions]) -> tuple[TopicPartition, ...]:
    return tuple(
        TopicPartition(each.topic, number) for each in topics for number in each.partitions
    )


def _known(value: int) -> int | None:
    return None if value < 0 else value


def _member(each: pb.GroupMember) -> GroupMemberInfo:
    return GroupMemberInfo(
        member_id=each.member_id,
        instance_id=each.instance_id if each.HasField("instance_id") else None,
        rack=each.rack,
        client_id=each.client_id,
        client_host=each.client_host,
        epoch=each.member_epoch,
        state=each.state,
        topics=tuple(each.subscription),
        pattern=each.subscription_pattern,
        assigned=_held(each.assignment),
        revoking=_held(each.revoking),
        target=_held(each.target),
        session_timeout_ms=each.session_timeout_ms,
        rebalance_timeout_ms=each.rebalance_timeout_ms,
        silent_ms=_known(each.silent_ms),
    )


def _lag(each: pb.PartitionLag) -> GroupLag:
    return GroupLag(
        partition=TopicPartition(each.topic, each.partition),
        member_id=each.member_id,
        committed=_known(each.offset),
        start_offset=_known(each.log_start_offset),
        end_offset=_known(each.high_watermark),
        records=_known(each.records),
        lag_ms=_known(each.lag_ms),
        error=each.error.message,
    )
