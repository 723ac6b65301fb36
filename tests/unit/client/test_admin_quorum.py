"""What the admin client says of the quorum, and asks of it, in both facades."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from logd_client import (
    ConfigError,
    InvalidRequestError,
    MemberInfo,
    ProgressInfo,
    QuorumInfo,
    RaftEntryInfo,
    RaftLogPage,
    RaftRecordInfo,
    VoterInfo,
)
from logd_client._transport import methods
from logd_proto.v1 import admin_pb2

from tests.unit.client.facades import Facades
from tests.unit.client.memory_cluster import MemoryCluster

N1 = "n1:7171"
ID = bytes(range(16))

QUORUM = admin_pb2.DescribeQuorumResponse(
    cluster_id="c",
    node_id=2,
    role=admin_pb2.QUORUM_ROLE_LEADER,
    term=7,
    vote=-1,
    leader_id=2,
    commit_index=10,
    applied_index=9,
    end_index=12,
    snapshot_index=4,
    snapshot_term=3,
    voters=[admin_pb2.QuorumVoter(node_id=2, directory_id=ID, address="p2:1")],
    progress=[
        admin_pb2.QuorumProgress(
            node_id=3, match_index=8, next_index=12, voter=True, active=True, state="replicate"
        )
    ],
)
QUORUM_INFO = QuorumInfo(
    cluster_id="c",
    node_id=2,
    role="leader",
    term=7,
    vote=None,
    leader_id=2,
    commit_index=10,
    applied_index=9,
    end_index=12,
    snapshot_index=4,
    snapshot_term=3,
    voters=(VoterInfo(2, ID.hex(), "p2:1"),),
    progress=(ProgressInfo(3, 8, 12, voter=True, active=True, state="replicate"),),
)
PAGE = admin_pb2.ReadRaftLogResponse(
    entries=[
        admin_pb2.RaftLogEntry(
            index=5,
            next_index=6,
            term=2,
            time_ms=99,
            committed=True,
            records=[admin_pb2.RaftLogRecord(type="no-op", text="x")],
        )
    ],
    first_index=4,
    commit_index=6,
    end_index=7,
    next_index=6,
)
PAGE_INFO = RaftLogPage(
    (RaftEntryInfo(5, 6, 2, 99, True, (RaftRecordInfo("no-op", "x"),)),), 4, 6, 7, 6
)
CLUSTER = admin_pb2.DescribeClusterResponse(
    cluster_id="c",
    controller_id=1,
    node_id=1,
    metadata_index=12,
    controller_epoch=7,
    members=[
        admin_pb2.NodeDescription(
            id=1, address="a:1", directory_id=ID, voter=True, controller=True, lag=-1, heard=True
        ),
        admin_pb2.NodeDescription(id=2, peer_address="p:1", fenced=True, lag=3),
    ],
)


def answering(nodes: int = 1) -> Facades:
    cluster = MemoryCluster(nodes=nodes, latency_ms=0)
    cluster.canned = {
        methods.DESCRIBE_QUORUM: QUORUM,
        methods.READ_RAFT_LOG: PAGE,
        methods.DESCRIBE_CLUSTER: CLUSTER,
        methods.ADD_NODE: admin_pb2.AddNodeResponse(voters=[1, 2]),
        methods.REMOVE_NODE: admin_pb2.RemoveNodeResponse(voters=[1]),
        methods.REPLACE_NODE: admin_pb2.ReplaceNodeResponse(voters=[1]),
    }
    return Facades(cluster)


async def ask(logd: Facades, facade: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a method of either facade."""
    if facade == "sync":
        with logd.Admin(N1) as admin:
            return getattr(admin, name)(*arguments, **options)
    async with logd.AsyncAdmin(N1) as admin:
        answer: Awaitable[Any] = getattr(admin, name)(*arguments, **options)
        return await answer


FACADES = pytest.mark.parametrize("facade", ["sync", "asyncio"])


@FACADES
async def test_looking(facade: str) -> None:
    logd = answering(nodes=2)
    assert await ask(logd, facade, "describe_quorum") == QUORUM_INFO
    assert await ask(logd, facade, "describe_quorum", 2) == QUORUM_INFO
    assert logd.cluster.calls[-1][0] == "n2:7171"
    assert await ask(logd, facade, "read_raft_log", 4, max_entries=7, node_id=2) == PAGE_INFO
    address, _, request = logd.cluster.calls[-1]
    assert (address, request) == (
        "n2:7171",
        admin_pb2.ReadRaftLogRequest(start_index=4, max_entries=7),
    )
    found = await ask(logd, facade, "describe_cluster")
    assert (found.metadata_index, found.controller_epoch) == (12, 7)
    assert found.members == (
        MemberInfo(1, "a:1", "", "", False, ID.hex(), "", True, True, None, True),
        MemberInfo(2, "", "p:1", "", True, "", "", False, False, 3, None),
    )
    with pytest.raises(InvalidRequestError, match="no node 9"):
        await ask(logd, facade, "describe_quorum", 9)


def changes(logd: Facades) -> list[Any]:
    """What was asked for of members."""
    asked = (methods.ADD_NODE, methods.REMOVE_NODE, methods.REPLACE_NODE)
    return [request for _, method, request in logd.cluster.calls if method in asked]


@FACADES
async def test_members_come_and_go(facade: str) -> None:
    logd = answering()
    assert await ask(logd, facade, "add_node", 2) == [1, 2]
    assert changes(logd)[-1] == admin_pb2.AddNodeRequest(node_id=2)
    assert await ask(logd, facade, "remove_node", 2, directory_id=ID.hex()) == [1]
    assert changes(logd)[-1] == admin_pb2.RemoveNodeRequest(node_id=2, directory_id=ID)
    assert await ask(logd, facade, "replace_node", 1, accept_data_loss=True) == [1]
    assert changes(logd)[-1] == admin_pb2.ReplaceNodeRequest(
        node_id=1, directory_id=ID, accept_data_loss=True
    )
    for wrong in ("xyz", "00"):
        with pytest.raises(ConfigError, match="not the id of a data directory"):
            await ask(logd, facade, "remove_node", 2, directory_id=wrong)


async def test_nodes_that_were_added_are_asked_when_the_first_one_is_gone() -> None:
    """It grew from one node, which is the only one that this client was told of."""
    logd = answering()
    async with logd.AsyncAdmin(N1) as admin:
        await admin.add_node(1)
        for number in (2, 3):
            logd.cluster.nodes[number] = f"n{number}:7171"
            await admin.add_node(number)
        logd.cluster.take_down(N1)
        await admin.replace_node(1, directory_id=ID.hex())
        assert logd.cluster.calls[-1][0] != N1
