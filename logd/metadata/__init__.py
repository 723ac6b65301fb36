"""The metadata machine: topics, partitions, nodes and producer ids of the cluster."""

from __future__ import annotations

from logd.metadata.commands import (
    PRODUCER_IDS_PER_BLOCK,
    AllocateProducerIds,
    AlterTopic,
    Command,
    CreateTopic,
    DeleteTopic,
    FormCluster,
    Outcome,
    ProducerIdBlock,
    RegisterNode,
    Reply,
)
from logd.metadata.image import ClusterImage, NodeImage, TopicImage, find_problems
from logd.metadata.machine import MetadataMachine, MetadataSettings
from logd.metadata.producer_ids import ProducerIdPool
from logd.metadata.records import MetadataRecord, PartitionImage
from logd.metadata.replay import InconsistentLogError, replay

__all__ = [
    "PRODUCER_IDS_PER_BLOCK",
    "AllocateProducerIds",
    "AlterTopic",
    "ClusterImage",
    "Command",
    "CreateTopic",
    "DeleteTopic",
    "FormCluster",
    "InconsistentLogError",
    "MetadataMachine",
    "MetadataRecord",
    "MetadataSettings",
    "NodeImage",
    "Outcome",
    "PartitionImage",
    "ProducerIdBlock",
    "ProducerIdPool",
    "RegisterNode",
    "Reply",
    "TopicImage",
    "find_problems",
    "replay",
]
