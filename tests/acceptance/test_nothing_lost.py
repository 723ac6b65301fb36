"""Real processes under load: killed, without power, with a disk that fails or is full.

`make test` runs a few rounds of each; `make proof` runs them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from logd_client import Admin, Producer, TimeoutError

from tests.support.load import Load, find_losses, read_all
from tests.support.nodes import RealNode
from tests.support.power import LoopDisk, failing_disk, grow_tmpfs, small_tmpfs, why_not

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

TOPIC = "orders"
PARTITIONS = 3
RecordFigure = Callable[[str, int | float | str], None]


def _create_topic(address: str) -> None:
    with Admin(address) as admin:
        admin.create_topic(TOPIC, partitions=PARTITIONS, config={"segment.bytes": "1MiB"})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no power can be lost here: {reason}")
    made = LoopDisk(tmp_path)
    yield made
    made.close()


def _rounds(node: RealNode, rounds: int, interrupt: Callable[[], None]) -> int:
    """Load the node, interrupt it again and again, and look for everything acknowledged."""
    with node:
        _create_topic(node.address)
        loads = [Load(node.address, TOPIC, number, partitions=PARTITIONS) for number in range(2)]
        for load in loads:
            load.start()
        for _ in range(rounds):
            loads[0].wait_for(200)
            interrupt()
            node.start()
        loads[0].wait_for(200)
        for load in loads:
            load.stop()
        assert [error for load in loads for error in load.failed] == []
        assert find_losses(loads, read_all(node.address, TOPIC, PARTITIONS)) == []
        assert node.stop() == 0
        return sum(load.count for load in loads)


def _kill_rounds(tmp_path: Path, rounds: int) -> int:
    node = RealNode(tmp_path / "data")
    return _rounds(node, rounds, node.kill)


def test_killed_under_load(tmp_path: Path) -> None:
    assert _kill_rounds(tmp_path, rounds=3) > 800


@pytest.mark.proof
@pytest.mark.timeout(3_600)
def test_killed_fifty_times_under_load(tmp_path: Path, record_figure: RecordFigure) -> None:
    record_figure("kill -9: rounds", 50)
    record_figure("kill -9: records acknowledged, all found", _kill_rounds(tmp_path, rounds=50))


def _lose_power(disk: LoopDisk, node: RealNode) -> None:
    """Everything stops at one moment, then the disk is gone.

    Without the stop, a sync that is under way may report success to a machine that has no power
    any more: the kernel drops its transaction, and then finds nothing left to wait for.
    """
    node.freeze()
    disk.lose_power()
    node.thaw()
    # The first write or sync that fails ends the node by itself.
    assert node.wait(30) != 0


def _power_rounds(disk: LoopDisk, rounds: int) -> int:
    node = RealNode(disk.path / "data", log_folder=disk.path.parent)

    def interrupt() -> None:
        _lose_power(disk, node)
        disk.unmount()
        disk.mount()

    return _rounds(node, rounds, interrupt)


def test_power_lost_under_load(disk: LoopDisk) -> None:
    assert _power_rounds(disk, rounds=2) > 600


@pytest.mark.proof
@pytest.mark.timeout(3_600)
def test_power_lost_twenty_times_under_load(disk: LoopDisk, record_figure: RecordFigure) -> None:
    record_figure("power loss: rounds", 20)
    record_figure("power loss: records acknowledged, all found", _power_rounds(disk, rounds=20))


def test_a_sync_fails_and_then_the_power(tmp_path: Path) -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no disk can fail here: {reason}")
    with (
        failing_disk(tmp_path, 96 * 1024 * 1024) as disk,
        RealNode(disk.path / "data", log_folder=tmp_path) as node,
    ):
        _create_topic(node.address)
        loads = [
            Load(node.address, TOPIC, number, partitions=PARTITIONS, size=1_000)
            for number in range(2)
        ]
        for load in loads:
            load.start()
        assert node.wait(60) != 0, "the first failed sync ends the node"
        acknowledged = loads[0].count
        assert acknowledged > 0
        grow_tmpfs(disk.path.parent, 2048 * 1024 * 1024)
        disk.unmount()
        disk.mount()
        node.start()
        loads[0].wait_for(200)
        _lose_power(disk, node)
        disk.unmount()
        disk.mount()
        node.start()
        loads[0].wait_for(50)
        for load in loads:
            load.stop()
        assert [error for load in loads for error in load.failed] == []
        assert find_losses(loads, read_all(node.address, TOPIC, PARTITIONS)) == []
        assert node.stop() == 0


def test_a_full_disk_refuses_reads_on_and_resumes(
    tmp_path: Path, record_figure: RecordFigure
) -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no disk can be filled here: {reason}")
    with small_tmpfs(tmp_path / "small", 8 * 1024 * 1024) as small:
        ballast = small / "ballast"
        settings = {"LOGD__DISK__FREE_BYTES_MIN": "1MiB"}
        with RealNode(small / "data", log_folder=tmp_path, settings=settings) as node:
            _create_topic(node.address)
            load = Load(node.address, TOPIC, 0).start()
            load.wait_for(100)
            free = 8 * 1024 * 1024 - sum(f.stat().st_blocks * 512 for f in small.rglob("*"))
            ballast.write_bytes(b"x" * max(free - 1024 * 1024, 0))
            refused_s = _time_to_refusal(node.address)
            assert refused_s < 1.0
            found = read_all(node.address, TOPIC, 1)
            assert sum(map(len, found.values())) >= 100, "readers go on"
            before = load.count
            ballast.unlink()
            freed = time.monotonic()
            while load.count == before:
                assert time.monotonic() - freed < 5.0, "writing resumes by itself"
                time.sleep(0.01)
            record_figure("full disk: seconds to a clear error", round(refused_s, 3))
            record_figure("full disk: seconds to resume", round(time.monotonic() - freed, 3))
            load.stop()
            assert load.failed == []
            assert find_losses([load], read_all(node.address, TOPIC, 1)) == []
            assert node.stop() == 0


def _time_to_refusal(address: str) -> float:
    """How long an impatient producer waits for the error that says what is wrong."""
    with Producer(address, delivery_timeout_ms=500) as producer:
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="the disk is nearly full"):
            producer.send_and_wait(TOPIC, b"x" * 1000, timeout=5)
        return time.monotonic() - begun
