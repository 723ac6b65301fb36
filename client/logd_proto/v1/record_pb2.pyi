from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GroupLogKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUP_LOG_KIND_UNSPECIFIED: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_EPOCH: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_MEMBER: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_TARGET_EPOCH: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_TARGET: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_CURRENT: _ClassVar[GroupLogKind]
    GROUP_LOG_KIND_OFFSET: _ClassVar[GroupLogKind]
GROUP_LOG_KIND_UNSPECIFIED: GroupLogKind
GROUP_LOG_KIND_EPOCH: GroupLogKind
GROUP_LOG_KIND_MEMBER: GroupLogKind
GROUP_LOG_KIND_TARGET_EPOCH: GroupLogKind
GROUP_LOG_KIND_TARGET: GroupLogKind
GROUP_LOG_KIND_CURRENT: GroupLogKind
GROUP_LOG_KIND_OFFSET: GroupLogKind

class MetadataRecord(_message.Message):
    __slots__ = ("version", "cluster_formed", "node_registered", "topic_created", "topic_configured", "partitions_added", "topic_deleted", "producer_ids_allocated", "partition_changed", "node_fenced", "node_unfenced", "node_removed", "voters_changed", "request_done")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FORMED_FIELD_NUMBER: _ClassVar[int]
    NODE_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_CREATED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_ADDED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_DELETED_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_IDS_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    PARTITION_CHANGED_FIELD_NUMBER: _ClassVar[int]
    NODE_FENCED_FIELD_NUMBER: _ClassVar[int]
    NODE_UNFENCED_FIELD_NUMBER: _ClassVar[int]
    NODE_REMOVED_FIELD_NUMBER: _ClassVar[int]
    VOTERS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DONE_FIELD_NUMBER: _ClassVar[int]
    version: int
    cluster_formed: ClusterFormed
    node_registered: NodeRegistered
    topic_created: TopicCreated
    topic_configured: TopicConfigured
    partitions_added: PartitionsAdded
    topic_deleted: TopicDeleted
    producer_ids_allocated: ProducerIdsAllocated
    partition_changed: PartitionChanged
    node_fenced: NodeFenced
    node_unfenced: NodeUnfenced
    node_removed: NodeRemoved
    voters_changed: VotersChanged
    request_done: RequestDone
    def __init__(self, version: _Optional[int] = ..., cluster_formed: _Optional[_Union[ClusterFormed, _Mapping]] = ..., node_registered: _Optional[_Union[NodeRegistered, _Mapping]] = ..., topic_created: _Optional[_Union[TopicCreated, _Mapping]] = ..., topic_configured: _Optional[_Union[TopicConfigured, _Mapping]] = ..., partitions_added: _Optional[_Union[PartitionsAdded, _Mapping]] = ..., topic_deleted: _Optional[_Union[TopicDeleted, _Mapping]] = ..., producer_ids_allocated: _Optional[_Union[ProducerIdsAllocated, _Mapping]] = ..., partition_changed: _Optional[_Union[PartitionChanged, _Mapping]] = ..., node_fenced: _Optional[_Union[NodeFenced, _Mapping]] = ..., node_unfenced: _Optional[_Union[NodeUnfenced, _Mapping]] = ..., node_removed: _Optional[_Union[NodeRemoved, _Mapping]] = ..., voters_changed: _Optional[_Union[VotersChanged, _Mapping]] = ..., request_done: _Optional[_Union[RequestDone, _Mapping]] = ...) -> None: ...

class ClusterFormed(_message.Message):
    __slots__ = ("cluster_id",)
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: bytes
    def __init__(self, cluster_id: _Optional[bytes] = ...) -> None: ...

class NodeRegistered(_message.Message):
    __slots__ = ("node_id", "directory_id", "incarnation_id", "address", "rack", "peer_address", "fenced", "node_epoch", "vote_withdrawn")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    NODE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    VOTE_WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    incarnation_id: bytes
    address: str
    rack: str
    peer_address: str
    fenced: bool
    node_epoch: int
    vote_withdrawn: bool
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., incarnation_id: _Optional[bytes] = ..., address: _Optional[str] = ..., rack: _Optional[str] = ..., peer_address: _Optional[str] = ..., fenced: bool = ..., node_epoch: _Optional[int] = ..., vote_withdrawn: bool = ...) -> None: ...

