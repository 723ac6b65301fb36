"""What is read from disks of a real cluster and given to the checker is what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest
from logd_wire import WireRecord, encode_batch, stamp

from tests.sim.checker import check
from tests.sim.history import History
from tests.support.load import value_of
from tests.support.recorded import add_replica, seen

KEY = "t/0"


def segment(folder: Path, base: int, epoch: int, values: list[bytes]) -> None:
    """A segment with one batch for each value."""
    folder.mkdir(exist_ok=True)
    batches = [
        stamp(encode_batch([WireRecord(0, 0, None, value, ())]), base + index, epoch)
        for index, value in enumerate(values)
    ]
    (folder / f"{base:020d}.log").write_bytes(b"".join(batches))


def acknowledged(values: list[bytes]) -> History:
    history = History()
    for offset, value in enumerate(values):
        named = seen(-1, value)
        send = history.begin_send("p0", KEY, named.value, named.digest)
        history.end_send(send, "ok", offset)
    return history


def judged(history: History, folders: list[Path]) -> set[str]:
    end = len(history.sends)
    for node, folder in enumerate(folders, 1):
        add_replica(history, folder, KEY, node=node, high_watermark=end)
    history.log[KEY] = history.drain[KEY] = list(history.replicas[0].records)
    return set(check(history).anomalies)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [tmp_path / "one", tmp_path / "two"]


VALUES = [value_of(0, number) for number in range(5)]


def test_replicas_that_are_equal(folders: list[Path]) -> None:
    for folder in folders:
        segment(folder, 0, 3, VALUES[:3])
        segment(folder, 3, 4, VALUES[3:])
    history = acknowledged(VALUES)
    assert judged(history, folders) == set()
    assert [replica.epochs for replica in history.replicas] == [{3: 0, 4: 3}] * 2
    assert [record.offset for record in history.replicas[1].records] == list(range(5))
    # The checker is told the value's name and the digest of all its bytes.
    assert len({record.value for record in history.replicas[0].records}) == 5


def test_a_replica_that_lost_its_tail(folders: list[Path]) -> None:
    segment(folders[0], 0, 3, VALUES)
    segment(folders[1], 0, 3, VALUES[:4])
    assert judged(acknowledged(VALUES), folders) == {"replica-lost", "replica-divergence"}


def test_one_byte_of_one_value(folders: list[Path]) -> None:
    segment(folders[0], 0, 3, VALUES)
    segment(folders[1], 0, 3, [*VALUES[:4], VALUES[4][:-1] + b"?"])
    assert judged(acknowledged(VALUES), folders) == {"corrupt-record", "replica-divergence"}
