"""The calls about the cluster and its quorum over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_proto.v1 import admin_pb2, log_pb2
from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError, NotLeaderError

from logd.consensus.log_types import LogPoint
from logd.metadata import AddVoter
from logd.model.ids import LogIndex, NodeId, Term
from tests.support.rpc_quorum import TIME_MS, directory_of
from tests.support.rpc_server import ADMIN, LOG, Serving, call


async def cluster_of(edge: Serving) -> admin_pb2.DescribeClusterResponse:
    return await call(
        edge.channel, ADMIN + "DescribeCluster", b"", admin_pb2.DescribeClusterResponse
    )


async def quorum_of(edge: Serving) -> admin_pb2.DescribeQuorumResponse:
    return await call(edge.channel, ADMIN + "DescribeQuorum", b"", admin_pb2.DescribeQuorumResponse)


async def log_of(edge: Serving, start: int = 0, count: int = 0) -> admin_pb2.ReadRaftLogResponse:
    request = admin_pb2.ReadRaftLogRequest(start_index=start, max_entries=count)
    return await call(edge.channel, ADMIN + "ReadRaftLog", request, admin_pb2.ReadRaftLogResponse)


async def test_metadata_says_how_new_it_is(edge: Serving) -> None:
    async def ask() -> log_pb2.GetMetadataResponse:
        request = log_pb2.GetMetadataRequest(all_topics=True)
        return await call(edge.channel, LOG + "GetMetadata", request, log_pb2.GetMetadataResponse)

    before = await ask()
    assert (before.controller_id, before.controller_epoch) == (1, 3)
    assert before.metadata_index == edge.broker.view.state.applied_index > 0
    await edge.broker.create_topic("orders")
    edge.broker.register(2, "n2:7171", fenced=True)
    edge.broker.view.follow()
    after = await ask()
    assert after.metadata_index > before.metadata_index
    assert after.controller_id == -1
    assert [(node.id, node.fenced) for node in after.nodes] == [(1, False), (2, True)]


async def test_metadata_of_several_topics_is_of_one_moment(edge: Serving) -> None:
    await edge.broker.create_topic("a")
    ask = edge.broker.metadata_for

    async def slow(names: list[str], allow_auto_create: bool) -> object:
        found = await ask(names, allow_auto_create)
        # While another topic is made, this one goes.
        await edge.broker.delete_topic("a")
        await edge.broker.create_topic("b")
        return found

    edge.broker.metadata_for = slow  # type: ignore[method-assign, assignment]
    request = log_pb2.GetMetadataRequest(topics=["a", "b"])
    answer = await call(edge.channel, LOG + "GetMetadata", request, log_pb2.GetMetadataResponse)
    assert [topic.error.code for topic in answer.topics] == [ErrorCode.UNKNOWN_TOPIC, 0]


async def test_the_cluster_is_described_node_by_node(edge: Serving) -> None:
    edge.broker.view.lags[3] = 4
    edge.broker.register(2, "n2:7171", rack="b")
    edge.broker.register(3, "n3:7171", fenced=True)
    await edge.broker.submit(AddVoter(NodeId(2)))
    answer = await cluster_of(edge)
    assert (answer.node_id, answer.controller_id, answer.controller_epoch) == (1, 1, 3)
    one, two, three = answer.members
    assert (one.voter, one.controller, one.lag, one.heard) == (True, True, 0, True)
    assert (two.address, two.peer_address, two.rack) == ("n2:7171", "peer-2:7172", "b")
    assert (two.voter, two.fenced, two.lag, two.heard) == (True, False, 0, True)
    assert two.directory_id == directory_of(2) and len(two.incarnation_id) == 16
    assert (three.voter, three.fenced, three.lag, three.heard) == (False, True, 4, False)


async def test_a_node_that_does_not_lead_knows_of_nobody_how_far_it_is(edge: Serving) -> None:
    edge.broker.register(2, "n2:7171")
    edge.broker.view.follow(2)
    answer = await cluster_of(edge)
    assert [member.lag for member in answer.members] == [-1, -1]
    assert not any(member.HasField("heard") for member in answer.members)
    assert [member.controller for member in answer.members] == [False, True]


async def test_the_quorum_as_its_leader_knows_it(edge: Serving) -> None:
    edge.broker.register(2, "n2:7171")
    state = edge.broker.view.state
    edge.broker.view.state = replace(state, snapshot_point=LogPoint(Term(2), LogIndex(1)))
    answer = await quorum_of(edge)
    assert answer.role == admin_pb2.QUORUM_ROLE_LEADER
    assert (answer.node_id, answer.leader_id, answer.term, answer.vote) == (1, 1, 3, 1)
    assert answer.commit_index == answer.applied_index == answer.end_index == state.end_index
    assert (answer.snapshot_index, answer.snapshot_term) == (1, 2)
    assert [(voter.node_id, voter.address) for voter in answer.voters] == [(1, "peer-1:7172")]
    assert [(each.node_id, each.voter, each.state) for each in answer.progress] == [
        (2, False, "replicate")
    ]
    edge.broker.view.follow()
    answer = await quorum_of(edge)
    assert answer.role == admin_pb2.QUORUM_ROLE_FOLLOWER and answer.leader_id == -1


async def test_the_log_is_shown_in_words_page_by_page(edge: Serving) -> None:
    await edge.broker.create_topic("orders", config={"retention.ms": "1000"})
    entries: list[admin_pb2.RaftLogEntry] = []
    while True:
        page = await log_of(edge, entries[-1].next_index if entries else 0, 2)
        assert len(page.entries) <= 2
        if not page.entries:
            break
        entries += page.entries
    assert page.next_index == page.end_index == entries[-1].next_index
    assert [entry.index for entry in entries[1:]] == [entry.next_index for entry in entries[:-1]]
    assert all(entry.committed and entry.time_ms == TIME_MS for entry in entries)
    words = {record.type: record.text for entry in entries for record in entry.records}
    assert words["no-op"] == "a new leader's first entry"
    assert "node 1 started: clients at 127.0.0.1:7171" in words["node-registered"]
    assert words["voters-changed"] == "the voters are 1@peer-1:7172"
    assert words["topic-created"].startswith("topic orders (")
    assert words["topic-created"].endswith("retention.ms=1000")


async def test_what_is_not_committed_is_shown_as_that(edge: Serving) -> None:
    state = edge.broker.view.state
    edge.broker.view.state = replace(state, commit_index=LogIndex(1))
    page = await log_of(edge)
    assert [entry.committed for entry in page.entries][:2] == [True, False]


@pytest.mark.parametrize(("start", "count"), [(-1, 0), (0, -1), (0, 1_001)])
async def test_a_page_outside_of_the_bounds_is_refused(
    edge: Serving, start: int, count: int
) -> None:
    with pytest.raises(InvalidRequestError):
        await log_of(edge, start, count)


async def test_a_node_is_added_and_removed(edge: Serving) -> None:
    edge.broker.register(2, "n2:7171")
    request = admin_pb2.AddNodeRequest(node_id=2)
    for _ in range(2):
        added = await call(edge.channel, ADMIN + "AddNode", request, admin_pb2.AddNodeResponse)
        assert list(added.voters) == [1, 2]
    remove = admin_pb2.RemoveNodeRequest(node_id=2, directory_id=directory_of(2))
    for _ in range(2):
        removed = await call(
            edge.channel, ADMIN + "RemoveNode", remove, admin_pb2.RemoveNodeResponse
        )
        assert list(removed.voters) == [1]
    assert [member.id for member in (await cluster_of(edge)).members] == [1]


async def test_a_lost_directory_is_struck_out_and_another_one_may_come(edge: Serving) -> None:
    edge.broker.register(2, "n2:7171")
    await edge.broker.submit(AddVoter(NodeId(2)))
    request = admin_pb2.ReplaceNodeRequest(node_id=2)
    with pytest.raises(LogdError, match="2"):
        # It is in service: nothing of it is lost.
        await call(edge.channel, ADMIN + "ReplaceNode", request, admin_pb2.ReplaceNodeResponse)
    edge.broker.fence(2)
    done = await call(edge.channel, ADMIN + "ReplaceNode", request, admin_pb2.ReplaceNodeResponse)
    assert list(done.voters) == [1]


@pytest.mark.parametrize("method", ["AddNode", "RemoveNode", "ReplaceNode"])
async def test_a_node_that_nobody_knows_is_refused(edge: Serving, method: str) -> None:
    request = admin_pb2.AddNodeRequest(node_id=9)
    with pytest.raises(LogdError, match="node 9") as caught:
        await call(edge.channel, ADMIN + method, request, admin_pb2.AddNodeResponse)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    request = admin_pb2.AddNodeRequest(node_id=-1)
    with pytest.raises(InvalidRequestError, match="node_id"):
        await call(edge.channel, ADMIN + method, request, admin_pb2.AddNodeResponse)


async def test_a_directory_id_of_the_wrong_length_is_refused(edge: Serving) -> None:
    request = admin_pb2.RemoveNodeRequest(node_id=1, directory_id=b"short")
    with pytest.raises(InvalidRequestError, match="5 bytes"):
        await call(edge.channel, ADMIN + "RemoveNode", request, admin_pb2.RemoveNodeResponse)


async def test_without_a_controller_the_hint_arrives(edge: Serving) -> None:
    refusal = NotLeaderError("node 1 is not the controller", code=ErrorCode.NOT_CONTROLLER)
    refusal.leader_id, refusal.leader_epoch, refusal.leader_address = 2, 7, "n2:7171"
    edge.broker.failures["AddVoter"] = refusal
    request = admin_pb2.AddNodeRequest(node_id=1)
    with pytest.raises(NotLeaderError) as caught:
        await call(edge.channel, ADMIN + "AddNode", request, admin_pb2.AddNodeResponse)
    assert caught.value.code is ErrorCode.NOT_CONTROLLER
    assert caught.value.leader_address == "n2:7171"


async def test_changes_need_another_right_than_looking(edge: Serving) -> None:
    await quorum_of(edge)
    await log_of(edge)
    assert {right for _, right, _ in edge.broker.authorized} == {"describe"}
    edge.broker.authorized.clear()
    edge.broker.register(2, "n2:7171")
    request = admin_pb2.AddNodeRequest(node_id=2)
    await call(edge.channel, ADMIN + "AddNode", request, admin_pb2.AddNodeResponse)
    assert edge.broker.authorized == [("anonymous", "alter", "cluster")]