class NodeFenced(_message.Message):
    __slots__ = ("node_id", "incarnation_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    incarnation_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ...) -> None: ...

class NodeUnfenced(_message.Message):
    __slots__ = ("node_id", "incarnation_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    incarnation_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ...) -> None: ...

class NodeRemoved(_message.Message):
    __slots__ = ("node_id", "directory_id", "node_epoch")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    node_epoch: int
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., node_epoch: _Optional[int] = ...) -> None: ...

class VoterState(_message.Message):
    __slots__ = ("node_id", "directory_id", "address")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    address: str
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., address: _Optional[str] = ...) -> None: ...

class VotersChanged(_message.Message):
    __slots__ = ("voters",)
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedCompositeFieldContainer[VoterState]
    def __init__(self, voters: _Optional[_Iterable[_Union[VoterState, _Mapping]]] = ...) -> None: ...

class PartitionState(_message.Message):
    __slots__ = ("partition", "leader_id", "leader_epoch", "replicas", "isr", "partition_epoch", "eligible", "last_known_leader_id", "adding", "target", "damaged")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    LAST_KNOWN_LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDING_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    partition: int
    leader_id: int
    leader_epoch: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    isr: _containers.RepeatedScalarFieldContainer[int]
    partition_epoch: int
    eligible: _containers.RepeatedScalarFieldContainer[int]
    last_known_leader_id: int
    adding: _containers.RepeatedScalarFieldContainer[int]
    target: _containers.RepeatedScalarFieldContainer[int]
    damaged: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, partition: _Optional[int] = ..., leader_id: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., isr: _Optional[_Iterable[int]] = ..., partition_epoch: _Optional[int] = ..., eligible: _Optional[_Iterable[int]] = ..., last_known_leader_id: _Optional[int] = ..., adding: _Optional[_Iterable[int]] = ..., target: _Optional[_Iterable[int]] = ..., damaged: _Optional[_Iterable[int]] = ...) -> None: ...

class TopicCreated(_message.Message):
    __slots__ = ("topic_id", "name", "partitions", "config")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    name: str
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionState]
    config: _containers.ScalarMap[str, str]
    def __init__(self, topic_id: _Optional[bytes] = ..., name: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[PartitionState, _Mapping]]] = ..., config: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TopicConfigured(_message.Message):
    __slots__ = ("topic_id", "config")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    config: _containers.ScalarMap[str, str]
    def __init__(self, topic_id: _Optional[bytes] = ..., config: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PartitionsAdded(_message.Message):
    __slots__ = ("topic_id", "partitions")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionState]
    def __init__(self, topic_id: _Optional[bytes] = ..., partitions: _Optional[_Iterable[_Union[PartitionState, _Mapping]]] = ...) -> None: ...

