"""Where two logs part, row by row, and for any two logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.replication import Diverges, Fits, TooLow, check_position, truncation_offset
from tests.unit.replication.rig import epochs

#: The leader's log: 10 to 20 of epoch 2, up to 30 of epoch 4, up to 40 of epoch 5.
LEADER = epochs({2: 10, 4: 20, 5: 30}, 40)


@pytest.mark.parametrize(
    ("offset", "last_epoch", "expected"),
    [
        (40, 5, Fits()),
        (35, 5, Fits()),
        (30, 4, Fits()),
        (20, 2, Fits()),
        (15, 2, Fits()),
        (41, 5, Diverges(5, 40)),
        (31, 4, Diverges(4, 30)),
        (25, 3, Diverges(2, 20)),
        (40, 6, Diverges(5, 40)),
        (20, 3, Diverges(2, 20)),
        (9, 5, TooLow(10)),
        (9, -1, TooLow(10)),
        (10, -1, Fits()),
        (40, -1, Fits()),
        (41, -1, Diverges(-1, 40)),
        (10, 1, Fits()),
        (11, 1, Diverges(-1, 10)),
    ],
)
def test_a_position(offset: int, last_epoch: int, expected: Fits | Diverges | TooLow) -> None:
    assert check_position(LEADER, 10, 40, offset, last_epoch) == expected


@pytest.mark.parametrize(
    ("diverging", "expected"),
    [
        # Both know the epoch: no more of it than both have.
        (Diverges(3, 25), 25),
        (Diverges(3, 35), 30),
        # The follower does not: all of its largest smaller one is asked about next.
        (Diverges(2, 40), 20),
        (Diverges(5, 45), 45),
        # It has none so old.
        (Diverges(0, 40), 5),
        (Diverges(0, 3), 3),
        # The leader has none so old, or ends before an empty follower.
        (Diverges(-1, 12), 12),
        (Diverges(-1, 99), 50),
    ],
)
def test_a_cut(diverging: Diverges, expected: int) -> None:
    own = epochs({1: 5, 3: 20, 4: 30}, 50)
    assert truncation_offset(own, 50, 5, diverging) == expected


Log = list[int]
logs = st.lists(st.integers(0, 4), max_size=8).map(sorted)


def starts(log: Log) -> dict[int, int]:
    return {epoch: log.index(epoch) for epoch in set(log)}


@given(st.data())
def test_any_two_logs_come_to_agree(data: st.DataObject) -> None:
    """A log is the epochs of its records. Two agree up to some offset, where one or both go on
    under other epochs: an epoch has one leader, so it has one order of records."""
    shared: Log = data.draw(logs)
    base = shared[-1] + 1 if shared else 0
    ours = shared + [base + 2 * epoch for epoch in data.draw(logs)]
    theirs = shared + [base + 2 * epoch + 1 for epoch in data.draw(logs)]
    for _ in range(20):
        own = epochs(starts(ours), len(ours))
        leader = epochs(starts(theirs), len(theirs))
        last_epoch = ours[-1] if ours else -1
        verdict = check_position(leader, 0, len(theirs), len(ours), last_epoch)
        if isinstance(verdict, Fits):
            break
        assert isinstance(verdict, Diverges)
        cut = truncation_offset(own, len(ours), 0, verdict)
        assert len(shared) <= cut < len(ours), "nothing that both have is cut, and something is"
        ours = ours[:cut]
    assert ours == theirs[: len(ours)]
    assert ours[: len(shared)] == shared
