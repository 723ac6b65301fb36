from logd_proto.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QuorumRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUORUM_ROLE_UNSPECIFIED: _ClassVar[QuorumRole]
    QUORUM_ROLE_FOLLOWER: _ClassVar[QuorumRole]
    QUORUM_ROLE_PRE_CANDIDATE: _ClassVar[QuorumRole]
    QUORUM_ROLE_CANDIDATE: _ClassVar[QuorumRole]
    QUORUM_ROLE_LEADER: _ClassVar[QuorumRole]
QUORUM_ROLE_UNSPECIFIED: QuorumRole
QUORUM_ROLE_FOLLOWER: QuorumRole
QUORUM_ROLE_PRE_CANDIDATE: QuorumRole
QUORUM_ROLE_CANDIDATE: QuorumRole
QUORUM_ROLE_LEADER: QuorumRole

class CreateTopicRequest(_message.Message):
    __slots__ = ("name", "partitions", "replication_factor", "config", "validate_only", "topic_id")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    partitions: int
    replication_factor: int
    config: _containers.ScalarMap[str, str]
    validate_only: bool
    topic_id: bytes
    def __init__(self, name: _Optional[str] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ..., config: _Optional[_Mapping[str, str]] = ..., validate_only: bool = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class CreateTopicResponse(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: TopicDescription
    def __init__(self, topic: _Optional[_Union[TopicDescription, _Mapping]] = ...) -> None: ...

class DeleteTopicRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class DeleteTopicResponse(_message.Message):
    __slots__ = ("topic_id",)
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    def __init__(self, topic_id: _Optional[bytes] = ...) -> None: ...

class AlterTopicRequest(_message.Message):
    __slots__ = ("name", "set_config", "delete_config", "partitions", "validate_only", "request_id")
    class SetConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SET_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DELETE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    set_config: _containers.ScalarMap[str, str]
    delete_config: _containers.RepeatedScalarFieldContainer[str]
    partitions: int
    validate_only: bool
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., set_config: _Optional[_Mapping[str, str]] = ..., delete_config: _Optional[_Iterable[str]] = ..., partitions: _Optional[int] = ..., validate_only: bool = ..., request_id: _Optional[bytes] = ...) -> None: ...

class AlterTopicResponse(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: TopicDescription
    def __init__(self, topic: _Optional[_Union[TopicDescription, _Mapping]] = ...) -> None: ...

class DescribeTopicsRequest(_message.Message):
    __slots__ = ("names", "include_internal", "copies")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_INTERNAL_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    include_internal: bool
    copies: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., include_internal: bool = ..., copies: bool = ...) -> None: ...

class DescribeTopicsResponse(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[TopicDescription]
    def __init__(self, topics: _Optional[_Iterable[_Union[TopicDescription, _Mapping]]] = ...) -> None: ...

class TopicDescription(_message.Message):
    __slots__ = ("error", "name", "topic_id", "internal", "partitions", "config", "durability")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.Error
    name: str
    topic_id: bytes
    internal: bool
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionDescription]
    config: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    durability: str
    def __init__(self, error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., name: _Optional[str] = ..., topic_id: _Optional[bytes] = ..., internal: bool = ..., partitions: _Optional[_Iterable[_Union[PartitionDescription, _Mapping]]] = ..., config: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ..., durability: _Optional[str] = ...) -> None: ...

class PartitionDescription(_message.Message):
    __slots__ = ("partition", "leader_id", "leader_epoch", "replicas", "isr", "start_offset", "end_offset", "size_bytes", "segments", "damage", "retention", "compaction", "eligible", "partition_epoch", "adding", "target", "damaged", "progress", "copies")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ADDING_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    partition: int
    leader_id: int
    leader_epoch: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    isr: _containers.RepeatedScalarFieldContainer[int]
    start_offset: int
    end_offset: int
    size_bytes: int
    segments: int
    damage: _containers.RepeatedScalarFieldContainer[str]
    retention: str
    compaction: str
    eligible: _containers.RepeatedScalarFieldContainer[int]
    partition_epoch: int
    adding: _containers.RepeatedScalarFieldContainer[int]
    target: _containers.RepeatedScalarFieldContainer[int]
    damaged: _containers.RepeatedScalarFieldContainer[int]
    progress: _containers.RepeatedCompositeFieldContainer[ReplicaProgress]
    copies: _containers.RepeatedCompositeFieldContainer[CopyDescription]
    def __init__(self, partition: _Optional[int] = ..., leader_id: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., isr: _Optional[_Iterable[int]] = ..., start_offset: _Optional[int] = ..., end_offset: _Optional[int] = ..., size_bytes: _Optional[int] = ..., segments: _Optional[int] = ..., damage: _Optional[_Iterable[str]] = ..., retention: _Optional[str] = ..., compaction: _Optional[str] = ..., eligible: _Optional[_Iterable[int]] = ..., partition_epoch: _Optional[int] = ..., adding: _Optional[_Iterable[int]] = ..., target: _Optional[_Iterable[int]] = ..., damaged: _Optional[_Iterable[int]] = ..., progress: _Optional[_Iterable[_Union[ReplicaProgress, _Mapping]]] = ..., copies: _Optional[_Iterable[_Union[CopyDescription, _Mapping]]] = ...) -> None: ...

class CopyDescription(_message.Message):
    __slots__ = ("node_id", "size_bytes", "segments", "compaction")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    size_bytes: int
    segments: int
    compaction: str
    def __init__(self, node_id: _Optional[int] = ..., size_bytes: _Optional[int] = ..., segments: _Optional[int] = ..., compaction: _Optional[str] = ...) -> None: ...

class ReplicaProgress(_message.Message):
    __slots__ = ("node_id", "end_offset", "records_left", "bytes_left")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    RECORDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    BYTES_LEFT_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    end_offset: int
    records_left: int
    bytes_left: int
    def __init__(self, node_id: _Optional[int] = ..., end_offset: _Optional[int] = ..., records_left: _Optional[int] = ..., bytes_left: _Optional[int] = ...) -> None: ...

class ConfigEntry(_message.Message):
    __slots__ = ("name", "value", "source", "dynamic", "doc")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    source: str
    dynamic: bool
    doc: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., source: _Optional[str] = ..., dynamic: bool = ..., doc: _Optional[str] = ...) -> None: ...

