"""What a leader takes, and what it refuses."""

from __future__ import annotations

import pytest
from logd_wire.errors import ErrorCode, InvalidRequestError, NotLeaderError
from logd_wire.limits import RECORD_BYTES_MAX

from logd.consensus import (
    ENTRY_BYTES_MAX,
    HeartbeatRequest,
)
from logd.model.ids import LogIndex, Term
from tests.unit.consensus.test_replication import follower, leader, led


def test_only_a_leader_takes_proposals() -> None:
    node = follower()
    node.receive(2, HeartbeatRequest(Term(5), LogIndex(0), 1))
    asks = (lambda: node.core.propose([b"a"]), lambda: node.core.read_index(1))
    for ask in asks:
        with pytest.raises(NotLeaderError) as caught:
            ask()
        assert (caught.value.code, caught.value.leader_id) == (ErrorCode.NOT_CONTROLLER, 2)
        assert caught.value.retriable
    node.start()
    with pytest.raises(NotLeaderError) as caught:
        node.core.propose([b"a"])
    assert caught.value.leader_id == -1


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b""],
        [b"a", b""],
        [b"a" * (RECORD_BYTES_MAX + 1)],
        [b"a" * RECORD_BYTES_MAX] * (ENTRY_BYTES_MAX // RECORD_BYTES_MAX + 1),
        [b"a"] * 100_001,
    ],
    ids=["nothing", "no-op", "with a no-op", "large payload", "large entry", "many"],
)
def test_entries_that_are_empty_or_too_large(payloads: list[bytes]) -> None:
    node = led(leader())
    node.settle()
    with pytest.raises(InvalidRequestError):
        node.core.propose(payloads)
    assert not node.core.has_ready()
