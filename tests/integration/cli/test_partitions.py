"""`logd cluster partitions`, `topic describe`: what is wrong with replicas, and why, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from logd_client.values import MemberInfo, PartitionInfo, TopicInfo

from logd.cli.partition_view import problems_of, states_of
from tests.integration.cli.conftest import Shell, clean_environ
from tests.integration.cli.test_quorum import Cluster

HEADER = "TOPIC\tPARTITION\tLEADER\tEPOCH\tREPLICAS\tISR\tELIGIBLE\tPROBLEM"
PARTITION = PartitionInfo(
    partition=0,
    leader=1,
    leader_epoch=0,
    replicas=(1, 2, 3),
    isr=(1, 2, 3),
    start_offset=0,
    end_offset=0,
    size_bytes=0,
    segments=1,
)
TOPIC = TopicInfo("t", "id", False, (PARTITION,), {"min.insync.replicas": "2"})
IN_SERVICE = MemberInfo(1, "a:1", "a:2", "", False, "d1", "i1", True, True, 0, True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"isr": (1, 2)}, ["under-replicated: node 3 is fenced"]),
        ({"isr": (3, 1)}, ["under-replicated: node 2 is behind"]),
        (
            {"isr": (1,), "replicas": (1, 4, 5)},
            [
                "acks=all is refused: 1 in sync, min.insync.replicas is 2",
                "under-replicated: node 4 is not heard of, node 5 is not registered",
            ],
        ),
        (
            {"leader": None, "isr": (), "replicas": (2, 3), "eligible": (2, 3)},
            [
                "no leader: it waits for node 2 or 3, with all that was acknowledged",
                "under-replicated: node 2 is behind, node 3 is fenced",
            ],
        ),
        (
            {"leader": 1, "isr": (1,), "replicas": (1, 2), "damage": ("offsets 1 to 2",)},
            [
                "the log of its leader, node 1, is damaged, and no other replica is in sync",
                "acks=all is refused: 1 in sync, min.insync.replicas is 2",
                "under-replicated: node 2 is behind",
            ],
        ),
        ({"damage": ("offsets 1 to 2",)}, []),
        ({"leader": None, "isr": (), "replicas": (3,)}, ["no leader", "under-replicated: node 3"]),
        (
            {"leader": None, "isr": (), "replicas": (2, 3), "damaged": (2,)},
            [
                "no leader: the log on node 2 is damaged, and no other replica has all that was "
                "acknowledged; restore that node's data directory from a copy, or give up what is "
                "missing: stop the node, then logd node replace 2 --accept-data-loss",
                "under-replicated: node 2 has a damaged log and copies it anew, node 3 is fenced",
            ],
        ),
    ],
)
def test_problems_in_words(changed: dict[str, Any], said: list[str]) -> None:
    states = states_of(
        [
            IN_SERVICE,
            replace(IN_SERVICE, id=2),
            replace(IN_SERVICE, id=3, fenced=True),
            replace(IN_SERVICE, id=4, heard=False),
            replace(IN_SERVICE, id=6, incarnation_id=""),
        ]
    )
    found = problems_of(TOPIC, replace(PARTITION, **changed), states)
    assert len(found) == len(said)
    for problem, start in zip(found, said, strict=True):
        assert problem.startswith(start)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes in service; topic t with three replicas, s with one, on node 1 alone."""
    running = Cluster()
    running.do(lambda: running.controller.register(3, "127.0.0.1:9"))
    yield running
    running.close()


@pytest.fixture
def logd(cluster: Cluster, tmp_path: Path) -> Shell:
    shell = Shell(clean_environ(tmp_path))
    shell.environ["LOGD_BOOTSTRAP"] = f"127.0.0.1:{cluster.nodes[0].port}"
    for name, replicas in (("s", "1"), ("t", "3")):
        shell.out("topic", "create", name, "-r", replicas)
    return shell


def lines(shell: Shell, *arguments: str) -> list[str]:
    return shell.out(*arguments).decode().splitlines()


def document(shell: Shell, *arguments: str) -> Any:
    return json.loads(shell.out(*arguments, "-F", "json"))


