"""The Python client of logd.

    from logd_client import Producer, Consumer

    with Producer("localhost:7171") as producer:
        print(producer.send("events", b"hello").result())

    with Consumer("events", auto_offset_reset="earliest") as consumer:
        for record in consumer:
            print(record.offset, record.value)

`logd_client.aio` has the same names for asyncio.
"""

from __future__ import annotations

from logd_wire.errors import (
    AuthError,
    BootstrapError,
    BufferFullError,
    ClosedError,
    ConfigError,
    CorruptBatchError,
    DataLossError,
    ErrorCode,
    FencedError,
    ForkError,
    InvalidConfigError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidTopicNameError,
    LogdError,
    NetworkError,
    NoOffsetError,
    NotLeaderError,
    OffsetOutOfRangeError,
    OutcomeUnknownError,
    OutOfOrderSequenceError,
    OverloadedError,
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

from logd_client._delivery import BulkDelivery, Delivery
from logd_client.admin import Admin
from logd_client.consumer import Consumer
from logd_client.producer import Producer
from logd_client.read_errors import ReadError
from logd_client.serializers import json_deserializer, json_serializer, string_deserializer
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    Deserializer,
    MemberInfo,
    NodeInfo,
    Offset,
    OffsetAndTimestamp,
    Partitioner,
    PartitionInfo,
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
    "BootstrapError",
    "BufferFullError",
    "BulkDelivery",
    "ClosedError",
    "ClusterInfo",
    "CompactedPartition",
    "ConfigEntry",
    "ConfigError",
    "Consumer",
    "CorruptBatchError",
    "DataLossError",
    "Delivery",
    "Deserializer",
    "ErrorCode",
    "FencedError",
    "ForkError",
    "InvalidConfigError",
    "InvalidRecordError",
    "InvalidRequestError",
    "InvalidTopicNameError",
    "LogdError",
    "MemberInfo",
    "NetworkError",
    "NoOffsetError",
    "NodeInfo",
    "NotLeaderError",
    "Offset",
    "OffsetAndTimestamp",
    "OffsetOutOfRangeError",
    "OutOfOrderSequenceError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PartitionInfo",
    "Partitioner",
    "Producer",
    "ProducerRecord",
    "ProgressInfo",
    "QuorumInfo",
    "RaftEntryInfo",
    "RaftLogPage",
    "RaftRecordInfo",
    "ReadError",
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
    "string_deserializer",
]
