"""Inputs that only an enemy or a broken client would send, and what each must be answered.

A case is a coroutine function over an address: it makes its attack on connections of its own and
checks the answer. The server has a topic `orders` with one partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, cast

from google.protobuf.message import Message
from logd_proto.v1 import admin_pb2, common_pb2, log_pb2
from logd_wire.errors import ErrorCode, LogdError
from logd_wire.limits import MESSAGE_BYTES_MAX, MIB

from tests.support.rpc_attacks import (
    INT32_MAX,
    TOPIC,
    Case,
    batch_cases,
    connected,
    stream_cases,
    transport_cases,
)
from tests.support.rpc_forge import field, many, nested_groups
from tests.support.rpc_hostile_groups import GROUP_UNARY, faulty_groups
from tests.support.rpc_server import ADMIN, LOG, call

UNARY: Final[dict[str, type[Message]]] = {
    LOG + "Hello": log_pb2.HelloRequest,
    LOG + "GetMetadata": log_pb2.GetMetadataRequest,
    LOG + "Append": log_pb2.AppendRequest,
    LOG + "Read": log_pb2.ReadRequest,
    LOG + "ListOffsets": log_pb2.ListOffsetsRequest,
    LOG + "InitProducerId": log_pb2.InitProducerIdRequest,
    ADMIN + "CreateTopic": admin_pb2.CreateTopicRequest,
    ADMIN + "DeleteTopic": admin_pb2.DeleteTopicRequest,
    ADMIN + "AlterTopic": admin_pb2.AlterTopicRequest,
    ADMIN + "DescribeTopics": admin_pb2.DescribeTopicsRequest,
    ADMIN + "TrimTopic": admin_pb2.TrimTopicRequest,
    ADMIN + "DescribeCluster": admin_pb2.DescribeClusterRequest,
    ADMIN + "DescribeConfig": admin_pb2.DescribeConfigRequest,
    ADMIN + "DescribeQuorum": admin_pb2.DescribeQuorumRequest,
    ADMIN + "ReadRaftLog": admin_pb2.ReadRaftLogRequest,
    ADMIN + "AddNode": admin_pb2.AddNodeRequest,
    ADMIN + "RemoveNode": admin_pb2.RemoveNodeRequest,
    ADMIN + "ReplaceNode": admin_pb2.ReplaceNodeRequest,
    **GROUP_UNARY,
}
#: Methods that take more values than others.
_ROOMY: Final = {"Append", "CommitOffsets"}
NAMES: Final = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "parent": "../x",
    "slash": "a/b",
    "percent": "%2e%2e",
    "nul": "a\0b",
    "crlf": "a\r\nb",
    "override": "a\u202eb",
    "accent": "é",
    "space": "a b",
    "long": "a" * 250,
    "endless": "a" * 500_000,
}


async def expect(
    port: int, method: str, data: Message | bytes, *codes: ErrorCode, **options: Any
) -> None:
    """Make the call; its error, or the first error of an entry of its answer, is one of `codes`."""
    async with connected(port) as channel:
        try:
            answer = await call(channel, method, data, cast(Any, _Bytes), **options)
        except LogdError as error:
            assert error.code in codes, repr(error)
            assert error.message and len(str(error)) < 1_500, error
            assert str(error).isprintable(), "an error's text belongs on one line"
            return
    code = _entry_code(method, answer.data)
    assert code in codes, f"answered with {answer.data[:100]!r}"


class _Bytes:
    """Stands for a response type: the bytes as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def FromString(cls, data: bytes) -> _Bytes:
        return cls(data)


def _entry_code(method: str, data: bytes) -> int:
    match method.rpartition("/")[2]:
        case "GetMetadata":
            return log_pb2.GetMetadataResponse.FromString(data).topics[0].error.code
        case "ListOffsets":
            return log_pb2.ListOffsetsResponse.FromString(data).answers[0].error.code
        case "DescribeTopics":
            return admin_pb2.DescribeTopicsResponse.FromString(data).topics[0].error.code
        case "ReassignPartitions":
            return admin_pb2.ReassignPartitionsResponse.FromString(data).partitions[0].error.code
        case _:
            return 0


