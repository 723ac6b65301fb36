"""Three real nodes that agree: elections, a killed controller, restarts, full disks, growth.

`make test` runs a few rounds of each; `make proof` runs them all and measures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from logd_client import Admin

from tests.support.flood import flooded, start_flood
from tests.support.load import Load, find_losses, read_all
from tests.support.nodes import RealNode, free_port
from tests.support.power import fill, small_tmpfs, why_not
from tests.support.quorum import RealCluster, cpu_seconds, real_node, voters, wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

RecordFigure = Callable[[str, int | float | str], None]
MIB = 1024 * 1024


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RealCluster]:
    with RealCluster(tmp_path) as made:
        yield made


def test_every_node_answers_and_takes_commands(cluster: RealCluster) -> None:
    for number, node in cluster.nodes.items():
        with Admin(node.address) as admin:
            admin.create_topic(f"made-by-{number}", partitions=3)
    for node in cluster.nodes.values():
        with Admin(node.address) as admin:
            wait_for(
                "the topics are known everywhere",
                lambda admin=admin: len(admin.list_topics()) == 3,  # type: ignore[misc]
            )
            leaders = {
                part.leader
                for topic in admin.list_topics()
                for part in admin.describe_topic(topic.name).partitions
            }
            assert leaders == set(cluster.nodes), "partitions spread over the nodes"
    cluster.stop()


def _kill_controller(cluster: RealCluster, rounds: int) -> list[float]:
    """Kill the leading node again and again; seconds until another one took a command."""
    gaps = []
    for number in range(rounds):
        leader = cluster.controller()
        term = cluster.term(leader)
        cluster.nodes[leader].kill()
        begun = time.monotonic()
        others = [other for other in cluster.nodes if other != leader]
        _create_patiently(cluster, f"round-{number}", others)
        gaps.append(time.monotonic() - begun)
        elected = cluster.term(cluster.controller(*others))
        assert elected > term
        cluster.nodes[leader].start()
        cluster.wait_complete()
        # Whoever comes back finds out before it asks for votes.
        assert cluster.term(cluster.controller()) == elected, "a restarted node disturbs no term"
    names = {topic.name for topic in cluster.ask(lambda admin: admin.list_topics())}
    assert names == {f"round-{number}" for number in range(rounds)}
    return gaps


def _create_patiently(cluster: RealCluster, name: str, numbers: list[int]) -> None:
    def created() -> bool:
        cluster.ask(lambda admin: admin.create_topic(name, exist_ok=True), *numbers)
        return True

    wait_for(f"topic {name} is made", created)


def test_the_controller_is_killed(cluster: RealCluster) -> None:
    assert len(_kill_controller(cluster, rounds=2)) == 2


@pytest.mark.proof
@pytest.mark.timeout(1_200)
def test_the_controller_is_killed_twenty_times(
    cluster: RealCluster, record_figure: RecordFigure
) -> None:
    gaps = _kill_controller(cluster, rounds=20)
    record_figure("controller killed: rounds", len(gaps))
    record_figure("seconds to the next command, median", round(statistics.median(gaps), 2))
    record_figure("seconds to the next command, longest", round(max(gaps), 2))
    assert max(gaps) < 2.0


def test_a_node_that_stops_is_fenced_at_once(cluster: RealCluster) -> None:
    """Whoever led a partition or the metadata log says so before it goes."""
    cluster.ask(lambda admin: admin.create_topic("spread", partitions=3))
    for stopping in (cluster.controller(), min(cluster.nodes)):
        assert cluster.nodes[stopping].stop() == 0
        others = [number for number in cluster.nodes if number != stopping]
        known = cluster.ask(lambda admin: admin.describe_cluster(), *others).nodes
        assert {node.id for node in known if node.fenced} == {stopping}
        cluster.nodes[stopping].start()
        cluster.wait_complete()


def test_all_nodes_are_killed_at_once(cluster: RealCluster) -> None:
    cluster.ask(lambda admin: admin.create_topic("kept", partitions=3))
    with Load(cluster.nodes[1].address, "kept", 1, partitions=3) as load:
        load.wait_for(300)
        for node in cluster.nodes.values():
            node.kill()
        cluster.start()
        load.wait_for(300)
    assert load.failed == []
    assert find_losses([load], read_all(cluster.bootstrap, "kept", 3)) == []


def test_a_full_disk_stops_no_node(tmp_path: Path) -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no disk can be filled here: {reason}")
    with ExitStack() as stack:
        data_dirs = {}
        for number in (1, 2, 3):
            mounted = tmp_path / f"disk-{number}"
            data_dirs[number] = stack.enter_context(small_tmpfs(mounted, 24 * MIB)) / "data"
        settings = {"LOGD__DISK__FREE_BYTES_MIN": "0"}
        cluster = RealCluster(tmp_path, settings=settings, data_dirs=data_dirs)
        stack.enter_context(cluster)
        ballast = {n: folder.parent / "ballast" for n, folder in data_dirs.items()}
        for path in ballast.values():
            fill(path)
        for node in cluster.nodes.values():
            assert node.alive, node.log_tail()
            with Admin(node.address) as admin:
                assert admin.describe_cluster().cluster_id
        for path in ballast.values():
            path.unlink()
        _create_patiently(cluster, "after", list(cluster.nodes))
        for node in cluster.nodes.values():
            assert node.alive, node.log_tail()


def test_one_node_grows_to_three_and_back_under_load(tmp_path: Path) -> None:
    peers = {number: f"127.0.0.1:{free_port()}" for number in (1, 2, 3)}
    nodes = {
        number: real_node(tmp_path, number, peer=peer, settings=_seeds(number, peers))
        for number, peer in peers.items()
    }
    with ExitStack() as stack:
        first = stack.enter_context(nodes[1])
        with Admin(first.address) as admin:
            admin.create_topic("orders", partitions=3)
        load = stack.enter_context(Load(first.address, "orders", 1, partitions=3))
        load.wait_for(200)
        for number in (2, 3):
            stack.enter_context(nodes[number])
            _change_voters(first, lambda admin, number=number: admin.add_node(number))  # type: ignore[misc]
            load.wait_for(200)
        assert _voters(nodes[3]) == {1, 2, 3}
        with Admin(nodes[3].address) as admin:
            admin.create_topic("made-by-three", partitions=3)
            # A node that holds the only replica of something does not go.
            admin.delete_topic("made-by-three")
        for number in (3, 2):
            _change_voters(first, lambda admin, number=number: admin.remove_node(number))  # type: ignore[misc]
            load.wait_for(200)
        assert _voters(first) == {1}
        load.stop()
        assert load.failed == []
        assert find_losses([load], read_all(first.address, "orders", 3)) == []


def _seeds(number: int, peers: dict[int, str]) -> dict[str, str]:
    """The first node knows of nobody; the others know it and themselves."""
    if number == 1:
        return {}
    return {"LOGD__CLUSTER__PEERS": f"1@{peers[1]},{number}@{peers[number]}"}


def _change_voters(node: RealNode, change: Callable[[Admin], object]) -> None:
    def done() -> bool:
        with Admin(node.address) as admin:
            change(admin)
        return True

    wait_for("the change is taken", done)


def _voters(node: RealNode) -> set[int]:
    with Admin(node.address) as admin:
        return voters(admin.describe_cluster())


@pytest.mark.proof
@pytest.mark.timeout(1_200)
def test_saturated_produce_costs_no_election(
    cluster: RealCluster, record_figure: RecordFigure
) -> None:
    """Ten minutes of as much as one disk takes, from every node at once."""
    cluster.ask(lambda admin: admin.create_topic("flood", partitions=6))
    before = cluster.term(cluster.controller())
    seconds = 600.0
    floods = [start_flood(cluster.bootstrap, "flood", seconds) for _ in cluster.nodes]
    sent = sum(flooded(each, seconds + 120) for each in floods)
    record_figure("saturated produce: seconds", seconds)
    record_figure("saturated produce: records acknowledged", sent)
    elections = cluster.term(cluster.controller()) - before
    record_figure("saturated produce: elections", elections)
    assert elections == 0
    assert sent > 0


@pytest.mark.proof
def test_three_idle_nodes_cost_little(cluster: RealCluster, record_figure: RecordFigure) -> None:
    window_s = 60.0
    time.sleep(10)  # What the start left to do is over.
    before = {number: cpu_seconds(node) for number, node in cluster.nodes.items()}
    time.sleep(window_s)
    for number, node in cluster.nodes.items():
        share = (cpu_seconds(node) - before[number]) / window_s * 100
        record_figure(f"idle node {number}: percent of a core", round(share, 2))
        record_figure(f"idle node {number}: resident MB", round(node.memory_bytes() / 1e6))
        assert share < 3.0
        assert node.memory_bytes() < 120e6
