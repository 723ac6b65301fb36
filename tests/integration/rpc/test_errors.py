"""Errors: what a peer is told, what the log is told, and who may do what."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from logd_proto.v1 import admin_pb2, common_pb2, group_pb2, log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    AuthError,
    ErrorCode,
    LogdError,
    NotLeaderError,
    OverloadedError,
    error_for,
)

from logd.rpc.errors import details_of, from_proto, presentable, status_of, to_proto, trailers
from tests.support.rpc_broker import frame
from tests.support.rpc_server import (
    ADMIN,
    GROUP,
    HEALTH,
    LOG,
    ClientStream,
    Serving,
    call,
    eventually,
    hello,
    method_table,
    typed,
)

SECRET = "password of /srv/secret"


@pytest.mark.parametrize("code", [code for code in ErrorCode if code > 0])
def test_every_error_of_the_cluster_has_a_status_and_survives_the_wire(code: ErrorCode) -> None:
    assert status_of(code) is not grpc.StatusCode.OK
    error = error_for(code, "what and where", hint="what to do", next_offset=42)
    back = from_proto(common_pb2.Error.FromString(to_proto(error).SerializeToString()))
    assert type(back) is type(error)
    assert (back.code, back.message, back.hint) == (error.code, error.message, error.hint)
    assert (back.retriable, back.next_offset) == (error.retriable, 42)


def test_a_leader_hint_survives_the_wire() -> None:
    error = NotLeaderError("elsewhere")
    error.leader_id, error.leader_epoch, error.leader_address = 2, 7, "host:1"
    back = from_proto(to_proto(error), broker="here:1")
    assert isinstance(back, NotLeaderError) and back.broker == "here:1"
    assert (back.leader_id, back.leader_epoch, back.leader_address) == (2, 7, "host:1")


def test_the_longest_error_fits_the_metadata_of_a_call() -> None:
    error = LogdError("\u202e\U0001f4a5\n" * 100_000, hint="\U0001f4a5" * 100_000)
    ((_, trailer),) = trailers(error)
    assert len(details_of(error)) + len(trailer) * 4 // 3 < 8_000
    assert details_of(error).isascii()


UNARY_FAILURES = [
    ("read", LOG + "Read", log_pb2.ReadRequest(topic="t")),
    ("init_producer_id", LOG + "InitProducerId", log_pb2.InitProducerIdRequest()),
    ("metadata_for", LOG + "GetMetadata", log_pb2.GetMetadataRequest(topics=["t"])),
    ("create_topic", ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name="u")),
    ("authorize", LOG + "Hello", log_pb2.HelloRequest()),
    (
        "produce",
        LOG + "Append",
        log_pb2.AppendRequest(topic="t", records=[common_pb2.Record(value=b"v")]),
    ),
]


@pytest.mark.parametrize(("method", "name", "request_"), UNARY_FAILURES)
async def test_a_defect_is_logged_and_leaks_nothing(
    edge: Serving, caplog: pytest.LogCaptureFixture, method: str, name: str, request_: Message
) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures[method] = RuntimeError(SECRET)
    with pytest.raises(LogdError) as caught:
        await call(edge.channel, name, request_, log_pb2.HelloResponse)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "incident" in caught.value.message and caught.value.hint
    cause = caught.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    told = f"{caught.value} {cause.details()} {cause.trailing_metadata()}"
    assert "secret" not in told and "RuntimeError" not in told and ".py" not in told
    assert SECRET in caplog.text and "Traceback" in caplog.text
    edge.broker.failures.clear()
    await hello(edge.channel)
    assert edge.broker.budget.held == 0


async def test_a_defect_of_one_entry_leaks_nothing_and_spares_the_others(
    edge: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures = dict.fromkeys(("list_offset", "describe_partition"), OSError(SECRET))
    offsets = await call(
        edge.channel,
        LOG + "ListOffsets",
        log_pb2.ListOffsetsRequest(queries=[log_pb2.OffsetQuery(topic="t", latest=True)]),
        log_pb2.ListOffsetsResponse,
    )
    described = await call(
        edge.channel, ADMIN + "DescribeTopics", b"", admin_pb2.DescribeTopicsResponse
    )
    for error in (offsets.answers[0].error, described.topics[0].error):
        assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert "secret" not in str(error)
    assert SECRET in caplog.text


async def test_a_defect_behind_a_produced_batch_leaks_nothing(edge: Serving) -> None:
    topic = await edge.broker.create_topic("t")
    records = encode_batch([WireRecord(0, 1, None, b"v", ())])
    entry = log_pb2.ProduceBatch(id=1, topic_id=topic.topic_id, records=records, acks=-1)
    stream = ClientStream(edge.channel, LOG + "Produce", log_pb2.ProduceResponse)
    edge.broker.hold = True
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    await eventually(lambda: bool(edge.broker.held))
    edge.broker.answer_held(RuntimeError(SECRET))
    error = (await stream.receive()).results[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)
    edge.broker.failures["produce"] = RuntimeError(SECRET)
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    error = (await stream.receive()).results[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)


async def test_a_defect_of_a_fetch_session_leaks_nothing(
    edge: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        frames: Any = (frame(1, b"", 0, 0, ValueError(SECRET)),)

        async def next_frames(self) -> list[Any]:
            if not self.frames:
                raise KeyError(SECRET)
            frames, self.frames = list(self.frames), ()
            return frames

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(edge.broker, "fetch_session", lambda peer: Session())
    stream = ClientStream(edge.channel, LOG + "Fetch", log_pb2.FetchResponse)
    await stream.send(b"")
    error = (await stream.receive()).partitions[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)
    with pytest.raises(LogdError) as caught:
        await stream.receive()
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


# --- authorization --------------------------------------------------------------------------------

REQUESTS: dict[str, Message] = {
    LOG + "Hello": log_pb2.HelloRequest(),
    LOG + "GetMetadata": log_pb2.GetMetadataRequest(all_topics=True),
    LOG + "Append": log_pb2.AppendRequest(topic="t", records=[common_pb2.Record()]),
    LOG + "Read": log_pb2.ReadRequest(topic="t"),
    LOG + "ListOffsets": log_pb2.ListOffsetsRequest(
        queries=[log_pb2.OffsetQuery(topic="t", latest=True)]
    ),
    LOG + "InitProducerId": log_pb2.InitProducerIdRequest(),
    LOG + "Produce": log_pb2.ProduceRequest(
        batches=[log_pb2.ProduceBatch(topic_id=bytes(16), records=bytes(61), acks=1)]
    ),
    LOG + "Fetch": log_pb2.FetchRequest(add=[log_pb2.FetchPartition(topic_id=bytes(16))]),
    ADMIN + "CreateTopic": admin_pb2.CreateTopicRequest(name="u"),
    ADMIN + "DeleteTopic": admin_pb2.DeleteTopicRequest(name="t"),
    ADMIN + "AlterTopic": admin_pb2.AlterTopicRequest(name="t", partitions=2),
    ADMIN + "DescribeTopics": admin_pb2.DescribeTopicsRequest(names=["t"]),
    ADMIN + "TrimTopic": admin_pb2.TrimTopicRequest(
        name="t", partitions=[admin_pb2.TrimPartition()]
    ),
    ADMIN + "CompactTopic": admin_pb2.CompactTopicRequest(name="t"),
    ADMIN + "DescribeCluster": admin_pb2.DescribeClusterRequest(),
    ADMIN + "DescribeConfig": admin_pb2.DescribeConfigRequest(),
    ADMIN + "DescribeQuorum": admin_pb2.DescribeQuorumRequest(),
    ADMIN + "ReadRaftLog": admin_pb2.ReadRaftLogRequest(),
    ADMIN + "AddNode": admin_pb2.AddNodeRequest(node_id=1),
    ADMIN + "RemoveNode": admin_pb2.RemoveNodeRequest(node_id=1),
    ADMIN + "ReplaceNode": admin_pb2.ReplaceNodeRequest(node_id=1),
    ADMIN + "TransferLeader": admin_pb2.TransferLeaderRequest(name="t", node_id=1),
    ADMIN + "ReassignPartitions": admin_pb2.ReassignPartitionsRequest(
        partitions=[admin_pb2.PartitionReassignment(name="t", replicas=[1])]
    ),
    GROUP + "FindCoordinator": group_pb2.FindCoordinatorRequest(group_id="g"),
    GROUP + "Heartbeat": group_pb2.GroupHeartbeatRequest(group_id="g", member_id="m"),
    GROUP + "CommitOffsets": group_pb2.CommitOffsetsRequest(group_id="g", member_epoch=-1),
    GROUP + "FetchOffsets": group_pb2.FetchOffsetsRequest(group_id="g", member_epoch=-1),
    GROUP + "ListGroups": group_pb2.ListGroupsRequest(),
    GROUP + "DescribeGroup": group_pb2.DescribeGroupRequest(group_id="g"),
    GROUP + "GroupLag": group_pb2.GroupLagRequest(group_id="g"),
    GROUP + "DeleteOffsets": group_pb2.DeleteOffsetsRequest(group_id="g"),
    GROUP + "DeleteGroup": group_pb2.DeleteGroupRequest(group_id="g"),
}


def test_every_rpc_has_a_row_here() -> None:
    methods = method_table()
    assert set(REQUESTS) == {*methods.unary, *methods.streams}


@pytest.mark.parametrize("method", sorted(REQUESTS))
async def test_who_may_not_gets_nothing(edge: Serving, method: str) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures["authorize"] = AuthError("no")
    before = edge.broker.image
    denied = await _denied(edge, method)
    assert denied == ErrorCode.AUTHORIZATION_FAILED
    assert edge.broker.image is before
    assert edge.broker.authorized and edge.broker.authorized[0][0] == "anonymous"


async def _denied(edge: Serving, method: str) -> int:
    """The code with which a call, or the only entry in its answer, is refused."""
    request = REQUESTS[method]
    if method == LOG + "Produce":
        stream = ClientStream(edge.channel, method, log_pb2.ProduceResponse)
        await stream.send(request)
        return int((await stream.receive()).results[0].error.code)
    if method == LOG + "Fetch":
        stream = ClientStream(edge.channel, method, log_pb2.FetchResponse)
        await stream.send(request)
        return int((await stream.receive()).partitions[0].error.code)
    try:
        answer = await call(edge.channel, method, request, log_pb2.ListOffsetsResponse)
    except AuthError as error:
        return error.code
    return answer.answers[0].error.code


def test_refusals_are_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A client that is refused a thousand times a second must not fill the log."""
    with caplog.at_level(logging.DEBUG):
        presentable(OverloadedError("x"), "here")
    assert not caplog.records


async def test_typed_needs_a_trailer(edge: Serving) -> None:
    request = health_pb2.HealthCheckRequest(service="x").SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.channel.unary_unary(HEALTH + "Check")(request)
    with pytest.raises(AssertionError):
        typed(caught.value)