def _named(name: str) -> Iterable[tuple[str, Message]]:
    yield LOG + "GetMetadata", log_pb2.GetMetadataRequest(topics=[name])
    yield LOG + "Append", log_pb2.AppendRequest(topic=name, records=[common_pb2.Record()])
    yield LOG + "Read", log_pb2.ReadRequest(topic=name)
    query = log_pb2.OffsetQuery(topic=name, latest=True)
    yield LOG + "ListOffsets", log_pb2.ListOffsetsRequest(queries=[query])
    yield ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name=name)
    yield ADMIN + "DeleteTopic", admin_pb2.DeleteTopicRequest(name=name)
    yield ADMIN + "AlterTopic", admin_pb2.AlterTopicRequest(name=name, partitions=2)
    yield ADMIN + "DescribeTopics", admin_pb2.DescribeTopicsRequest(names=[name])
    trim = admin_pb2.TrimPartition(partition=0, before_offset=-1)
    yield ADMIN + "TrimTopic", admin_pb2.TrimTopicRequest(name=name, partitions=[trim])
    move = admin_pb2.PartitionReassignment(name=name, replicas=[1])
    yield ADMIN + "ReassignPartitions", admin_pb2.ReassignPartitionsRequest(partitions=[move])


INT32_MIN: Final = -(2**31)
INT64_MIN: Final = -(2**63)


Faulty = Iterable[tuple[str, str, Message, ErrorCode]]


def _partitions() -> Faulty:
    """Name, method, request, code, as in all that follow."""
    record = common_pb2.Record(value=b"v")
    for partition in (-1, INT32_MIN, INT32_MAX):
        query = log_pb2.OffsetQuery(topic=TOPIC, partition=partition, latest=True)
        trim = admin_pb2.TrimPartition(partition=partition)
        move = admin_pb2.PartitionReassignment(name=TOPIC, partition=partition, replicas=[1])
        requests: tuple[tuple[str, Message], ...] = (
            (LOG + "Read", log_pb2.ReadRequest(topic=TOPIC, partition=partition)),
            (
                LOG + "Append",
                log_pb2.AppendRequest(topic=TOPIC, partition=partition, records=[record]),
            ),
            (LOG + "ListOffsets", log_pb2.ListOffsetsRequest(queries=[query])),
            (ADMIN + "TrimTopic", admin_pb2.TrimTopicRequest(name=TOPIC, partitions=[trim])),
            (ADMIN + "ReassignPartitions", admin_pb2.ReassignPartitionsRequest(partitions=[move])),
        )
        for method, request in requests:
            yield f"partition {partition}", method, request, ErrorCode.INVALID_REQUEST


def _read_numbers() -> Faulty:
    for fields in (
        {"offset": -1},
        {"offset": INT64_MIN},
        {"max_records": -1},
        {"max_records": 10_001},
        {"max_wait_ms": -1},
        {"max_wait_ms": 30_001},
    ):
        request = log_pb2.ReadRequest(topic=TOPIC, **fields)
        yield str(fields), LOG + "Read", request, ErrorCode.INVALID_REQUEST
    behind = log_pb2.ReadRequest(topic=TOPIC, offset=2**63 - 1)
    yield "offset behind the end", LOG + "Read", behind, ErrorCode.OFFSET_OUT_OF_RANGE


def _append_numbers() -> Faulty:
    invalid, method = ErrorCode.INVALID_REQUEST, LOG + "Append"
    record = common_pb2.Record(value=b"v")
    acks = log_pb2.AppendRequest(topic=TOPIC, acks=2, records=[record])
    yield "acks 2", method, acks, invalid
    yield "no records", method, log_pb2.AppendRequest(topic=TOPIC), invalid
    negative = common_pb2.Record(timestamp_ms=-1)
    early = log_pb2.AppendRequest(topic=TOPIC, records=[negative])
    yield "timestamp -1", method, early, ErrorCode.INVALID_TIMESTAMP


