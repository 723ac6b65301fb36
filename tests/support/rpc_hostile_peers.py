"""The hostile corpus of the peer service; see `rpc_hostile` for what a case is.

Whoever attacks knows neither the cluster nor a node: all of it is refused before a node looks at
who speaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import ErrorCode, LogdError
from logd_wire.limits import MESSAGE_BYTES_MAX, MIB

from logd.rpc import peer_codec as codec
from tests.support.peer_values import NO_RECORD
from tests.support.rpc_attacks import Case, connected, expect_status
from tests.support.rpc_forge import field, many, nested_groups
from tests.support.rpc_hostile import expect
from tests.support.rpc_server import ClientStream

INVALID: Final = ErrorCode.INVALID_REQUEST
#: A sender that is well formed; no node has it.
SENDER: Final = pb.PeerSender(
    cluster_id=b"\xff" * 16, node_id=9, directory_id=b"\xfe" * 16, protocol_version=1
)
_SENDER_BYTES: Final = field(1, SENDER.SerializeToString())
CALLS: Final[dict[str, type[Message]]] = {
    codec.IDENTIFY: pb.IdentifyRequest,
    codec.SUBMIT: pb.SubmitRequest,
    codec.HEARTBEAT: pb.HeartbeatRequest,
    codec.SNAPSHOT_CHUNK: pb.SnapshotChunkRequest,
    codec.ASK_BOUNDS: pb.AskBoundsRequest,
}
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


def call_cases() -> Iterable[Case]:
    for method in CALLS:
        short = method.rpartition("/")[2]
        for name, data in (
            ("garbage", b"\xff" * 100),
            ("noise", bytes(range(256)) * 4),
            ("a varint without end", b"\x80" * 10_000),
            ("a length of 2^63", b"\x0a" + b"\xff" * 9 + b"\x01"),
            ("cut", b"\x0a\x20abc"),
            ("10000 groups", nested_groups(1_000)),
            ("nothing", b""),
            ("no sender", b"\xf8\x3f\x07"),
            ("too many values", many(15, 60_000)),
            ("too long", field(15, bytes(5 * MIB))),
        ):
            yield Case(
                f"{short}: {name}",
                partial(_refused, method, data, (INVALID,)),
                large=len(data) > MIB,
            )
    for name, sender in _senders():
        for method, request_type in CALLS.items():
            short = method.rpartition("/")[2]
            request: Any = request_type()
            request.sender.CopyFrom(sender)
            codes = (INVALID, ErrorCode.UNSUPPORTED_VERSION)
            yield Case(f"{short}: sender {name}", partial(_refused, method, request, codes))
    for name, request in _requests():
        method = next(each for each, kind in CALLS.items() if isinstance(request, kind))
        yield Case(
            f"{request.DESCRIPTOR.name}: {name}", partial(_refused, method, request, (INVALID,))
        )


def _senders() -> Iterable[tuple[str, pb.PeerSender]]:
    for name, fields in (
        ("of version 0", {"protocol_version": 0}),
        ("of version -1", {"protocol_version": -1}),
        ("of version 2^31-1", {"protocol_version": 2**31 - 1}),
        ("of node -1", {"node_id": -1}),
        ("of node -2^31", {"node_id": -(2**31)}),
        ("with a short cluster id", {"cluster_id": b"x"}),
        ("with a long cluster id", {"cluster_id": bytes(5_000)}),
        ("without a directory id", {"directory_id": b""}),
        ("with a long directory id", {"directory_id": bytes(17)}),
    ):
        sender = pb.PeerSender()
        sender.CopyFrom(SENDER)
        for key, value in fields.items():
            setattr(sender, key, value)
        yield name, sender


def _requests() -> Iterable[tuple[str, Message]]:
    yield "no command", pb.SubmitRequest(sender=SENDER)
    for name, command in _commands():
        yield name, pb.SubmitRequest(sender=SENDER, command=command)
    for name, fields in (
        ("node -1", {"node_id": -1}),
        ("no incarnation", {"incarnation_id": b""}),
        ("an incarnation of 17 bytes", {"incarnation_id": bytes(17)}),
        ("index -1", {"incarnation_id": bytes(16), "applied_index": -1}),
        ("index -2^63", {"incarnation_id": bytes(16), "applied_index": INT64_MIN}),
    ):
        yield name, pb.HeartbeatRequest(sender=SENDER, **fields)
    for name, query in (
        ("topic id", pb.BoundsQuery(topic_id=b"x")),
        ("partition -1", pb.BoundsQuery(topic_id=bytes(16), partition=-1)),
        ("offset -2", pb.BoundsQuery(topic_id=bytes(16), offset=-2)),
        ("offset -2^63", pb.BoundsQuery(topic_id=bytes(16), offset=INT64_MIN)),
    ):
        yield name, pb.AskBoundsRequest(sender=SENDER, queries=[query])
    many_queries = [pb.BoundsQuery(topic_id=bytes(16))] * 1_001
    yield "1001 partitions", pb.AskBoundsRequest(sender=SENDER, queries=many_queries)
    for name, chunk in (
        ("position -1", pb.SnapshotChunkRequest(position=-1)),
        ("position 2^63-1", pb.SnapshotChunkRequest(position=INT64_MAX, size_bytes=INT64_MAX)),
        ("size -1", pb.SnapshotChunkRequest(size_bytes=-1)),
        ("more than the whole", pb.SnapshotChunkRequest(size_bytes=1, data=b"xy")),
        ("term -1", pb.SnapshotChunkRequest(term=-1)),
        ("too many bytes", pb.SnapshotChunkRequest(size_bytes=5 * MIB, data=bytes(4 * MIB + 1))),
        ("voters in disorder", pb.SnapshotChunkRequest(snapshot=_snapshot(2, 1))),
        ("101 voters", pb.SnapshotChunkRequest(snapshot=_snapshot(*range(101)))),
    ):
        chunk.sender.CopyFrom(SENDER)
        if name == "position 2^63-1":
            chunk.data = b"x"
        yield name, chunk


def _commands() -> Iterable[tuple[str, pb.Command]]:
    long = b"\xff" * 17
    for name, command in (
        ("no kind", pb.Command()),
        ("cluster id", pb.Command(form_cluster=pb.FormClusterCommand(cluster_id=long))),
        ("topic id", pb.Command(create_topic=pb.CreateTopicCommand(topic_id=b"x"))),
        ("node -1", pb.Command(add_voter=pb.AddVoterCommand(node_id=-1))),
        ("count 0", pb.Command(allocate_producer_ids=pb.AllocateProducerIdsCommand())),
        ("incarnation", pb.Command(fence_node=pb.FenceNodeCommand(incarnation_id=long))),
        ("directory", pb.Command(remove_node=pb.RemoveNodeCommand(directory_id=long))),
        (
            "partition -1",
            pb.Command(
                change_partition=pb.ChangePartitionCommand(topic_id=bytes(16), partition=-1)
            ),
        ),
        ("topic id of none", pb.Command(transfer_leader=pb.TransferLeaderCommand(node_id=1))),
        (
            "partition -2",
            pb.Command(transfer_leader=pb.TransferLeaderCommand(topic_id=b"t" * 16, partition=-2)),
        ),
        ("topic of none", pb.Command(reassign_partition=pb.ReassignPartitionCommand(replicas=[1]))),
        (
            "replica -1",
            pb.Command(
                reassign_partition=pb.ReassignPartitionCommand(topic_id=b"t" * 16, replicas=[-1])
            ),
        ),
        (
            "an address with a line",
            pb.Command(
                register_node=pb.RegisterNodeCommand(
                    directory_id=bytes(16), incarnation_id=bytes(16), address="a\r\nb:1"
                )
            ),
        ),
    ):
        yield f"command with {name}", command


def _snapshot(*nodes: int) -> pb.RaftSnapshot:
    return pb.RaftSnapshot(
        voters=[pb.RaftVoter(node_id=node, directory_id=bytes(16)) for node in nodes]
    )


# --- the stream -----------------------------------------------------------------------------------


def raft_cases() -> Iterable[Case]:
    for name, data in (
        ("garbage", b"\xff" * 100),
        ("cut", b"\x0a\x20abc"),
        ("10000 groups", nested_groups(10_000)),
        ("nothing", b""),
        ("unknown fields", many(15, 160_000)),
        ("messages before a sender", many(3, 10)),
        ("a receiver of -1", _SENDER_BYTES + b"\x10" + b"\xff" * 9 + b"\x01"),
        ("1001 messages", _SENDER_BYTES + many(3, 1_001)),
        ("8 000 000 messages", _SENDER_BYTES + many(3, (MESSAGE_BYTES_MAX - 1_000) // 2)),
        ("8 000 000 entries", _append_bytes(many(3, (MESSAGE_BYTES_MAX - 1_000) // 2))),
        (
            "8 000 000 payloads",
            _append_bytes(field(3, many(3, (MESSAGE_BYTES_MAX - 1_000) // 2))),
        ),
        ("140 000 payloads", _append_bytes(field(3, b"\x10\x01" + many(3, 140_000)))),
        ("a payload of 15 MiB", _append_bytes(field(3, b"\x10\x01" + field(3, bytes(15 * MIB))))),
    ):
        yield Case(f"Raft: {name}", partial(_bad_frame, data), large=len(data) > MIB)
    for name, body in _bodies():
        frame = pb.RaftRequest(sender=SENDER, receiver_id=1, messages=[body])
        yield Case(f"Raft: {name}", partial(_bad_frame, frame.SerializeToString()))
    yield Case("Raft: a second sender", _second_sender)
    yield Case("Raft: a frame of 16 MiB and one byte", _oversized, large=True)
    yield Case(
        "Submit: a message of 16 MiB and one byte",
        partial(
            expect_status,
            method=codec.SUBMIT,
            data=bytes(MESSAGE_BYTES_MAX + 1),
            status=grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
        large=True,
    )


def _append_bytes(inside: bytes) -> bytes:
    """A frame with one append of term 1, `inside` of it."""
    return _SENDER_BYTES + field(3, field(3, b"\x08\x01" + inside))


def _bodies() -> Iterable[tuple[str, pb.RaftMessage]]:
    entry = pb.RaftEntry
    for name, entries in (
        ("an entry without payloads", [entry(term=1)]),
        ("an entry of term 0", [entry(payloads=[b"x"])]),
        ("an entry of a later term than its leader", [entry(term=10, payloads=[b"x"])]),
        ("an entry at -1", [entry(index=-1, term=1, payloads=[b"x"])]),
        ("an entry at 2^63-1", [entry(index=INT64_MAX, term=1, payloads=[b"x"])]),
        ("entries that overlap", [entry(term=1, payloads=[b"x", b"y"])] * 2),
        ("a gap", [entry(term=1, payloads=[b"x"]), entry(index=2, term=1, payloads=[b"x"])]),
        ("a payload that is no record", [entry(term=1, payloads=[NO_RECORD])]),
    ):
        append = pb.RaftAppendRequest(term=9, entries=entries)
        yield name, pb.RaftMessage(append_request=append)
    yield "no body", pb.RaftMessage()
    yield "term -2^63", pb.RaftMessage(timeout_now=pb.RaftTimeoutNow(term=INT64_MIN))
    vote = pb.RaftVoteRequest(last=pb.RaftPoint(index=-1))
    yield "a vote at -1", pb.RaftMessage(vote_request=vote)
    hint = pb.RaftAppendRejected(hint=pb.RaftPoint(term=-1))
    yield "a hint of term -1", pb.RaftMessage(append_rejected=hint)
    install = pb.RaftInstallSnapshot(snapshot=_snapshot(1, 1))
    yield "a voter twice", pb.RaftMessage(install_snapshot=install)


def peer_cases() -> list[Case]:
    """The whole corpus."""
    return [*call_cases(), *raft_cases()]


async def _refused(
    method: str, data: Message | bytes, codes: tuple[ErrorCode, ...], port: int
) -> None:
    await expect(port, method, data, *codes)


async def _bad_frame(data: bytes, port: int) -> None:
    async with connected(port) as channel:
        stream = ClientStream(channel, codec.RAFT, pb.RaftResponse)
        await stream.send(data)
        await _expect_refusal(stream)


async def _second_sender(port: int) -> None:
    frame = pb.RaftRequest(sender=SENDER, receiver_id=1)
    async with connected(port) as channel:
        stream = ClientStream(channel, codec.RAFT, pb.RaftResponse)
        await stream.send(frame)
        await stream.send(frame)
        await _expect_refusal(stream)


async def _expect_refusal(stream: ClientStream) -> None:
    try:
        answer = await stream.receive()
    except LogdError as error:
        assert error.code is INVALID, repr(error)
        assert str(error).isprintable() and len(str(error)) < 1_500, error
        return
    raise AssertionError(f"it was answered: {answer!r}")


async def _oversized(port: int) -> None:
    async with connected(port) as channel:
        stream: Any = channel.stream_stream(codec.RAFT)()
        try:
            await stream.write(bytes(MESSAGE_BYTES_MAX + 1))
            answer = await stream.read()
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
            return
    raise AssertionError(f"it was answered: {answer!r}")
