"""Three real nodes under load: every replica moves, a node is drained, then removed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from logd_client import Admin, TopicPartition

from tests.support.load import Load, find_losses, read_all
from tests.support.nodes import environment
from tests.support.quorum import RealCluster, voters, wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

PARTITIONS = 12


def logd(address: str, *arguments: str) -> str:
    """Run a command to its end; returns what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "logd", *arguments, "-b", address],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


def logs_of(cluster: RealCluster, number: int) -> set[str]:
    """The partitions of which a node has a folder."""
    folder = cluster.nodes[number].data_dir / "partitions"
    return {path.name for path in folder.iterdir() if not path.name.endswith("-delete")}


def at_rest(admin: Admin) -> bool:
    return all(
        not part.target and len(part.isr) == len(part.replicas) and part.leader is not None
        for topic in admin.list_topics(include_internal=True)
        for part in topic.partitions
    )


def test_replicas_move_a_node_is_drained_and_removed(tmp_path: Path) -> None:
    with RealCluster(tmp_path) as cluster:
        bootstrap = cluster.bootstrap
        made = cluster.ask(
            lambda admin: admin.create_topic("t", partitions=PARTITIONS, replication_factor=1)
        )
        before = {part.partition: part.replicas for part in made.partitions}
        loads = [Load(bootstrap, "t", number, partitions=PARTITIONS) for number in range(2)]
        with loads[0], loads[1]:
            loads[0].wait_for(1_000)
            # Every replica to another node, and a second one beside it.
            targets = {
                ("t", number): (nodes[0] % 3 + 1, (nodes[0] + 1) % 3 + 1)
                for number, nodes in before.items()
            }
            cluster.ask(lambda admin: admin.reassign_partitions(targets))
            wait_for("every replica has moved", lambda: cluster.ask(at_rest))
            loads[0].wait_for(500)
            # From here on the third node is left by everything, under load.
            said = logd(cluster.nodes[1].address, "cluster", "drain", "3")
            assert "node 3 has no replicas any more" in said
            loads[1].wait_for(500)
            said = logd(cluster.nodes[1].address, "node", "remove", "3", "-y")
            assert "node 3 is removed" in said
            loads[0].wait_for(500)
        assert [load.failed for load in loads] == [[], []]
        cluster.nodes[3].kill()
        described = cluster.ask(lambda admin: admin.describe_topic("t"), 1, 2)
        assert all({*part.replicas} == {1, 2} for part in described.partitions)
        assert cluster.ask(lambda admin: voters(admin.describe_cluster()), 1, 2) == {1, 2}
        assert logs_of(cluster, 3) == set(), "what moved away is deleted"
        found = read_all(cluster.nodes[1].address, "t", PARTITIONS)
        assert sum(map(len, found.values())) >= 2_500
        assert {*found} == {TopicPartition("t", number) for number in range(PARTITIONS)}
        assert find_losses(loads, found) == []


def test_a_node_is_drained_and_removed_in_one_step(tmp_path: Path) -> None:
    with RealCluster(tmp_path) as cluster:
        cluster.ask(lambda admin: admin.create_topic("t", partitions=6, replication_factor=2))
        refused = subprocess.run(
            [sys.executable, "-m", "logd", "node", "remove", "2", "-y"],
            env={**environment(), "LOGD_BOOTSTRAP": cluster.bootstrap},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 1
        assert "logd cluster drain 2" in refused.stderr.decode()
        said = logd(cluster.nodes[1].address, "node", "remove", "2", "--drain", "-y")
        assert "node 2 has no replicas any more" in said
        assert "node 2 is removed" in said
        assert cluster.ask(lambda admin: voters(admin.describe_cluster()), 1, 3) == {1, 3}
