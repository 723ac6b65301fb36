"""The hard state file of the raft log, as each version wrote it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from logd_wire.errors import LogdError

from logd.consensus import HardState, Identity
from logd.model.ids import ClusterId, DirectoryId, NodeId, Term
from logd.runtime.hard_state import decode_hard_state, encode_hard_state

FOLDER = Path(__file__).parent
GOLDEN = (FOLDER / "hard_state_v2.txt").read_bytes()
GOLDEN_1 = (FOLDER / "hard_state_v1.txt").read_bytes()
STATE = HardState(
    Term(7),
    NodeId(3),
    Identity(ClusterId(bytes(range(0x10, 0x20))), NodeId(3), DirectoryId(bytes(range(0x20, 0x30)))),
    founder=False,
)


def test_golden_bytes() -> None:
    assert decode_hard_state(GOLDEN) == STATE
    assert encode_hard_state(STATE) == GOLDEN


def test_version_1_was_written_by_founders() -> None:
    assert decode_hard_state(GOLDEN_1) == replace(STATE, founder=True)


@pytest.mark.parametrize("golden", [GOLDEN_1, GOLDEN], ids=["1", "2"])
@pytest.mark.parametrize("position", range(0, 150, 7))
def test_every_damaged_byte_is_seen(golden: bytes, position: int) -> None:
    damaged = bytearray(golden)
    damaged[position % len(damaged)] ^= 1
    with pytest.raises(LogdError):
        decode_hard_state(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 40, 100])
def test_a_cut_file_is_seen(length: int) -> None:
    with pytest.raises(LogdError):
        decode_hard_state(GOLDEN[:length])
