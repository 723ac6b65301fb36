"""The admin's engine: calls that change or describe topics and the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import admin_pb2
from logd_wire.errors import (
    LogdError,
    TopicExistsError,
)

from logd_client._engine.cluster import ASK_TIMEOUT_MS, Cluster, ClusterConfig
from logd_client._engine.descriptions import (
    cluster_info,
    compacted,
    config_entry,
    merged_copies,
    partition_info,
    quorum_info,
    raft_log_page,
    topic_info,
    with_copies,
)
from logd_client._engine.group_admin import GroupAdmin
from logd_client._engine.patient_calls import NOT_DONE, NOT_KNOWN, PatientCalls
from logd_client._engine.ports import Clock, Rng
from logd_client._transport import methods
from logd_client._transport.api import Transport
from logd_client._transport.errors import from_proto
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    PartitionInfo,
    QuorumInfo,
    RaftLogPage,
    TopicInfo,
)

logger = logging.getLogger("logd.client.admin")

#: How long one call waits for the end of a compaction; less than a request may take.
_COMPACT_WAIT_MS = 10_000
#: Partitions that one call moves.
_REASSIGNED_AT_ONCE: Final = 100


class AdminEngine:
    """One admin client. Runs on the loop; raises what the node answers."""

    def __init__(self, transport: Transport, clock: Clock, rng: Rng, config: ClusterConfig) -> None:
        self.clock = clock
        self._rng = rng
        self._config = config
        self.cluster = Cluster(transport, clock, rng, config)
        self._calls = PatientCalls(self.cluster, clock, rng, config.request_timeout_ms)
        self.groups = GroupAdmin(self.cluster, clock, rng)

    async def close(self) -> None:
        await self.cluster.close()

    # ---- topics ----------------------------------------------------------------------------

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: Mapping[str, str],
        exist_ok: bool,
        validate_only: bool,
    ) -> TopicInfo:
        request = admin_pb2.CreateTopicRequest(
            name=name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=dict(config),
            validate_only=validate_only,
            topic_id=self._calls.new_id(),
        )
        try:
            response = await self._calls.change_once(methods.CREATE_TOPIC, request)
        except TopicExistsError:
            if not exist_ok:
                raise
            return (await self.describe_topics([name]))[0]
        return topic_info(response.topic)

    async def delete_topic(self, name: str) -> None:
        request = admin_pb2.DeleteTopicRequest(name=name, request_id=self._calls.new_id())
        await self._calls.change_once(methods.DELETE_TOPIC, request)

    async def alter_topic(
        self,
        name: str,
        *,
        set_config: Mapping[str, str],
        delete_config: Iterable[str],
        partitions: int,
        validate_only: bool,
    ) -> TopicInfo:
        request = admin_pb2.AlterTopicRequest(
            name=name,
            set_config=dict(set_config),
            delete_config=list(delete_config),
            partitions=partitions,
            validate_only=validate_only,
            request_id=self._calls.new_id(),
        )
        return topic_info((await self._calls.change_once(methods.ALTER_TOPIC, request)).topic)

    async def describe_topics(
        self, names: Sequence[str], *, include_internal: bool = False, copies: bool = False
    ) -> list[TopicInfo]:
        """Describe `names` (none: all topics), with every replica's `copies` where that is wanted;
        raises the error of the first that has one."""
        request = admin_pb2.DescribeTopicsRequest(
            names=list(names), include_internal=include_internal
        )
        response = await self._calls.read(methods.DESCRIBE_TOPICS, request)
        topics = await self._measured([topic_info(topic) for topic in response.topics])
        return await self._with_copies(topics) if copies else topics

    async def _with_copies(self, topics: Sequence[TopicInfo]) -> list[TopicInfo]:
        """With what every node that has a replica, and answers, tells of it."""
        wanted: dict[int, dict[str, None]] = {}
        for topic in topics:
            for part in topic.partitions:
                for node_id in part.replicas:
                    wanted.setdefault(node_id, {})[topic.name] = None
        await self._know_nodes(wanted)
        answers = await asyncio.gather(
            *(
                self._described_by(node_id, list(names), copies=True)
                for node_id, names in sorted(wanted.items())
            )
        )
        return with_copies(topics, answers)

    async def _measured(self, topics: Sequence[TopicInfo]) -> list[TopicInfo]:
        """Offsets and sizes of partitions that the answering node does not have, asked from their
        leaders; what a leader does not answer stays unknown."""
        wanted: dict[int, dict[str, None]] = {}
        for topic in topics:
            for part in topic.partitions:
                if part.end_offset < 0 and part.leader is not None:
                    wanted.setdefault(part.leader, {})[topic.name] = None
        if not wanted:
            return list(topics)
        await self._know_nodes(wanted)
        answers = await asyncio.gather(
            *(self._described_by(node_id, list(names)) for node_id, names in wanted.items())
        )
        found = {
            (topic.name, part.partition): part
            for answer in answers
            for topic in answer
            for part in topic.partitions
            if part.end_offset >= 0
        }
        return [
            replace(
                topic,
                partitions=tuple(
                    found.get((topic.name, part.partition), part) if part.end_offset < 0 else part
                    for part in topic.partitions
                ),
            )
            for topic in topics
        ]

    async def _know_nodes(self, node_ids: Iterable[int]) -> None:
        if any(self.cluster.address_of(node_id) is None for node_id in node_ids):
            await self.cluster.refresh(())

    async def _described_by(
        self, node_id: int, names: list[str], *, copies: bool = False
    ) -> list[TopicInfo]:
        try:
            answer = await self.cluster.ask_node(
                node_id,
                methods.DESCRIBE_TOPICS,
                admin_pb2.DescribeTopicsRequest(names=names, copies=copies),
                # A copy that is not told of is no reason to wait for long.
                timeout_ms=ASK_TIMEOUT_MS if copies else self._config.request_timeout_ms,
            )
            return [topic_info(topic) for topic in answer.topics]
        except LogdError as error:
            logger.info("node %d does not tell about its partitions: %s", node_id, error)
            return []

    async def delete_records(self, name: str, before: Mapping[int, int]) -> dict[int, int]:
        """Trim partitions, each at its leader; raises the first partition's error after all were
        tried."""
        shares = await self._by_leader(name, before)
        answers = await asyncio.gather(
            *(
                self._trim_at(node_id, name, {part: before[part] for part in share})
                for node_id, share in shares.items()
            ),
            return_exceptions=True,
        )
        starts = {part.partition: part.start_offset for part in _all_parts(answers)}
        return {partition: starts[partition] for partition in before if partition in starts}

    async def _by_leader(self, name: str, partitions: Iterable[int]) -> dict[int | None, list[int]]:
        """Which node leads which of `partitions`; None: those without a leader, or unknown."""
        await self.cluster.refresh([name])
        shares: dict[int | None, list[int]] = {}
        for partition in partitions:
            leader = self.cluster.metadata.leader(name, partition)
            shares.setdefault(None if leader is None else leader.node_id, []).append(partition)
        return shares

    async def _trim_at(self, node_id: int | None, name: str, before: Mapping[int, int]) -> Any:
        request = admin_pb2.TrimTopicRequest(name=name)
        for partition, offset in before.items():
            request.partitions.add(partition=partition, before_offset=offset)
        return await self._ask_at(node_id, methods.TRIM_TOPIC, request)

    async def _ask_at(self, node_id: int | None, method: str, request: Message) -> Any:
        """One node's part; without one any node may say what is wrong."""
        if node_id is None:
            return await self._calls.read(method, request)
        return await self._calls.patiently(
            lambda left_ms: self.cluster.ask_node(node_id, method, request, timeout_ms=left_ms)
        )

    async def compact_topic(
        self, name: str, partitions: Iterable[int], *, now: bool, wait: bool
    ) -> dict[int, CompactedPartition]:
        """Compact every copy of partitions (none named: all), perhaps to the end. Raises the error
        of the first leader that has one; those of other replicas are told in words."""
        (topic,) = await self.describe_topics([name])
        placed = {part.partition: part for part in topic.partitions}
        wanted = list(partitions) or list(placed)
        shares: dict[int | None, list[int]] = {}
        for number in wanted:
            # Any node says what is wrong with a partition that is not there.
            for node_id in placed[number].replicas if number in placed else (None,):
                shares.setdefault(node_id, []).append(number)
        await self._know_nodes(node_id for node_id in shares if node_id is not None)
        answers = await asyncio.gather(
            *(
                self._compact_at(node_id, name, share, now=now, wait=wait)
                for node_id, share in shares.items()
            )
        )
        copies = dict(zip(shares, answers, strict=True))
        leaders = {number: part.leader for number, part in placed.items()}
        return {
            number: merged_copies(
                {node_id: of[number] for node_id, of in copies.items() if number in of},
                leaders.get(number),
            )
            for number in wanted
        }

    async def _compact_at(
        self, node_id: int | None, name: str, partitions: Sequence[int], *, now: bool, wait: bool
    ) -> dict[int, CompactedPartition | LogdError]:
        found: dict[int, CompactedPartition | LogdError] = {}
        remaining = list(partitions)
        try:
            while remaining:
                request = admin_pb2.CompactTopicRequest(
                    name=name,
                    partitions=remaining,
                    now=now,
                    wait_ms=_COMPACT_WAIT_MS if wait else 0,
                )
                answer = await self._ask_at(node_id, methods.COMPACT_TOPIC, request)
                found |= {part.partition: compacted(part, node_id) for part in answer.partitions}
                remaining = [part.partition for part in answer.partitions if not part.done]
                if not wait:
                    break
                # The segments were closed by the first call; what came since is not waited for.
                now = False
        except LogdError as error:
            found |= dict.fromkeys(remaining, error)
        return found

    # ---- the cluster -----------------------------------------------------------------------

    async def describe_cluster(self) -> ClusterInfo:
        """As the controller sees it, where it can be reached: only it knows how far others are."""
        request = admin_pb2.DescribeClusterRequest()
        answer = await self._calls.read(methods.DESCRIBE_CLUSTER, request)
        if answer.controller_id in (-1, answer.node_id):
            return cluster_info(answer)
        try:
            await self._know_nodes([answer.controller_id])
            answer = await self.cluster.ask_node(
                answer.controller_id, methods.DESCRIBE_CLUSTER, request, timeout_ms=ASK_TIMEOUT_MS
            )
        except LogdError as error:
            logger.info("the controller does not describe the cluster: %s", error)
        return cluster_info(answer)

    async def describe_quorum(self, node_id: int | None = None) -> QuorumInfo:
        """One node's part in the quorum; None: of a node that answers."""
        request = admin_pb2.DescribeQuorumRequest()
        return quorum_info(await self._read_at(node_id, methods.DESCRIBE_QUORUM, request))

    async def read_raft_log(
        self, start: int, max_entries: int, node_id: int | None = None
    ) -> RaftLogPage:
        """Entries of one node's metadata log; None: of a node that answers."""
        request = admin_pb2.ReadRaftLogRequest(start_index=start, max_entries=max_entries)
        return raft_log_page(await self._read_at(node_id, methods.READ_RAFT_LOG, request))

    async def _read_at(self, node_id: int | None, method: str, request: Message) -> Any:
        if node_id is None:
            return await self._calls.read(method, request)
        await self._know_nodes([node_id])
        return await self.cluster.ask_node(
            node_id, method, request, timeout_ms=self._config.request_timeout_ms
        )

    async def describe_configs(self) -> list[ConfigEntry]:
        answer = await self._calls.read(methods.DESCRIBE_CONFIG, admin_pb2.DescribeConfigRequest())
        return [config_entry(entry) for entry in answer.entries]

    async def transfer_leader(self, name: str, partition: int, node_id: int) -> PartitionInfo:
        """Let another in-sync replica lead; returns the partition, not measured."""
        request = admin_pb2.TransferLeaderRequest(
            name=name, partition=partition, node_id=node_id, request_id=self._calls.new_id()
        )
        answer = await self._calls.change_once(methods.TRANSFER_LEADER, request)
        return partition_info(answer.partition)

    async def reassign_partitions(
        self, targets: Mapping[tuple[str, int], Sequence[int] | None]
    ) -> dict[tuple[str, int], PartitionInfo]:
        """Move replicas; raises the first partition's error after all were tried."""
        wanted = list(targets.items())
        answers: list[Any] = []
        for begin in range(0, len(wanted), _REASSIGNED_AT_ONCE):
            request = admin_pb2.ReassignPartitionsRequest()
            for (name, partition), nodes in wanted[begin : begin + _REASSIGNED_AT_ONCE]:
                request.partitions.add(
                    name=name,
                    partition=partition,
                    replicas=nodes or (),
                    request_id=self._calls.new_id(),
                )
            answers.append(
                await self._calls.patiently(partial(self._reassign, request), NOT_DONE | NOT_KNOWN)
            )
        return {
            (part.name, part.partition.partition): partition_info(part.partition)
            for part in _all_parts(answers)
        }

    async def _reassign(self, request: Message, _left_ms: float) -> Any:
        """Decided anew as a whole where that may help one of them: the others change nothing."""
        answer = await self._calls.change(methods.REASSIGN_PARTITIONS, request, repeatable=True)
        for part in answer.partitions:
            if part.HasField("error"):
                error = from_proto(part.error, broker=None)
                if error.code in NOT_DONE | NOT_KNOWN:
                    raise error
        return answer

    async def list_reassignments(self) -> dict[tuple[str, int], PartitionInfo]:
        """Every partition whose replicas are moving."""
        return {
            (topic.name, part.partition): part
            for topic in await self.describe_topics((), include_internal=True)
            for part in topic.partitions
            if part.target
        }

    # ---- members ---------------------------------------------------------------------------

    async def add_node(self, node_id: int) -> list[int]:
        """Make a registered node a voter; returns the voters."""
        request = admin_pb2.AddNodeRequest(node_id=node_id)
        answer = await self._calls.change_members(methods.ADD_NODE, request)
        return list(answer.voters)

    async def remove_node(self, node_id: int, directory_id: bytes) -> list[int]:
        """Take a node out; returns the voters that are left."""
        request = admin_pb2.RemoveNodeRequest(
            node_id=node_id, directory_id=directory_id or await self._directory_of(node_id)
        )
        return list((await self._calls.change_members(methods.REMOVE_NODE, request)).voters)

    async def replace_node(
        self, node_id: int, directory_id: bytes, *, accept_data_loss: bool
    ) -> list[int]:
        """Strike out a node's lost directory; returns the voters."""
        request = admin_pb2.ReplaceNodeRequest(
            node_id=node_id,
            directory_id=directory_id or await self._directory_of(node_id),
            accept_data_loss=accept_data_loss,
        )
        return list((await self._calls.change_members(methods.REPLACE_NODE, request)).voters)

    async def _directory_of(self, node_id: int) -> bytes:
        """The directory that is meant, so that a call that is repeated means the same one; empty:
        the node is not known here, and the controller may say so."""
        for member in (await self.describe_cluster()).members:
            if member.id == node_id:
                return bytes.fromhex(member.directory_id)
        return b""


def _all_parts(answers: Iterable[Any]) -> Iterator[Any]:
    """The partitions of several nodes' answers; raises the first error among them."""
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        for part in answer.partitions:
            if part.HasField("error"):
                raise from_proto(part.error, broker=None)
            yield part