class TopicDeleted(_message.Message):
    __slots__ = ("topic_id", "request_id")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    request_id: bytes
    def __init__(self, topic_id: _Optional[bytes] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class RequestDone(_message.Message):
    __slots__ = ("request_id", "topic_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    topic_id: bytes
    def __init__(self, request_id: _Optional[bytes] = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class ProducerIdsAllocated(_message.Message):
    __slots__ = ("node_id", "first_id", "count")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    first_id: int
    count: int
    def __init__(self, node_id: _Optional[int] = ..., first_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class PartitionChanged(_message.Message):
    __slots__ = ("topic_id", "state")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    state: PartitionState
    def __init__(self, topic_id: _Optional[bytes] = ..., state: _Optional[_Union[PartitionState, _Mapping]] = ...) -> None: ...

class GroupLogKey(_message.Message):
    __slots__ = ("kind", "group_id", "member_id", "topic_id", "partition")
    KIND_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    kind: GroupLogKind
    group_id: str
    member_id: str
    topic_id: bytes
    partition: int
    def __init__(self, kind: _Optional[_Union[GroupLogKind, str]] = ..., group_id: _Optional[str] = ..., member_id: _Optional[str] = ..., topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ...) -> None: ...

class GroupLogRecord(_message.Message):
    __slots__ = ("version", "epoch", "member", "target_epoch", "target", "current", "offset")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    TARGET_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    version: int
    epoch: GroupEpochSet
    member: GroupMemberKept
    target_epoch: GroupTargetEpochSet
    target: GroupTargetSet
    current: GroupCurrentSet
    offset: GroupOffsetCommitted
    def __init__(self, version: _Optional[int] = ..., epoch: _Optional[_Union[GroupEpochSet, _Mapping]] = ..., member: _Optional[_Union[GroupMemberKept, _Mapping]] = ..., target_epoch: _Optional[_Union[GroupTargetEpochSet, _Mapping]] = ..., target: _Optional[_Union[GroupTargetSet, _Mapping]] = ..., current: _Optional[_Union[GroupCurrentSet, _Mapping]] = ..., offset: _Optional[_Union[GroupOffsetCommitted, _Mapping]] = ...) -> None: ...

class GroupPartitions(_message.Message):
    __slots__ = ("topic_id", "partitions")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partitions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic_id: _Optional[bytes] = ..., partitions: _Optional[_Iterable[int]] = ...) -> None: ...

class GroupEpochSet(_message.Message):
    __slots__ = ("epoch", "assignor", "empty_since_ms")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ASSIGNOR_FIELD_NUMBER: _ClassVar[int]
    EMPTY_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    assignor: str
    empty_since_ms: int
    def __init__(self, epoch: _Optional[int] = ..., assignor: _Optional[str] = ..., empty_since_ms: _Optional[int] = ...) -> None: ...

class GroupMemberKept(_message.Message):
    __slots__ = ("instance_id", "rack", "client_id", "client_host", "rebalance_timeout_ms", "session_timeout_ms", "topics", "pattern", "assignor")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_HOST_FIELD_NUMBER: _ClassVar[int]
    REBALANCE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    ASSIGNOR_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    rack: str
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    topics: _containers.RepeatedScalarFieldContainer[str]
    pattern: str
    assignor: str
    def __init__(self, instance_id: _Optional[str] = ..., rack: _Optional[str] = ..., client_id: _Optional[str] = ..., client_host: _Optional[str] = ..., rebalance_timeout_ms: _Optional[int] = ..., session_timeout_ms: _Optional[int] = ..., topics: _Optional[_Iterable[str]] = ..., pattern: _Optional[str] = ..., assignor: _Optional[str] = ...) -> None: ...

class GroupTargetEpochSet(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class GroupTargetSet(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[GroupPartitions]
    def __init__(self, partitions: _Optional[_Iterable[_Union[GroupPartitions, _Mapping]]] = ...) -> None: ...

class GroupCurrentSet(_message.Message):
    __slots__ = ("epoch", "previous_epoch", "state", "assigned", "revoking")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    REVOKING_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    previous_epoch: int
    state: str
    assigned: _containers.RepeatedCompositeFieldContainer[GroupPartitions]
    revoking: _containers.RepeatedCompositeFieldContainer[GroupPartitions]
    def __init__(self, epoch: _Optional[int] = ..., previous_epoch: _Optional[int] = ..., state: _Optional[str] = ..., assigned: _Optional[_Iterable[_Union[GroupPartitions, _Mapping]]] = ..., revoking: _Optional[_Iterable[_Union[GroupPartitions, _Mapping]]] = ...) -> None: ...

class GroupOffsetCommitted(_message.Message):
    __slots__ = ("offset", "leader_epoch", "metadata", "commit_ms", "topic", "member_epoch", "sequence")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    COMMIT_MS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    MEMBER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    offset: int
    leader_epoch: int
    metadata: str
    commit_ms: int
    topic: str
    member_epoch: int
    sequence: int
    def __init__(self, offset: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., metadata: _Optional[str] = ..., commit_ms: _Optional[int] = ..., topic: _Optional[str] = ..., member_epoch: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...