def _admin_numbers() -> Faulty:
    create, alter, trim = ADMIN + "CreateTopic", ADMIN + "AlterTopic", ADMIN + "TrimTopic"
    for count in (-1, INT32_MIN, INT32_MAX, 10_001):
        created = admin_pb2.CreateTopicRequest(name="new", partitions=count)
        altered = admin_pb2.AlterTopicRequest(name=TOPIC, partitions=count)
        yield f"{count} partitions", create, created, ErrorCode.INVALID_PARTITIONS
        yield f"{count} partitions", alter, altered, ErrorCode.INVALID_PARTITIONS
    for factor in (-2, INT32_MIN, INT32_MAX, 101):
        created = admin_pb2.CreateTopicRequest(name="new", replication_factor=factor)
        yield f"{factor} replicas", create, created, ErrorCode.INVALID_REPLICATION_FACTOR
    for name, partitions in (
        ("before_offset -2", [admin_pb2.TrimPartition(before_offset=-2)]),
        ("a partition twice", [admin_pb2.TrimPartition(), admin_pb2.TrimPartition()]),
        ("no partition", []),
    ):
        trimmed = admin_pb2.TrimTopicRequest(name=TOPIC, partitions=partitions)
        yield name, trim, trimmed, ErrorCode.INVALID_REQUEST
    for name, fields in (
        ("wait_ms -1", {"wait_ms": -1}),
        ("a partition twice", {"partitions": [0, 0]}),
        ("partition -1", {"partitions": [-1]}),
    ):
        compacted = admin_pb2.CompactTopicRequest(name=TOPIC, **fields)
        yield name, ADMIN + "CompactTopic", compacted, ErrorCode.INVALID_REQUEST
    for name, transferred in (
        ("node -1", admin_pb2.TransferLeaderRequest(name=TOPIC, node_id=-1)),
        ("partition -1", admin_pb2.TransferLeaderRequest(name=TOPIC, partition=-1)),
        ("request id", admin_pb2.TransferLeaderRequest(name=TOPIC, request_id=b"short")),
    ):
        yield name, ADMIN + "TransferLeader", transferred, ErrorCode.INVALID_REQUEST
    drawn = admin_pb2.AlterTopicRequest(name=TOPIC, request_id=bytes(16))
    yield "request id", ADMIN + "AlterTopic", drawn, ErrorCode.INVALID_REQUEST
    version = log_pb2.HelloRequest(protocol_version=-1)
    yield "version -1", LOG + "Hello", version, ErrorCode.INVALID_REQUEST


def _texts() -> Faulty:
    request: Message
    invalid, config = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_CONFIG
    for text in ("a" * 256, "a\0b", "a\r\nb", "a\u202eb", "\x1b[31m"):
        yield (
            f"client_id {text[:9]!a}",
            LOG + "Hello",
            log_pb2.HelloRequest(client_id=text),
            invalid,
        )
        software = log_pb2.HelloRequest(client_software=text)
        yield f"client_software {text[:9]!a}", LOG + "Hello", software, invalid
    for text in ("x", "a" * 10_000, "\r\n"):
        request = log_pb2.HelloRequest(expected_cluster_id=text)
        yield f"cluster id {text[:9]!a}", LOG + "Hello", request, invalid
    for name, value in (
        ("no.such.setting", "1"),
        ("retention.ms", "x" * 5_000),
        ("retention.ms", "-9" * 30),
        ("retention.ms", "\0"),
        ("a" * 5_000, "1"),
        ("a\r\nb", "1"),
        ("", "1"),
        ("cleanup.policy", "\u202e"),
    ):
        for method, request in (
            (ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name="n", config={name: value})),
            (
                ADMIN + "AlterTopic",
                admin_pb2.AlterTopicRequest(name=TOPIC, set_config={name: value}),
            ),
        ):
            yield f"config {name[:16]!a}={value[:9]!a}", method, request, config
    settings = {f"s{number}": "1" for number in range(101)}
    yield (
        "101 settings",
        ADMIN + "CreateTopic",
        admin_pb2.CreateTopicRequest(name="n", config=settings),
        invalid,
    )
    for topic_id in (b"x", bytes(15), bytes(17), bytes(5_000)):
        yield (
            f"topic id of {len(topic_id)}",
            LOG + "GetMetadata",
            log_pb2.GetMetadataRequest(topic_ids=[topic_id]),
            invalid,
        )
        query = log_pb2.OffsetQuery(topic_id=topic_id, latest=True)
        yield (
            f"topic id of {len(topic_id)}",
            LOG + "ListOffsets",
            log_pb2.ListOffsetsRequest(queries=[query]),
            invalid,
        )