def test_a_fenced_node_and_one_that_is_not_heard_of(cluster: Cluster, logd: Shell) -> None:
    assert lines(logd, "cluster", "partitions", "--under-replicated") == [HEADER]
    assert "problems" not in logd.out("topic", "describe", "t", "-p").decode()
    cluster.do(lambda: cluster.controller.fence(3))
    (_header, row) = lines(logd, "cluster", "partitions", "--under-replicated")
    assert row.startswith("t\t0\t")
    assert row.endswith("\t-\tunder-replicated: node 3 is fenced")
    assert logd.out("cluster", "partitions", "--under-replicated", "-F", "name") == b"t:0\n"
    assert len(lines(logd, "cluster", "partitions")) == 3
    cluster.do(lambda: cluster.controller.register(3, "127.0.0.1:9"))
    text = logd.out("topic", "describe", "t", "-p").decode()
    assert (
        "# t: problems\nPARTITION\tPROBLEM\n0\tunder-replicated: node 3 is not heard of\n" in text
    )
    (described,) = document(logd, "topic", "describe", "t")["partitions"]
    assert described["problems"] == ["under-replicated: node 3 is not heard of"]


def test_the_document_has_all_that_is_known(cluster: Cluster, logd: Shell) -> None:
    cluster.do(lambda: cluster.controller.fence(3))
    cluster.do(lambda: cluster.controller.fence(2))
    (found,) = document(logd, "cluster", "partitions", "t")
    assert found == {
        "topic": "t",
        "partition": 0,
        "leader": 1,
        "leader_epoch": found["leader_epoch"],
        "partition_epoch": 2,
        "replicas": found["replicas"],
        "isr": [1],
        "eligible": [2],
        "min_insync_replicas": 2,
        "under_replicated": True,
        "under_min_isr": True,
        "damaged": [],
        "adding": [],
        "target": [],
        "moving": "",
        "problems": [
            "acks=all is refused: 1 in sync, min.insync.replicas is 2",
            found["problems"][1],
        ],
    }
    assert sorted(found["replicas"]) == [1, 2, 3]
    assert "node 2 is fenced" in found["problems"][1]
    assert "node 3 is fenced" in found["problems"][1]


def test_a_node_with_replicas_is_not_removed_and_nothing_is_promised(logd: Shell) -> None:
    for dry in ((), ("--dry-run",)):
        done = logd.run("node", "remove", "3", "-y", *dry)
        assert done.returncode == 1
        said = done.stderr.decode()
        assert "node 3 has replicas of t-0" in said and "s-0" not in said
        assert "for good" not in said


def test_every_copy_of_a_compacted_topic_has_its_line(logd: Shell) -> None:
    """Only node 1 has what it should."""
    logd.out("topic", "create", "k", "-r", "3", "-c", "cleanup.policy=compact")
    (placed,) = document(logd, "topic", "describe", "k")["partitions"]
    (header, *rows) = lines(logd, "topic", "describe", "k", "--cleanup")
    assert header == "PARTITION\tNODE\tRETENTION\tCOMPACTION"
    others = [node for node in placed["replicas"] if node != placed["leader"]]
    assert rows[0].startswith(f"0\t{placed['leader']}\t")
    assert len(rows) == 3
    for node, row in zip(others, rows[1:], strict=True):
        said = "nothing is cleanable" if node == 1 else "did not answer"
        assert row == f"0\t{node}\tas the leader's\t{said}"
    assert [copy["node_id"] for copy in placed["copies"]] == [1]


def test_an_unknown_topic_is_code_4(logd: Shell) -> None:
    done = logd.run("cluster", "partitions", "tt")
    assert done.returncode == 4
    assert b"tt" in done.stderr


# ---- transfers ----------------------------------------------------------------------------------


def test_a_leadership_is_transferred(cluster: Cluster, logd: Shell) -> None:
    (before,) = document(logd, "cluster", "partitions", "t")
    other = next(node for node in before["isr"] if node != before["leader"])
    done = logd.run("cluster", "transfer-leader", "t:0", str(other))
    epoch = before["leader_epoch"] + 1
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode() == f"node {other} leads t:0, in leader epoch {epoch}\n"
    (after,) = document(logd, "cluster", "partitions", "t")
    assert (after["leader"], after["leader_epoch"]) == (other, epoch)
    found = document(logd, "cluster", "transfer-leader", "t:0", str(other))
    assert (found["leader"], found["leader_epoch"]) == (other, epoch), "it led already"
    cluster.do(lambda: cluster.controller.fence(3))
    refused = logd.run("cluster", "transfer-leader", "t:0", "3")
    assert refused.returncode == 1
    assert b"node 3 is not in sync with partition t-0" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("t:0 9", 1, "node 9 has no replica of partition t-0"),
        ("tt:0 1", 4, "tt"),
        ("t:7 1", 4, "topic t has no partition 7"),
        ("t 1", 2, "is no TOPIC:PARTITION"),
        ("t:x 1", 2, "is no TOPIC:PARTITION"),
    ],
)
def test_transfers_that_cannot_be(logd: Shell, arguments: str, code: int, said: str) -> None:
    done = logd.run("cluster", "transfer-leader", *arguments.split())
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done.stderr


