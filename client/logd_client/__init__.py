"""The Python client of logd.

    from logd_client import Producer, Consumer

    with Producer("localhost:7171") as producer:
        print(producer.send("events", b"hello").result())

    with Consumer("events", auto_offset_reset="earliest") as consumer:
        for record in consumer:
            print(record.offset, record.value)

    with Consumer("events", group_id="mailers", auto_offset_reset="earliest") as consumer:
        consumer.run(send_mail, on_error=on_error.retry(3))

`logd_client.aio` has the same names for asyncio.
"""

from __future__ import annotations

from logd_wire.errors import (
    AuthError,
    BootstrapError,
    BufferFullError,
    ClosedError,
    ConfigError,
    CoordinatorLoadingError,
    CorruptBatchError,
    DataLossError,
    ErrorCode,
    FencedError,
    ForkError,
    GroupNotEmptyError,
    GroupNotFoundError,
    InstanceIdError,
    InvalidConfigError,
    InvalidGroupError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidTopicNameError,
    LogdError,
    NetworkError,
    NoOffsetError,
    NotCoordinatorError,
    NotLeaderError,
    OffsetOutOfRangeError,
    OutcomeUnknownError,
    OutOfOrderSequenceError,
    OverloadedError,
    RebalanceError,
    RecordTooLargeError,
    SerializationError,
    ShuttingDownError,
    StorageFailedError,
    StorageFullError,
    TimeoutError,
    TopicExistsError,
    UnknownTopicError,
    UnsupportedCompressionError,
)

from logd_client import on_error
from logd_client._delivery import BulkDelivery, Delivery
from logd_client._group_calls import Batch
from logd_client.admin import Admin
from logd_client.consumer import Consumer
from logd_client.group_values import (
    GroupDescription,
    GroupInfo,
    GroupLag,
    GroupMemberInfo,
    OffsetChange,
)
from logd_client.producer import Producer
from logd_client.read_errors import ReadError
from logd_client.rebalance import RebalanceListener
from logd_client.serializers import json_deserializer, json_serializer, string_deserializer
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    ConsumerStatus,
    Deserializer,
    MemberInfo,
    NodeInfo,
    Offset,
    OffsetAndTimestamp,
    PartitionCopy,
    Partitioner,
    PartitionInfo,
    PartitionStatus,
    ProducerRecord,
    ProgressInfo,
    QuorumInfo,
    RaftEntryInfo,
    RaftLogPage,
    RaftRecordInfo,
    Record,
    RecordMetadata,
    ReplicaProgress,
    Serializer,
    TopicInfo,
    TopicPartition,
    VoterInfo,
)
from logd_client.version import __version__

__all__ = [
    "Admin",
    "AuthError",
    "Batch",
    "BootstrapError",
    "BufferFullError",
    "BulkDelivery",
    "ClosedError",
    "ClusterInfo",
    "CompactedPartition",
    "ConfigEntry",
    "ConfigError",
    "Consumer",
    "ConsumerStatus",
    "CoordinatorLoadingError",
    "CorruptBatchError",
    "DataLossError",
    "Delivery",
    "Deserializer",
    "ErrorCode",
    "FencedError",
    "ForkError",
    "GroupDescription",
    "GroupInfo",
    "GroupLag",
    "GroupMemberInfo",
    "GroupNotEmptyError",
    "GroupNotFoundError",
    "InstanceIdError",
    "InvalidConfigError",
    "InvalidGroupError",
    "InvalidRecordError",
    "InvalidRequestError",
    "InvalidTopicNameError",
    "LogdError",
    "MemberInfo",
    "NetworkError",
    "NoOffsetError",
    "NodeInfo",
    "NotCoordinatorError",
    "NotLeaderError",
    "Offset",
    "OffsetAndTimestamp",
    "OffsetChange",
    "OffsetOutOfRangeError",
    "OutOfOrderSequenceError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PartitionCopy",
    "PartitionInfo",
    "PartitionStatus",
    "Partitioner",
    "Producer",
    "ProducerRecord",
    "ProgressInfo",
    "QuorumInfo",
    "RaftEntryInfo",
    "RaftLogPage",
    "RaftRecordInfo",
    "ReadError",
    "RebalanceError",
    "RebalanceListener",
    "Record",
    "RecordMetadata",
    "RecordTooLargeError",
    "ReplicaProgress",
    "SerializationError",
    "Serializer",
    "ShuttingDownError",
    "StorageFailedError",
    "StorageFullError",
    "TimeoutError",
    "TopicExistsError",
    "TopicInfo",
    "TopicPartition",
    "UnknownTopicError",
    "UnsupportedCompressionError",
    "VoterInfo",
    "__version__",
    "json_deserializer",
    "json_serializer",
    "on_error",
    "string_deserializer",
]
