"""What nodes tell about topics, the cluster and the quorum, as plain values."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from logd_proto.v1 import admin_pb2
from logd_wire.errors import LogdError

from logd_client._transport.errors import from_proto
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    MemberInfo,
    NodeInfo,
    PartitionCopy,
    PartitionInfo,
    ProgressInfo,
    QuorumInfo,
    RaftEntryInfo,
    RaftLogPage,
    RaftRecordInfo,
    ReplicaProgress,
    TopicInfo,
    VoterInfo,
)

_ROLES: Final = {
    admin_pb2.QUORUM_ROLE_FOLLOWER: "follower",
    admin_pb2.QUORUM_ROLE_PRE_CANDIDATE: "pre-candidate",
    admin_pb2.QUORUM_ROLE_CANDIDATE: "candidate",
    admin_pb2.QUORUM_ROLE_LEADER: "leader",
}


def topic_info(topic: admin_pb2.TopicDescription) -> TopicInfo:
    """The description in plain values; raises its error if it has one."""
    if topic.HasField("error"):
        raise from_proto(topic.error, broker=None)
    return TopicInfo(
        name=topic.name,
        id=str(uuid.UUID(bytes=topic.topic_id)) if len(topic.topic_id) == 16 else "",
        internal=topic.internal,
        partitions=tuple(partition_info(each) for each in topic.partitions),
        config={entry.name: entry.value for entry in topic.config},
        config_entries=tuple(config_entry(entry) for entry in topic.config),
        durability=topic.durability,
    )


def with_copies(
    topics: Iterable[TopicInfo], told: Iterable[Iterable[TopicInfo]]
) -> list[TopicInfo]:
    """Topics with all the copies of partitions that nodes tell of, in the order of `told`."""
    found: dict[tuple[str, int], tuple[PartitionCopy, ...]] = {}
    for topic in chain.from_iterable(told):
        for part in topic.partitions:
            key = (topic.name, part.partition)
            found[key] = found.get(key, ()) + part.copies
    return [
        replace(
            topic,
            partitions=tuple(
                replace(part, copies=found.get((topic.name, part.partition), ()))
                for part in topic.partitions
            ),
        )
        for topic in topics
    ]


def partition_info(part: admin_pb2.PartitionDescription) -> PartitionInfo:
    """One partition in plain values; what was not measured is 0 and empty."""
    return PartitionInfo(
        partition=part.partition,
        leader=_known(part.leader_id),
        leader_epoch=part.leader_epoch,
        replicas=tuple(part.replicas),
        isr=tuple(part.isr),
        start_offset=part.start_offset,
        end_offset=part.end_offset,
        size_bytes=part.size_bytes,
        segments=part.segments,
        damage=tuple(part.damage),
        retention=part.retention,
        compaction=part.compaction,
        eligible=tuple(part.eligible),
        partition_epoch=part.partition_epoch,
        adding=tuple(part.adding),
        target=tuple(part.target),
        damaged=tuple(part.damaged),
        progress=tuple(
            ReplicaProgress(each.node_id, each.end_offset, each.records_left, each.bytes_left)
            for each in part.progress
        ),
        copies=tuple(
            PartitionCopy(each.node_id, each.size_bytes, each.segments, each.compaction)
            for each in part.copies
        ),
    )


def compacted(
    part: admin_pb2.CompactedPartition, node_id: int | None
) -> CompactedPartition | LogdError:
    """What became of a node's copy, or why it was not looked at."""
    if part.HasField("error"):
        return from_proto(part.error, broker=None)
    return CompactedPartition(
        partition=part.partition,
        done=part.done,
        bytes_before=part.bytes_before,
        bytes_after=part.bytes_after,
        records_before=part.records_before,
        records_after=part.records_after,
        outcome=part.outcome,
        node_id=-1 if node_id is None else node_id,
    )


def merged_copies(
    copies: Mapping[int | None, CompactedPartition | LogdError], leader: int | None
) -> CompactedPartition:
    """One partition: the leader's copy, or that of the first node that looked at its, and all
    others. Raises the error of that one."""
    done = [node_id for node_id, copy in copies.items() if isinstance(copy, CompactedPartition)]
    first = leader if leader in copies else next(iter([*done, *copies]))
    of_first = copies[first]
    if isinstance(of_first, LogdError):
        raise of_first
    others = tuple(
        _failed(of_first.partition, node_id, copy) if isinstance(copy, LogdError) else copy
        for node_id, copy in sorted(copies.items(), key=lambda item: item[0] or 0)
        if node_id != first
    )
    return replace(of_first, others=others)


def _failed(partition: int, node_id: int | None, error: LogdError) -> CompactedPartition:
    words = f"not compacted: {error.message}"
    return CompactedPartition(
        partition, True, 0, 0, 0, 0, words, node_id=-1 if node_id is None else node_id
    )


def config_entry(entry: admin_pb2.ConfigEntry) -> ConfigEntry:
    return ConfigEntry(entry.name, entry.value, entry.source, entry.dynamic, entry.doc)


def _known(node_id: int) -> int | None:
    return None if node_id < 0 else node_id


def cluster_info(answer: admin_pb2.DescribeClusterResponse) -> ClusterInfo:
    return ClusterInfo(
        cluster_id=answer.cluster_id,
        controller_id=_known(answer.controller_id),
        node_id=answer.node_id,
        version=answer.version,
        nodes=tuple(
            NodeInfo(node.id, node.address, node.rack, node.fenced) for node in answer.nodes
        ),
        members=tuple(_member(each) for each in answer.members),
        metadata_index=answer.metadata_index,
        controller_epoch=answer.controller_epoch,
    )


def _member(node: admin_pb2.NodeDescription) -> MemberInfo:
    return MemberInfo(
        id=node.id,
        address=node.address,
        peer_address=node.peer_address,
        rack=node.rack,
        fenced=node.fenced,
        directory_id=node.directory_id.hex(),
        incarnation_id=node.incarnation_id.hex(),
        voter=node.voter,
        controller=node.controller,
        lag=_known(node.lag),
        heard=node.heard if node.HasField("heard") else None,
    )


def quorum_info(answer: admin_pb2.DescribeQuorumResponse) -> QuorumInfo:
    return QuorumInfo(
        cluster_id=answer.cluster_id,
        node_id=answer.node_id,
        role=_ROLES.get(answer.role, "unknown"),
        term=answer.term,
        vote=_known(answer.vote),
        leader_id=_known(answer.leader_id),
        commit_index=answer.commit_index,
        applied_index=answer.applied_index,
        end_index=answer.end_index,
        snapshot_index=answer.snapshot_index,
        snapshot_term=answer.snapshot_term,
        voters=tuple(
            VoterInfo(voter.node_id, voter.directory_id.hex(), voter.address)
            for voter in answer.voters
        ),
        progress=tuple(
            ProgressInfo(
                each.node_id,
                each.match_index,
                each.next_index,
                each.voter,
                each.active,
                each.state,
            )
            for each in answer.progress
        ),
    )


def raft_log_page(answer: admin_pb2.ReadRaftLogResponse) -> RaftLogPage:
    return RaftLogPage(
        entries=tuple(
            RaftEntryInfo(
                index=entry.index,
                next_index=entry.next_index,
                term=entry.term,
                timestamp_ms=entry.time_ms,
                committed=entry.committed,
                records=tuple(RaftRecordInfo(each.type, each.text) for each in entry.records),
            )
            for entry in answer.entries
        ),
        first_index=answer.first_index,
        commit_index=answer.commit_index,
        end_index=answer.end_index,
        next_index=answer.next_index,
    )
