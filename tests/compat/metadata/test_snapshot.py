"""The snapshot file of the metadata log, as version 1 wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from logd_wire.errors import LogdError

from logd.consensus import LogPoint, SnapshotMeta, Voter
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term
from logd.runtime.snapshots import Snapshot, decode_snapshot, encode_snapshot

GOLDEN = bytes.fromhex((Path(__file__).parent / "snapshot_v1.hex").read_text())
SNAPSHOT = Snapshot(
    SnapshotMeta(
        LogPoint(Term(7), LogIndex(4_711)),
        (
            Voter(NodeId(1), DirectoryId(bytes(range(0x10, 0x20))), "one.example:7172"),
            Voter(NodeId(3), DirectoryId(bytes(range(0x20, 0x30))), "[::1]:7172"),
        ),
    ),
    b"\0\0\0\3abc\0\0\0\1d",
)


def test_golden_bytes() -> None:
    assert decode_snapshot(GOLDEN) == SNAPSHOT
    assert encode_snapshot(SNAPSHOT) == GOLDEN


@pytest.mark.parametrize("position", range(0, len(GOLDEN), 11))
def test_every_damaged_byte_is_seen(position: int) -> None:
    damaged = bytearray(GOLDEN)
    damaged[position] ^= 1
    with pytest.raises(LogdError):
        decode_snapshot(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 27, 28, 100, len(GOLDEN) - 1])
def test_a_cut_file_is_seen(length: int) -> None:
    with pytest.raises(LogdError):
        decode_snapshot(GOLDEN[:length])
