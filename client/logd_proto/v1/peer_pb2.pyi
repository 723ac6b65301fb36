from logd_proto.v1 import common_pb2 as _common_pb2
from logd_proto.v1 import record_pb2 as _record_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PeerSender(_message.Message):
    __slots__ = ("cluster_id", "node_id", "directory_id", "protocol_version")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    cluster_id: bytes
    node_id: int
    directory_id: bytes
    protocol_version: int
    def __init__(self, cluster_id: _Optional[bytes] = ..., node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., protocol_version: _Optional[int] = ...) -> None: ...

class RaftRequest(_message.Message):
    __slots__ = ("sender", "receiver_id", "messages")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    receiver_id: int
    messages: _containers.RepeatedCompositeFieldContainer[RaftMessage]
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., receiver_id: _Optional[int] = ..., messages: _Optional[_Iterable[_Union[RaftMessage, _Mapping]]] = ...) -> None: ...

class RaftResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RaftMessage(_message.Message):
    __slots__ = ("vote_request", "vote_response", "append_request", "append_response", "append_rejected", "heartbeat_request", "heartbeat_response", "install_snapshot", "timeout_now")
    VOTE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    VOTE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    APPEND_REQUEST_FIELD_NUMBER: _ClassVar[int]
    APPEND_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    APPEND_REJECTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_REQUEST_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    INSTALL_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    vote_request: RaftVoteRequest
    vote_response: RaftVoteResponse
    append_request: RaftAppendRequest
    append_response: RaftAppendResponse
    append_rejected: RaftAppendRejected
    heartbeat_request: RaftHeartbeatRequest
    heartbeat_response: RaftHeartbeatResponse
    install_snapshot: RaftInstallSnapshot
    timeout_now: RaftTimeoutNow
    def __init__(self, vote_request: _Optional[_Union[RaftVoteRequest, _Mapping]] = ..., vote_response: _Optional[_Union[RaftVoteResponse, _Mapping]] = ..., append_request: _Optional[_Union[RaftAppendRequest, _Mapping]] = ..., append_response: _Optional[_Union[RaftAppendResponse, _Mapping]] = ..., append_rejected: _Optional[_Union[RaftAppendRejected, _Mapping]] = ..., heartbeat_request: _Optional[_Union[RaftHeartbeatRequest, _Mapping]] = ..., heartbeat_response: _Optional[_Union[RaftHeartbeatResponse, _Mapping]] = ..., install_snapshot: _Optional[_Union[RaftInstallSnapshot, _Mapping]] = ..., timeout_now: _Optional[_Union[RaftTimeoutNow, _Mapping]] = ...) -> None: ...

class RaftPoint(_message.Message):
    __slots__ = ("term", "index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class RaftEntry(_message.Message):
    __slots__ = ("index", "term", "payloads")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., payloads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RaftVoter(_message.Message):
    __slots__ = ("node_id", "directory_id", "address")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    address: str
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., address: _Optional[str] = ...) -> None: ...

class RaftSnapshot(_message.Message):
    __slots__ = ("point", "voters")
    POINT_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    point: RaftPoint
    voters: _containers.RepeatedCompositeFieldContainer[RaftVoter]
    def __init__(self, point: _Optional[_Union[RaftPoint, _Mapping]] = ..., voters: _Optional[_Iterable[_Union[RaftVoter, _Mapping]]] = ...) -> None: ...

class RaftVoteRequest(_message.Message):
    __slots__ = ("term", "last", "pre_vote", "transfer")
    TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    term: int
    last: RaftPoint
    pre_vote: bool
    transfer: bool
    def __init__(self, term: _Optional[int] = ..., last: _Optional[_Union[RaftPoint, _Mapping]] = ..., pre_vote: bool = ..., transfer: bool = ...) -> None: ...

class RaftVoteResponse(_message.Message):
    __slots__ = ("term", "granted", "pre_vote")
    TERM_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    term: int
    granted: bool
    pre_vote: bool
    def __init__(self, term: _Optional[int] = ..., granted: bool = ..., pre_vote: bool = ...) -> None: ...

