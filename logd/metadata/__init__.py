"""The metadata machine: topics, partitions, nodes, voters and producer ids of the cluster."""

from __future__ import annotations

from logd.metadata.commands import (
    ANY_DIRECTORY,
    PRODUCER_IDS_PER_BLOCK,
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    Member,
    NodeRemoval,
    Outcome,
    PartitionChanges,
    ProducerIdBlock,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    Reply,
    ReportDamage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
    VoterSet,
)
from logd.metadata.image import ClusterImage, NodeImage, TopicImage, find_problems
from logd.metadata.machine import MetadataMachine
from logd.metadata.producer_ids import ProducerIdPool
from logd.metadata.records import MetadataRecord, PartitionImage, VoterImage, VotersChanged
from logd.metadata.replay import InconsistentLogError, replay
from logd.metadata.sessions import (
    Heartbeat,
    NodeSession,
    NodeSessions,
    SessionTiming,
)
from logd.metadata.settings import MetadataSettings
from logd.metadata.snapshot import image_records
from logd.metadata.voters import stale_voters

__all__ = [
    "ANY_DIRECTORY",
    "PRODUCER_IDS_PER_BLOCK",
    "AddVoter",
    "AllocateProducerIds",
    "AlterTopic",
    "BalanceLeaders",
    "ChangePartition",
    "ClusterImage",
    "Command",
    "CreateTopic",
    "DeleteTopic",
    "ElectLeaders",
    "FenceNode",
    "FormCluster",
    "Heartbeat",
    "InconsistentLogError",
    "Member",
    "MetadataMachine",
    "MetadataRecord",
    "MetadataSettings",
    "NodeImage",
    "NodeRemoval",
    "NodeSession",
    "NodeSessions",
    "Outcome",
    "PartitionChanges",
    "PartitionImage",
    "ProducerIdBlock",
    "ProducerIdPool",
    "ReassignPartition",
    "RegisterNode",
    "RemoveNode",
    "ReplaceNode",
    "Reply",
    "ReportDamage",
    "SessionTiming",
    "TopicImage",
    "TransferLeader",
    "UnfenceNode",
    "UpdateVoter",
    "VoterImage",
    "VoterSet",
    "VotersChanged",
    "find_problems",
    "image_records",
    "replay",
    "stale_voters",
]