class TrimTopicRequest(_message.Message):
    __slots__ = ("name", "partitions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    partitions: _containers.RepeatedCompositeFieldContainer[TrimPartition]
    def __init__(self, name: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[TrimPartition, _Mapping]]] = ...) -> None: ...

class TrimPartition(_message.Message):
    __slots__ = ("partition", "before_offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    before_offset: int
    def __init__(self, partition: _Optional[int] = ..., before_offset: _Optional[int] = ...) -> None: ...

class TrimTopicResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[TrimmedPartition]
    def __init__(self, partitions: _Optional[_Iterable[_Union[TrimmedPartition, _Mapping]]] = ...) -> None: ...

class TrimmedPartition(_message.Message):
    __slots__ = ("error", "partition", "start_offset")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.Error
    partition: int
    start_offset: int
    def __init__(self, error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., partition: _Optional[int] = ..., start_offset: _Optional[int] = ...) -> None: ...

class CompactTopicRequest(_message.Message):
    __slots__ = ("name", "partitions", "now", "wait_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    partitions: _containers.RepeatedScalarFieldContainer[int]
    now: bool
    wait_ms: int
    def __init__(self, name: _Optional[str] = ..., partitions: _Optional[_Iterable[int]] = ..., now: bool = ..., wait_ms: _Optional[int] = ...) -> None: ...

class CompactTopicResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[CompactedPartition]
    def __init__(self, partitions: _Optional[_Iterable[_Union[CompactedPartition, _Mapping]]] = ...) -> None: ...

class CompactedPartition(_message.Message):
    __slots__ = ("error", "partition", "bytes_before", "bytes_after", "records_before", "records_after", "outcome", "done")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    BYTES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BYTES_AFTER_FIELD_NUMBER: _ClassVar[int]
    RECORDS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_AFTER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.Error
    partition: int
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    outcome: str
    done: bool
    def __init__(self, error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., partition: _Optional[int] = ..., bytes_before: _Optional[int] = ..., bytes_after: _Optional[int] = ..., records_before: _Optional[int] = ..., records_after: _Optional[int] = ..., outcome: _Optional[str] = ..., done: bool = ...) -> None: ...

class TransferLeaderRequest(_message.Message):
    __slots__ = ("name", "partition", "node_id", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    partition: int
    node_id: int
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., partition: _Optional[int] = ..., node_id: _Optional[int] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class TransferLeaderResponse(_message.Message):
    __slots__ = ("partition",)
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    partition: PartitionDescription
    def __init__(self, partition: _Optional[_Union[PartitionDescription, _Mapping]] = ...) -> None: ...

class ReassignPartitionsRequest(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionReassignment]
    def __init__(self, partitions: _Optional[_Iterable[_Union[PartitionReassignment, _Mapping]]] = ...) -> None: ...

class PartitionReassignment(_message.Message):
    __slots__ = ("name", "partition", "replicas", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    partition: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class ReassignPartitionsResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[ReassignedPartition]
    def __init__(self, partitions: _Optional[_Iterable[_Union[ReassignedPartition, _Mapping]]] = ...) -> None: ...

class ReassignedPartition(_message.Message):
    __slots__ = ("error", "name", "partition")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.Error
    name: str
    partition: PartitionDescription
    def __init__(self, error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., name: _Optional[str] = ..., partition: _Optional[_Union[PartitionDescription, _Mapping]] = ...) -> None: ...

class DescribeClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeClusterResponse(_message.Message):
    __slots__ = ("cluster_id", "controller_id", "node_id", "version", "nodes", "members", "metadata_index", "controller_epoch")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    METADATA_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    controller_id: int
    node_id: int
    version: str
    nodes: _containers.RepeatedCompositeFieldContainer[_common_pb2.Node]
    members: _containers.RepeatedCompositeFieldContainer[NodeDescription]
    metadata_index: int
    controller_epoch: int
    def __init__(self, cluster_id: _Optional[str] = ..., controller_id: _Optional[int] = ..., node_id: _Optional[int] = ..., version: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[_common_pb2.Node, _Mapping]]] = ..., members: _Optional[_Iterable[_Union[NodeDescription, _Mapping]]] = ..., metadata_index: _Optional[int] = ..., controller_epoch: _Optional[int] = ...) -> None: ...

class NodeDescription(_message.Message):
    __slots__ = ("id", "address", "peer_address", "rack", "fenced", "directory_id", "incarnation_id", "voter", "controller", "lag", "heard")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    id: int
    address: str
    peer_address: str
    rack: str
    fenced: bool
    directory_id: bytes
    incarnation_id: bytes
    voter: bool
    controller: bool
    lag: int
    heard: bool
    def __init__(self, id: _Optional[int] = ..., address: _Optional[str] = ..., peer_address: _Optional[str] = ..., rack: _Optional[str] = ..., fenced: bool = ..., directory_id: _Optional[bytes] = ..., incarnation_id: _Optional[bytes] = ..., voter: bool = ..., controller: bool = ..., lag: _Optional[int] = ..., heard: bool = ...) -> None: ...

class DescribeQuorumRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeQuorumResponse(_message.Message):
    __slots__ = ("cluster_id", "node_id", "role", "term", "vote", "leader_id", "commit_index", "applied_index", "end_index", "snapshot_index", "snapshot_term", "voters", "progress")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    END_INDEX_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TERM_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    node_id: int
    role: QuorumRole
    term: int
    vote: int
    leader_id: int
    commit_index: int
    applied_index: int
    end_index: int
    snapshot_index: int
    snapshot_term: int
    voters: _containers.RepeatedCompositeFieldContainer[QuorumVoter]
    progress: _containers.RepeatedCompositeFieldContainer[QuorumProgress]
    def __init__(self, cluster_id: _Optional[str] = ..., node_id: _Optional[int] = ..., role: _Optional[_Union[QuorumRole, str]] = ..., term: _Optional[int] = ..., vote: _Optional[int] = ..., leader_id: _Optional[int] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., end_index: _Optional[int] = ..., snapshot_index: _Optional[int] = ..., snapshot_term: _Optional[int] = ..., voters: _Optional[_Iterable[_Union[QuorumVoter, _Mapping]]] = ..., progress: _Optional[_Iterable[_Union[QuorumProgress, _Mapping]]] = ...) -> None: ...

class QuorumVoter(_message.Message):
    __slots__ = ("node_id", "directory_id", "address")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    address: str
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., address: _Optional[str] = ...) -> None: ...

class QuorumProgress(_message.Message):
    __slots__ = ("node_id", "match_index", "next_index", "voter", "active", "state")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    match_index: int
    next_index: int
    voter: bool
    active: bool
    state: str
    def __init__(self, node_id: _Optional[int] = ..., match_index: _Optional[int] = ..., next_index: _Optional[int] = ..., voter: bool = ..., active: bool = ..., state: _Optional[str] = ...) -> None: ...

class ReadRaftLogRequest(_message.Message):
    __slots__ = ("start_index", "max_entries")
    START_INDEX_FIELD_NUMBER: _ClassVar[int]
    MAX_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    start_index: int
    max_entries: int
    def __init__(self, start_index: _Optional[int] = ..., max_entries: _Optional[int] = ...) -> None: ...

class ReadRaftLogResponse(_message.Message):
    __slots__ = ("entries", "first_index", "commit_index", "end_index", "next_index")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    END_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[RaftLogEntry]
    first_index: int
    commit_index: int
    end_index: int
    next_index: int
    def __init__(self, entries: _Optional[_Iterable[_Union[RaftLogEntry, _Mapping]]] = ..., first_index: _Optional[int] = ..., commit_index: _Optional[int] = ..., end_index: _Optional[int] = ..., next_index: _Optional[int] = ...) -> None: ...

class RaftLogEntry(_message.Message):
    __slots__ = ("index", "next_index", "term", "time_ms", "committed", "records")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    index: int
    next_index: int
    term: int
    time_ms: int
    committed: bool
    records: _containers.RepeatedCompositeFieldContainer[RaftLogRecord]
    def __init__(self, index: _Optional[int] = ..., next_index: _Optional[int] = ..., term: _Optional[int] = ..., time_ms: _Optional[int] = ..., committed: bool = ..., records: _Optional[_Iterable[_Union[RaftLogRecord, _Mapping]]] = ...) -> None: ...

class RaftLogRecord(_message.Message):
    __slots__ = ("type", "text")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    type: str
    text: str
    def __init__(self, type: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AddNodeRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    def __init__(self, node_id: _Optional[int] = ...) -> None: ...

class AddNodeResponse(_message.Message):
    __slots__ = ("voters",)
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, voters: _Optional[_Iterable[int]] = ...) -> None: ...

class RemoveNodeRequest(_message.Message):
    __slots__ = ("node_id", "directory_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...

class RemoveNodeResponse(_message.Message):
    __slots__ = ("voters",)
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, voters: _Optional[_Iterable[int]] = ...) -> None: ...

class ReplaceNodeRequest(_message.Message):
    __slots__ = ("node_id", "directory_id", "accept_data_loss")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_DATA_LOSS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    accept_data_loss: bool
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., accept_data_loss: bool = ...) -> None: ...

class ReplaceNodeResponse(_message.Message):
    __slots__ = ("voters",)
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, voters: _Optional[_Iterable[int]] = ...) -> None: ...

class DescribeConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeConfigResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ...) -> None: ...