class RaftAppendRequest(_message.Message):
    __slots__ = ("term", "previous", "entries", "commit_index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    previous: RaftPoint
    entries: _containers.RepeatedCompositeFieldContainer[RaftEntry]
    commit_index: int
    def __init__(self, term: _Optional[int] = ..., previous: _Optional[_Union[RaftPoint, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[RaftEntry, _Mapping]]] = ..., commit_index: _Optional[int] = ...) -> None: ...

class RaftAppendResponse(_message.Message):
    __slots__ = ("term", "match_index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    match_index: int
    def __init__(self, term: _Optional[int] = ..., match_index: _Optional[int] = ...) -> None: ...

class RaftAppendRejected(_message.Message):
    __slots__ = ("term", "rejected_index", "hint")
    TERM_FIELD_NUMBER: _ClassVar[int]
    REJECTED_INDEX_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    term: int
    rejected_index: int
    hint: RaftPoint
    def __init__(self, term: _Optional[int] = ..., rejected_index: _Optional[int] = ..., hint: _Optional[_Union[RaftPoint, _Mapping]] = ...) -> None: ...

class RaftHeartbeatRequest(_message.Message):
    __slots__ = ("term", "commit_index", "round")
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    term: int
    commit_index: int
    round: int
    def __init__(self, term: _Optional[int] = ..., commit_index: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class RaftHeartbeatResponse(_message.Message):
    __slots__ = ("term", "round")
    TERM_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    term: int
    round: int
    def __init__(self, term: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class RaftInstallSnapshot(_message.Message):
    __slots__ = ("term", "snapshot")
    TERM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    term: int
    snapshot: RaftSnapshot
    def __init__(self, term: _Optional[int] = ..., snapshot: _Optional[_Union[RaftSnapshot, _Mapping]] = ...) -> None: ...

class RaftTimeoutNow(_message.Message):
    __slots__ = ("term",)
    TERM_FIELD_NUMBER: _ClassVar[int]
    term: int
    def __init__(self, term: _Optional[int] = ...) -> None: ...

class IdentifyRequest(_message.Message):
    __slots__ = ("sender",)
    SENDER_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("identity", "term", "leader_id", "leader_address")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    identity: PeerSender
    term: int
    leader_id: int
    leader_address: str
    def __init__(self, identity: _Optional[_Union[PeerSender, _Mapping]] = ..., term: _Optional[int] = ..., leader_id: _Optional[int] = ..., leader_address: _Optional[str] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("sender", "command")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    command: Command
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., command: _Optional[_Union[Command, _Mapping]] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("reply", "index")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    reply: Reply
    index: int
    def __init__(self, reply: _Optional[_Union[Reply, _Mapping]] = ..., index: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("sender", "node_id", "incarnation_id", "applied_index")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    node_id: int
    incarnation_id: bytes
    applied_index: int
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ..., applied_index: _Optional[int] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("fenced",)
    FENCED_FIELD_NUMBER: _ClassVar[int]
    fenced: bool
    def __init__(self, fenced: bool = ...) -> None: ...

class SnapshotChunkRequest(_message.Message):
    __slots__ = ("sender", "term", "snapshot", "position", "size_bytes", "data")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    term: int
    snapshot: RaftSnapshot
    position: int
    size_bytes: int
    data: bytes
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., term: _Optional[int] = ..., snapshot: _Optional[_Union[RaftSnapshot, _Mapping]] = ..., position: _Optional[int] = ..., size_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class SnapshotChunkResponse(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: int
    def __init__(self, position: _Optional[int] = ...) -> None: ...

class ReplicateRequest(_message.Message):
    __slots__ = ("sender", "receiver_id", "positions")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_ID_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    receiver_id: int
    positions: _containers.RepeatedCompositeFieldContainer[ReplicaPosition]
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., receiver_id: _Optional[int] = ..., positions: _Optional[_Iterable[_Union[ReplicaPosition, _Mapping]]] = ...) -> None: ...

class ReplicaPosition(_message.Message):
    __slots__ = ("topic_id", "partition", "leader_epoch", "node_epoch", "end_offset", "last_epoch", "stop")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    NODE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LAST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader_epoch: int
    node_epoch: int
    end_offset: int
    last_epoch: int
    stop: bool
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., node_epoch: _Optional[int] = ..., end_offset: _Optional[int] = ..., last_epoch: _Optional[int] = ..., stop: bool = ...) -> None: ...

class ReplicateResponse(_message.Message):
    __slots__ = ("chunks",)
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[ReplicaChunk]
    def __init__(self, chunks: _Optional[_Iterable[_Union[ReplicaChunk, _Mapping]]] = ...) -> None: ...

class ReplicaChunk(_message.Message):
    __slots__ = ("topic_id", "partition", "leader_epoch", "records", "append_time_ms", "high_watermark", "log_start_offset", "diverging", "too_low", "error", "replicated_end", "forgotten_end")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    APPEND_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DIVERGING_FIELD_NUMBER: _ClassVar[int]
    TOO_LOW_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPLICATED_END_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_END_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader_epoch: int
    records: bytes
    append_time_ms: int
    high_watermark: int
    log_start_offset: int
    diverging: EpochEnd
    too_low: bool
    error: _common_pb2.Error
    replicated_end: int
    forgotten_end: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., records: _Optional[bytes] = ..., append_time_ms: _Optional[int] = ..., high_watermark: _Optional[int] = ..., log_start_offset: _Optional[int] = ..., diverging: _Optional[_Union[EpochEnd, _Mapping]] = ..., too_low: bool = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., replicated_end: _Optional[int] = ..., forgotten_end: _Optional[int] = ...) -> None: ...

class EpochEnd(_message.Message):
    __slots__ = ("epoch", "end_offset")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    end_offset: int
    def __init__(self, epoch: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("form_cluster", "register_node", "create_topic", "delete_topic", "alter_topic", "allocate_producer_ids", "change_partition", "add_voter", "update_voter", "remove_node", "replace_node", "fence_node", "unfence_node", "elect_leaders", "balance_leaders", "transfer_leader", "reassign_partition", "report_damage")
    FORM_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    REGISTER_NODE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TOPIC_FIELD_NUMBER: _ClassVar[int]
    DELETE_TOPIC_FIELD_NUMBER: _ClassVar[int]
    ALTER_TOPIC_FIELD_NUMBER: _ClassVar[int]
    ALLOCATE_PRODUCER_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANGE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    ADD_VOTER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_VOTER_FIELD_NUMBER: _ClassVar[int]
    REMOVE_NODE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_NODE_FIELD_NUMBER: _ClassVar[int]
    FENCE_NODE_FIELD_NUMBER: _ClassVar[int]
    UNFENCE_NODE_FIELD_NUMBER: _ClassVar[int]
    ELECT_LEADERS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_LEADERS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_LEADER_FIELD_NUMBER: _ClassVar[int]
    REASSIGN_PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPORT_DAMAGE_FIELD_NUMBER: _ClassVar[int]
    form_cluster: FormClusterCommand
    register_node: RegisterNodeCommand
    create_topic: CreateTopicCommand
    delete_topic: DeleteTopicCommand
    alter_topic: AlterTopicCommand
    allocate_producer_ids: AllocateProducerIdsCommand
    change_partition: ChangePartitionCommand
    add_voter: AddVoterCommand
    update_voter: UpdateVoterCommand
    remove_node: RemoveNodeCommand
    replace_node: ReplaceNodeCommand
    fence_node: FenceNodeCommand
    unfence_node: UnfenceNodeCommand
    elect_leaders: ElectLeadersCommand
    balance_leaders: BalanceLeadersCommand
    transfer_leader: TransferLeaderCommand
    reassign_partition: ReassignPartitionCommand
    report_damage: ReportDamageCommand
    def __init__(self, form_cluster: _Optional[_Union[FormClusterCommand, _Mapping]] = ..., register_node: _Optional[_Union[RegisterNodeCommand, _Mapping]] = ..., create_topic: _Optional[_Union[CreateTopicCommand, _Mapping]] = ..., delete_topic: _Optional[_Union[DeleteTopicCommand, _Mapping]] = ..., alter_topic: _Optional[_Union[AlterTopicCommand, _Mapping]] = ..., allocate_producer_ids: _Optional[_Union[AllocateProducerIdsCommand, _Mapping]] = ..., change_partition: _Optional[_Union[ChangePartitionCommand, _Mapping]] = ..., add_voter: _Optional[_Union[AddVoterCommand, _Mapping]] = ..., update_voter: _Optional[_Union[UpdateVoterCommand, _Mapping]] = ..., remove_node: _Optional[_Union[RemoveNodeCommand, _Mapping]] = ..., replace_node: _Optional[_Union[ReplaceNodeCommand, _Mapping]] = ..., fence_node: _Optional[_Union[FenceNodeCommand, _Mapping]] = ..., unfence_node: _Optional[_Union[UnfenceNodeCommand, _Mapping]] = ..., elect_leaders: _Optional[_Union[ElectLeadersCommand, _Mapping]] = ..., balance_leaders: _Optional[_Union[BalanceLeadersCommand, _Mapping]] = ..., transfer_leader: _Optional[_Union[TransferLeaderCommand, _Mapping]] = ..., reassign_partition: _Optional[_Union[ReassignPartitionCommand, _Mapping]] = ..., report_damage: _Optional[_Union[ReportDamageCommand, _Mapping]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("cluster_id", "node", "topic", "producer_ids", "partition", "voters", "node_removal", "partition_changes")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_IDS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    NODE_REMOVAL_FIELD_NUMBER: _ClassVar[int]
    PARTITION_CHANGES_FIELD_NUMBER: _ClassVar[int]
    cluster_id: bytes
    node: _record_pb2.NodeRegistered
    topic: TopicReply
    producer_ids: ProducerIdsReply
    partition: _record_pb2.PartitionState
    voters: _record_pb2.VotersChanged
    node_removal: NodeRemovalReply
    partition_changes: PartitionChangesReply
    def __init__(self, cluster_id: _Optional[bytes] = ..., node: _Optional[_Union[_record_pb2.NodeRegistered, _Mapping]] = ..., topic: _Optional[_Union[TopicReply, _Mapping]] = ..., producer_ids: _Optional[_Union[ProducerIdsReply, _Mapping]] = ..., partition: _Optional[_Union[_record_pb2.PartitionState, _Mapping]] = ..., voters: _Optional[_Union[_record_pb2.VotersChanged, _Mapping]] = ..., node_removal: _Optional[_Union[NodeRemovalReply, _Mapping]] = ..., partition_changes: _Optional[_Union[PartitionChangesReply, _Mapping]] = ...) -> None: ...

class FormClusterCommand(_message.Message):
    __slots__ = ("cluster_id",)
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: bytes
    def __init__(self, cluster_id: _Optional[bytes] = ...) -> None: ...

class RegisterNodeCommand(_message.Message):
    __slots__ = ("node_id", "directory_id", "incarnation_id", "address", "rack", "peer_address")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    incarnation_id: bytes
    address: str
    rack: str
    peer_address: str
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., incarnation_id: _Optional[bytes] = ..., address: _Optional[str] = ..., rack: _Optional[str] = ..., peer_address: _Optional[str] = ...) -> None: ...

class CreateTopicCommand(_message.Message):
    __slots__ = ("topic_id", "name", "partitions", "replication_factor", "config", "validate_only", "internal")
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
    REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    name: str
    partitions: int
    replication_factor: int
    config: _containers.ScalarMap[str, str]
    validate_only: bool
    internal: bool
    def __init__(self, topic_id: _Optional[bytes] = ..., name: _Optional[str] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ..., config: _Optional[_Mapping[str, str]] = ..., validate_only: bool = ..., internal: bool = ...) -> None: ...

class DeleteTopicCommand(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: bytes
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class AlterTopicCommand(_message.Message):
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

class AllocateProducerIdsCommand(_message.Message):
    __slots__ = ("node_id", "count")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    count: int
    def __init__(self, node_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class MemberState(_message.Message):
    __slots__ = ("node_id", "node_epoch")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    node_epoch: int
    def __init__(self, node_id: _Optional[int] = ..., node_epoch: _Optional[int] = ...) -> None: ...

class ChangePartitionCommand(_message.Message):
    __slots__ = ("topic_id", "partition", "leader", "leader_epoch", "partition_epoch", "isr")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    leader: MemberState
    leader_epoch: int
    partition_epoch: int
    isr: _containers.RepeatedCompositeFieldContainer[MemberState]
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader: _Optional[_Union[MemberState, _Mapping]] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., isr: _Optional[_Iterable[_Union[MemberState, _Mapping]]] = ...) -> None: ...

class TransferLeaderCommand(_message.Message):
    __slots__ = ("topic_id", "partition", "node_id", "request_id")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    node_id: int
    request_id: bytes
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., node_id: _Optional[int] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class ReassignPartitionCommand(_message.Message):
    __slots__ = ("topic_id", "partition", "replicas", "request_id")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    request_id: bytes
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class ReportDamageCommand(_message.Message):
    __slots__ = ("node_id", "incarnation_id", "partitions", "leads_on")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    LEADS_ON_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    incarnation_id: bytes
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionName]
    leads_on: bool
    def __init__(self, node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ..., partitions: _Optional[_Iterable[_Union[PartitionName, _Mapping]]] = ..., leads_on: bool = ...) -> None: ...

class PartitionName(_message.Message):
    __slots__ = ("topic_id", "partition")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ...) -> None: ...

class AddVoterCommand(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    def __init__(self, node_id: _Optional[int] = ...) -> None: ...

class UpdateVoterCommand(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    def __init__(self, node_id: _Optional[int] = ...) -> None: ...

class RemoveNodeCommand(_message.Message):
    __slots__ = ("node_id", "directory_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...

class ReplaceNodeCommand(_message.Message):
    __slots__ = ("node_id", "directory_id", "accept_data_loss")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_DATA_LOSS_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    directory_id: bytes
    accept_data_loss: bool
    def __init__(self, node_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ..., accept_data_loss: bool = ...) -> None: ...

class FenceNodeCommand(_message.Message):
    __slots__ = ("node_id", "incarnation_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    incarnation_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ...) -> None: ...

class UnfenceNodeCommand(_message.Message):
    __slots__ = ("node_id", "incarnation_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    incarnation_id: bytes
    def __init__(self, node_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ...) -> None: ...

class ElectLeadersCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BalanceLeadersCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TopicReply(_message.Message):
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
    partitions: _containers.RepeatedCompositeFieldContainer[_record_pb2.PartitionState]
    config: _containers.ScalarMap[str, str]
    def __init__(self, topic_id: _Optional[bytes] = ..., name: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[_record_pb2.PartitionState, _Mapping]]] = ..., config: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ProducerIdsReply(_message.Message):
    __slots__ = ("first_id", "count")
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first_id: int
    count: int
    def __init__(self, first_id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class NodeRemovalReply(_message.Message):
    __slots__ = ("node_id", "done")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    done: bool
    def __init__(self, node_id: _Optional[int] = ..., done: bool = ...) -> None: ...

class PartitionChangesReply(_message.Message):
    __slots__ = ("count", "more")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    count: int
    more: bool
    def __init__(self, count: _Optional[int] = ..., more: bool = ...) -> None: ...

class AskBoundsRequest(_message.Message):
    __slots__ = ("sender", "queries")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    sender: PeerSender
    queries: _containers.RepeatedCompositeFieldContainer[BoundsQuery]
    def __init__(self, sender: _Optional[_Union[PeerSender, _Mapping]] = ..., queries: _Optional[_Iterable[_Union[BoundsQuery, _Mapping]]] = ...) -> None: ...

class BoundsQuery(_message.Message):
    __slots__ = ("topic_id", "partition", "offset")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    offset: int
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class AskBoundsResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[BoundsAnswer]
    def __init__(self, answers: _Optional[_Iterable[_Union[BoundsAnswer, _Mapping]]] = ...) -> None: ...

class BoundsAnswer(_message.Message):
    __slots__ = ("error", "log_start_offset", "high_watermark", "append_time_ms")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    APPEND_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    error: _common_pb2.Error
    log_start_offset: int
    high_watermark: int
    append_time_ms: int
    def __init__(self, error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., log_start_offset: _Optional[int] = ..., high_watermark: _Optional[int] = ..., append_time_ms: _Optional[int] = ...) -> None: ...