# ---- reassignment -------------------------------------------------------------------------------


def test_replicas_begin_to_move_and_are_called_back(cluster: Cluster, logd: Shell) -> None:
    (before,) = document(logd, "cluster", "partitions", "s")
    (leader,) = before["replicas"]
    other = 3 - leader
    done = logd.run("cluster", "reassign", "s:0", "--to", f"{other},{leader}")
    assert done.returncode == 0, done.stderr
    begun = f"moving to nodes {other},{leader}; node {other} has not begun to copy"
    assert done.stderr.decode() == (
        f"s:0: {begun}\nnext: logd cluster partitions --moving shows how far it is\n"
    )
    (found,) = document(logd, "cluster", "partitions", "--moving")
    assert (found["topic"], found["adding"], found["moving"]) == ("s", [other], begun)
    assert not found["under_replicated"]
    (_header, row) = lines(logd, "cluster", "partitions", "--moving")
    assert row.endswith(f"\t{begun}")
    (back,) = document(logd, "cluster", "reassign", "s", "--cancel")
    assert (back["replicas"], back["target"]) == ([leader], [])
    assert lines(logd, "cluster", "partitions", "--moving") == [HEADER]


def test_another_order_is_done_at_once_and_waited_for(logd: Shell) -> None:
    (before,) = document(logd, "cluster", "partitions", "t")
    turned = [*before["replicas"][1:], before["replicas"][0]]
    done = logd.run("cluster", "reassign", "t", "--to", ",".join(map(str, turned)), "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode().endswith("done: 1 partition where they were to be\n")
    (after,) = document(logd, "cluster", "partitions", "t")
    assert after["replicas"] == turned


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("reassign t:0 --to 1,9", 1, "partition t-0 cannot move to node 9: the cluster has no"),
        ("reassign t:0 --to 1,1", 1, "a node is named twice for partition t-0"),
        ("reassign t:0 --to 1,2,3,4", 1, "replication factor 4 with 3 nodes"),
        ("reassign tt:0 --to 1", 4, "tt"),
        ("reassign t:7 --to 1", 4, "topic t has no partition 7"),
        ("reassign t:x --to 1", 2, "is no TOPIC:PARTITION"),
        ("reassign t:0 --to 1,x", 2, "node ids are numbers with commas"),
        ("reassign t:0", 2, "write either --to"),
        ("reassign t:0 --to 1 --cancel", 2, "write either --to"),
        ("drain 9", 1, "the cluster has no node 9"),
        ("drain 3", 1, "t-0 has 3 replicas, and without node 3 there are 2 nodes in service"),
    ],
)
def test_moves_that_cannot_be(logd: Shell, arguments: str, code: int, said: str) -> None:
    done = logd.run("cluster", *arguments.split())
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done.stderr


def test_a_plan_of_a_drain_changes_nothing(cluster: Cluster, logd: Shell) -> None:
    logd.out("topic", "delete", "t", "-y")
    (before,) = document(logd, "cluster", "partitions", "s")
    (leader,) = before["replicas"]
    found = document(logd, "cluster", "drain", str(leader), "--dry-run")
    assert (found["node"], found["dry_run"]) == (leader, True)
    (move,) = found["moves"]
    assert (move["topic"], move["partition"]) == ("s", 0)
    assert leader not in move["replicas"]
    assert document(logd, "cluster", "partitions", "s") == [before]
    others = [number for number in (1, 2, 3) if number != leader]
    for other in others:
        cluster.do(lambda other=other: cluster.controller.fence(other))  # type: ignore[misc]
    done = logd.run("cluster", "drain", str(leader))
    assert done.returncode == 1
    assert f"node {leader} is the last one in service" in done.stderr.decode()
