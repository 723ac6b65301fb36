"""The judge of what members of a group were handed: it sees what is wrong, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.deliveries import (
    Committed,
    Deliveries,
    in_order,
    pauses,
    problems,
    read_events,
    taken_over_ns,
)

MOVED = """\
1 a assign 0
2 a record 0 0
3 a record 0 1
4 a revoke 0
5 b assign 0
6 b record 0 1
7 b record 0 2
"""


def deliveries(path: Path, text: str, freezes: Sequence[tuple[int, int]] = ()) -> Deliveries:
    path.write_text(text)
    found = Deliveries()
    read_events(path, freezes, found)
    return in_order(found)


def test_what_moves_and_comes_again_is_right(tmp_path: Path) -> None:
    found = deliveries(tmp_path / "events", MOVED)
    commits = [Committed(4, 0, 1), Committed(8, 0, 3)]
    assert problems(found, commits, {0: 3}) == []
    assert (found.count, found.repeated, found.tenures, found.lost) == (4, 1, 2, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 a assign 0\n2 a record 0 0\n3 a record 0 2\n", "handed 2, not 1"),
        ("1 a assign 0\n2 a record 0 1\n", "began at 1, and 0 was skipped"),
        ("1 a record 0 0\n", "before it had the partition"),
        (MOVED + "8 a record 0 2\n", "before it had the partition"),
        (MOVED.replace("4 a revoke 0\n", "") + "8 a record 0 2\n", "when another had"),
        (MOVED + "8 b record 0 3\n9 c assign 0\n10 c record 0 5\n", "began at 5, and 4"),
    ],
)
def test_what_is_wrong_is_seen(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(deliveries(tmp_path / "events", text), [], {})
    assert any(problem in each for each in found), found


def test_a_record_in_the_hand_of_a_frozen_member_is_not_held_against_it(tmp_path: Path) -> None:
    text = MOVED.replace("4 a revoke 0\n", "") + "9 a record 0 2\n"
    assert problems(deliveries(tmp_path / "events", text, [(3, 8)]), [], {}) == []
    text += "10 a record 0 3\n"
    assert len(problems(deliveries(tmp_path / "events", text, [(3, 8)]), [], {})) == 1


def test_commits_are_judged(tmp_path: Path) -> None:
    found = deliveries(tmp_path / "events", MOVED)
    back = problems(found, [Committed(7, 0, 2), Committed(8, 0, 1)], {})
    assert back == ["partition 0: 1 committed after 2"]
    early = problems(found, [Committed(2, 0, 2)], {})
    assert early == ["partition 0: 2 committed, not all was delivered then"]
    assert len(problems(found, [Committed(9, 0, 4)], {})) == 1
    assert problems(found, [], {0: 4, 1: 1}) == [
        "partition 0: [3] of 4 were never delivered",
        "partition 1: [0] of 1 were never delivered",
    ]


def test_a_pause_is_of_a_record_that_was_there(tmp_path: Path) -> None:
    text = "1 a assign 0\n2 a record 0 0\n50 a record 0 1\n60 a record 0 2\n"
    found = deliveries(tmp_path / "events", text)
    there = {0: {0: 1, 1: 20, 2: 59}}
    assert [(each.ns, each.offset) for each in pauses(found, there, {})] == [(30, 1), (1, 2)]
    assert [each.offset for each in pauses(found, there, {0: [(45, 48)]})] == [2]
    frozen = deliveries(tmp_path / "events", text, [(15, 30)])
    assert [each.offset for each in pauses(frozen, there, {})] == [2]


def test_who_took_over_and_when(tmp_path: Path) -> None:
    found = deliveries(tmp_path / "events", MOVED)
    assert taken_over_ns(found, [0], ["a"], 3) == 3
    assert taken_over_ns(found, [0], ["a", "b"], 3) is None
    assert taken_over_ns(found, [0, 1], ["a"], 3) is None