def unary_cases() -> Iterable[Case]:
    invalid = ErrorCode.INVALID_REQUEST
    for method in UNARY:
        short = method.rpartition("/")[2]
        for name, data in (
            ("garbage", b"\xff" * 100),
            ("noise", bytes(range(256)) * 4),
            ("a varint without end", b"\x80" * 50_000),
            ("a length of 2^63", b"\x0a" + b"\xff" * 9 + b"\x01"),
            ("cut", b"\x0a\x20abc"),
            ("10000 groups", nested_groups(10_000)),
            ("an open group", b"\x0b"),
        ):
            yield Case(f"{short}: {name}", partial(_expect, method, data, (invalid,)))
        too_much = many(15, 60_000 if short not in _ROOMY else 110_000)
        yield Case(f"{short}: unknown fields", partial(_expect, method, too_much, (invalid,)))
        if short != "Append":
            endless = b"\x7a\x80\x80\x44" + bytes(0x11 << 16)
            yield Case(f"{short}: too long", partial(_expect, method, endless, (invalid,)))
    for name, text in NAMES.items():
        for method, request in _named(text):
            wanted = (
                (ErrorCode.INVALID_TOPIC_NAME, invalid)
                if name == "endless"
                else (ErrorCode.INVALID_TOPIC_NAME,)
            )
            short = method.rpartition("/")[2]
            yield Case(f"{short}: name {name}", partial(_expect, method, request, wanted))
    internal = admin_pb2.CreateTopicRequest(name="__x")
    yield Case(
        "CreateTopic: internal name",
        partial(_expect, ADMIN + "CreateTopic", internal, (ErrorCode.INVALID_TOPIC_NAME,)),
    )
    yield Case(
        "Read: a name that is not UTF-8",
        partial(_expect, LOG + "Read", b"\x0a\x02\xff\xfe", (invalid,)),
    )
    faulty = (
        *_partitions(),
        *_read_numbers(),
        *_append_numbers(),
        *_admin_numbers(),
        *_texts(),
        *faulty_groups(),
    )
    for name, method, request, code in faulty:
        short = method.rpartition("/")[2]
        yield Case(f"{short}: {name}", partial(_expect, method, request, (code,)))
    yield from _amplifications()


async def _expect(
    method: str, data: Message | bytes, codes: tuple[ErrorCode, ...], port: int
) -> None:
    await expect(port, method, data, *codes)


def _amplifications() -> Iterable[Case]:
    """Small on the wire, large in memory: megabytes of values of no bytes."""
    invalid = (ErrorCode.INVALID_REQUEST,)
    topic = b"\x0a\x06orders"
    full = (MESSAGE_BYTES_MAX - 1_000) // 2
    inner = many(3, 8_000)
    for name, method, data in (
        ("empty records", LOG + "Append", topic + many(3, full)),
        ("empty headers", LOG + "Append", topic + field(3, many(3, full - 10))),
        ("records and headers", LOG + "Append", topic + field(3, inner) * 900),
        ("headers, then garbage", LOG + "Append", topic + field(3, many(3, full - 10)) + b"\xff"),
        ("empty settings", ADMIN + "CreateTopic", b"\x0a\x01n" + many(4, 500_000)),
        ("empty names", ADMIN + "DescribeTopics", many(1, 500_000)),
        ("empty queries", LOG + "ListOffsets", many(1, 500_000)),
        ("names", ADMIN + "DescribeTopics", many(1, 10_001, b"a")),
        ("queries", LOG + "ListOffsets", many(1, 10_001)),
        ("records", LOG + "Append", topic + many(3, 10_001)),
    ):
        attack = partial(_expect, method, data, invalid)
        yield Case(f"{method.rpartition('/')[2]}: {name}", attack, large=len(data) > MIB)


def all_cases() -> list[Case]:
    """The whole corpus."""
    return [*unary_cases(), *transport_cases(), *batch_cases(), *stream_cases()]
