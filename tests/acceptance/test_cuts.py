"""Three real nodes in network namespaces of their own, and packets that are lost between them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from logd_client import Admin

from tests.support.load import Load, find_losses, read_all
from tests.support.network import HERE, Switch, why_not
from tests.support.quorum import RealCluster, wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

NUMBERS = (1, 2, 3)
PARTITIONS = 6


@pytest.fixture
def switch() -> Iterator[Switch]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no network can be made here: {reason}")
    with Switch(NUMBERS) as made:
        yield made


def pings(switch: Switch, number: int, target: int) -> bool:
    """Whether a datagram of this host comes to the target and one comes back."""
    program = (
        "import socket, sys\n"
        "with socket.socket() as probe:\n"
        "    probe.settimeout(0.5)\n"
        "    sys.exit(probe.connect_ex((sys.argv[1], 9)) != 111)\n"
    )
    command = [*switch.command(number), "python3", "-c", program, switch.address_of(target)]
    return subprocess.run(command, check=False, timeout=20).returncode == 0


def test_the_switch_cuts_one_direction(switch: Switch) -> None:
    assert pings(switch, 1, 2) and pings(switch, 2, 1) and pings(switch, 3, HERE)
    with switch.cut([1], [2]):
        assert not pings(switch, 1, 2)
        # The question comes through, the answer does not.
        assert not pings(switch, 2, 1)
        assert pings(switch, 1, 3) and pings(switch, 3, 2)
    assert pings(switch, 1, 2)
    with pytest.raises(AssertionError, match="proven nothing"), switch.cut([1], [2]):
        pass


@pytest.mark.parametrize("direction", ["both", "sends", "receives"])
def test_the_controller_is_cut_off(switch: Switch, tmp_path: Path, direction: str) -> None:
    """Another one takes over, the one cut off serves nobody, and nothing is lost."""
    with RealCluster(tmp_path, switch=switch) as cluster:
        cluster.ask(lambda admin: admin.create_topic("kept", partitions=PARTITIONS))
        load = Load(cluster.bootstrap, "kept", 1, partitions=PARTITIONS)
        with load:
            load.wait_for(300)
            alone = cluster.controller()
            others = [number for number in NUMBERS if number != alone]
            term = cluster.term(alone)
            sends, receives = direction != "receives", direction != "sends"
            _cut_off(cluster, switch, alone, others, sends=sends, receives=receives)
            assert cluster.term(cluster.controller(*others)) > term
            cluster.wait_complete()
            load.wait_for(300)
        assert load.failed == []
        assert find_losses([load], read_all(cluster.bootstrap, "kept", PARTITIONS)) == []
        cluster.stop()


def _cut_off(
    cluster: RealCluster,
    switch: Switch,
    alone: int,
    others: list[int],
    *,
    sends: bool,
    receives: bool,
) -> None:
    """Lose what the controller sends to the others, or what they send to it, until they have
    another one and the old one says that it leads no more."""
    with ExitStack() as cuts:
        if sends:
            cuts.enter_context(switch.cut([alone], others))
        if receives:
            cuts.enter_context(switch.cut(others, [alone]))

        def another_leads() -> bool:
            leader = cluster.ask(lambda admin: admin.describe_cluster().controller_id, *others)
            return leader in others

        wait_for("another controller is elected", another_leads, 30)

        def steps_down() -> bool:
            with Admin(cluster.nodes[alone].address, request_timeout_ms=2_000) as admin:
                return admin.describe_cluster().controller_id != alone

        wait_for("the old one leads no more", steps_down, 30)
