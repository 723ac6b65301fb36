"""The hard state file of the raft log, as version 1 wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from logd_wire.errors import LogdError

from logd.consensus import HardState, Identity
from logd.model.ids import ClusterId, DirectoryId, NodeId, Term
from logd.runtime.raft_store import decode_hard_state, encode_hard_state

GOLDEN = Path(__file__).parent / "hard_state_v1.txt"
STATE = HardState(
    Term(7),
    NodeId(3),
    Identity(ClusterId(bytes(range(0x10, 0x20))), NodeId(3), DirectoryId(bytes(range(0x20, 0x30)))),
)


def test_golden_bytes() -> None:
    golden = GOLDEN.read_bytes()
    assert decode_hard_state(golden) == STATE
    assert encode_hard_state(STATE) == golden


@pytest.mark.parametrize("position", range(0, 150, 7))
def test_every_damaged_byte_is_seen(position: int) -> None:
    damaged = bytearray(GOLDEN.read_bytes())
    damaged[position % len(damaged)] ^= 1
    with pytest.raises(LogdError):
        decode_hard_state(bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 40, 100])
def test_a_cut_file_is_seen(length: int) -> None:
    with pytest.raises(LogdError):
        decode_hard_state(GOLDEN.read_bytes()[:length])
