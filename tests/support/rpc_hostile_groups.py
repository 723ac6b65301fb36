"""What only an enemy or a broken member would say to a coordinator, and what it is answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import group_pb2 as pb
from logd_wire.errors import ErrorCode

from tests.support.rpc_server import GROUP

GROUP_UNARY: Final[dict[str, type[Message]]] = {
    GROUP + "FindCoordinator": pb.FindCoordinatorRequest,
    GROUP + "Heartbeat": pb.GroupHeartbeatRequest,
    GROUP + "CommitOffsets": pb.CommitOffsetsRequest,
    GROUP + "FetchOffsets": pb.FetchOffsetsRequest,
    GROUP + "ListGroups": pb.ListGroupsRequest,
    GROUP + "DescribeGroup": pb.DescribeGroupRequest,
    GROUP + "GroupLag": pb.GroupLagRequest,
    GROUP + "DeleteOffsets": pb.DeleteOffsetsRequest,
    GROUP + "DeleteGroup": pb.DeleteGroupRequest,
}
INVALID: Final = ErrorCode.INVALID_REQUEST
INT32_MAX: Final = 2**31 - 1
INT32_MIN: Final = -(2**31)
INT64_MIN: Final = -(2**63)
TOPIC_ID: Final = bytes(16)
#: Name, method, request, and the code of the answer.
Faulty = Iterable[tuple[str, str, Message, ErrorCode]]


def faulty_groups() -> Faulty:
    """Well-formed requests that nobody sends in good faith."""
    yield from _ids()
    yield from _heartbeats()
    yield from _commits()
    yield from _reads()


def _ids() -> Faulty:
    for text in ("", " ", "a" * 250, "a\0b", "a\r\nb", "a\u202eb", "\x1b[31m", "a" * 500_000):
        for method, kind in GROUP_UNARY.items():
            if kind is pb.ListGroupsRequest:
                continue
            request: Any = kind()
            request.group_id = text
            yield f"group {text[:9]!a} {len(text)}", method, request, ErrorCode.INVALID_GROUP_ID


def _heartbeats() -> Faulty:
    method = GROUP + "Heartbeat"
    many = [f"t{number}" for number in range(1_001)]
    held = pb.TopicPartitions(topic_id=TOPIC_ID, partitions=[-1])
    crowd = pb.TopicPartitions(topic_id=TOPIC_ID, partitions=range(10_000))
    wanted: tuple[tuple[str, dict[str, Any], ErrorCode], ...] = (
        ("no member", {"member_id": ""}, INVALID),
        ("a long member", {"member_id": "m" * 250}, INVALID),
        ("a member with a nul", {"member_id": "m\0"}, INVALID),
        ("epoch -3", {"member_epoch": -3}, INVALID),
        ("epoch -2^31", {"member_epoch": INT32_MIN}, INVALID),
        ("an empty instance", {"instance_id": ""}, INVALID),
        ("a long instance", {"instance_id": "i" * 250}, INVALID),
        ("an instance with an escape", {"instance_id": "\x1b[31m"}, INVALID),
        ("a rack with a newline", {"rack": "a\nb"}, INVALID),
        ("a long client id", {"client_id": "c" * 256}, INVALID),
        ("rebalance timeout -1", {"rebalance_timeout_ms": -1}, INVALID),
        ("rebalance timeout 0", {"rebalance_timeout_ms": 0}, INVALID),
        ("rebalance timeout 2^31-1", {"rebalance_timeout_ms": INT32_MAX}, INVALID),
        ("session -1", {"session_timeout_ms": -1}, INVALID),
        ("session 1", {"session_timeout_ms": 1}, INVALID),
        ("session 2^31-1", {"session_timeout_ms": INT32_MAX}, INVALID),
        ("wait -1", {"max_wait_ms": -1}, INVALID),
        ("1001 topics", {"subscription": pb.TopicNames(topics=many)}, INVALID),
        (
            "a topic called ..",
            {"subscription": pb.TopicNames(topics=[".."])},
            ErrorCode.INVALID_TOPIC_NAME,
        ),
        ("an open bracket", {"subscription_pattern": "(a"}, ErrorCode.INVALID_PATTERN),
        ("a back reference", {"subscription_pattern": r"(a)\1"}, ErrorCode.INVALID_PATTERN),
        ("a look-ahead", {"subscription_pattern": "(?=a)b"}, ErrorCode.INVALID_PATTERN),
        (
            "a pattern that grows",
            {"subscription_pattern": r"(?:\pL{0,500}){0,2}"},
            ErrorCode.INVALID_PATTERN,
        ),
        ("repetitions", {"subscription_pattern": "((a{100}){100})"}, ErrorCode.INVALID_PATTERN),
        ("a long pattern", {"subscription_pattern": "a" * 1_001}, ErrorCode.INVALID_PATTERN),
        ("an assignor", {"assignor": "no\nsuch"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ("a topic id of 1", {"owned": pb.OwnedPartitions(topics=[{"topic_id": b"x"}])}, INVALID),
        ("partition -1", {"owned": pb.OwnedPartitions(topics=[held])}, INVALID),
        ("20000 partitions", {"owned": pb.OwnedPartitions(topics=[crowd, crowd])}, INVALID),
        ("a stranger", {"member_epoch": 7}, ErrorCode.UNKNOWN_MEMBER),
    )
    for name, fields, code in wanted:
        base = {"group_id": "g", "member_id": "m", "rebalance_timeout_ms": 60_000}
        yield name, method, pb.GroupHeartbeatRequest(**{**base, **fields}), code


def _commits() -> Faulty:
    method = GROUP + "CommitOffsets"
    for name, offset in (
        ("no topic id", pb.OffsetCommit(leader_epoch=-1)),
        ("partition -1", pb.OffsetCommit(topic_id=TOPIC_ID, partition=-1, leader_epoch=-1)),
        ("partition 2^31-1", pb.OffsetCommit(topic_id=TOPIC_ID, partition=INT32_MAX)),
        ("offset -1", pb.OffsetCommit(topic_id=TOPIC_ID, offset=-1)),
        ("offset -2^63", pb.OffsetCommit(topic_id=TOPIC_ID, offset=INT64_MIN)),
        ("leader epoch -2", pb.OffsetCommit(topic_id=TOPIC_ID, leader_epoch=-2)),
    ):
        request = pb.CommitOffsetsRequest(group_id="g", member_epoch=-1, offsets=[offset])
        yield name, method, request, INVALID
    each = pb.OffsetCommit(topic_id=TOPIC_ID)
    for name, fields, code in (
        ("sequence -1", {"sequence": -1}, INVALID),
        ("an epoch and no member", {"member_epoch": 3}, INVALID),
        ("a member without epoch", {"member_id": "m"}, INVALID),
        ("a partition twice", {"offsets": [each, each]}, INVALID),
        ("10001 offsets", {"offsets": [each] * 10_001}, INVALID),
        ("a stranger", {"member_id": "m", "member_epoch": 3}, ErrorCode.UNKNOWN_MEMBER),
    ):
        base: dict[str, Any] = {"group_id": "g", "member_epoch": -1}
        yield name, method, pb.CommitOffsetsRequest(**{**base, **fields}), code


def _reads() -> Faulty:
    short = [pb.TopicPartitions(topic_id=bytes(17), partitions=[0])]
    below = [pb.TopicPartitions(topic_id=TOPIC_ID, partitions=[INT32_MIN])]
    for name, topics in (("a topic id of 17", short), ("partition -2^31", below)):
        fetch = pb.FetchOffsetsRequest(group_id="g", member_epoch=-1, topics=topics)
        yield name, GROUP + "FetchOffsets", fetch, INVALID
        delete = pb.DeleteOffsetsRequest(group_id="g", topics=topics)
        yield name, GROUP + "DeleteOffsets", delete, INVALID
    stranger = pb.FetchOffsetsRequest(group_id="g", member_id="m", member_epoch=3)
    yield "a stranger", GROUP + "FetchOffsets", stranger, ErrorCode.UNKNOWN_MEMBER
    for method, kind in GROUP_UNARY.items():
        if method.endswith(("DescribeGroup", "GroupLag", "DeleteGroup", "DeleteOffsets")):
            request: Any = kind()
            request.group_id = "nobody's"
            yield "no such group", method, request, ErrorCode.GROUP_NOT_FOUND
