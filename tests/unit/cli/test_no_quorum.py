"""What is said of a cluster that cannot decide anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_client.values import ClusterInfo, MemberInfo, NodeInfo

from logd.cli.no_quorum import no_quorum

VOTER = MemberInfo(1, "a:1", "a:2", "", False, "d", "i", True, False, None, None)
MEMBERS = tuple(replace(VOTER, id=number) for number in (1, 2, 3))
NODES = (NodeInfo(1, "a:1"), NodeInfo(2, "b:1"), NodeInfo(3, "c:1"))


def cluster(answered_by: int, controller: int | None = None) -> ClusterInfo:
    return ClusterInfo("c", controller, answered_by, "1", NODES, MEMBERS)


def test_the_last_of_three_says_what_goes_on_and_what_to_do() -> None:
    words = no_quorum(cluster(3), set())
    assert words.startswith(
        "no quorum: 1 of 3 voters answers (node 3), 2 are needed; no answer from nodes 1 at a:1, "
        "2 at b:1. "
    )
    assert "nothing is written or read" in words and "as node 3 knew them last" in words
    assert "start 1 more of the voters" in words


def test_a_voter_without_a_known_address_is_named_by_its_number() -> None:
    found = replace(cluster(3), nodes=NODES[2:])
    assert "no answer from nodes 1, 2." in no_quorum(found, set())


@pytest.mark.parametrize(
    ("found", "answering"),
    [
        (cluster(3), {1}),  # an election is under way
        (cluster(3, controller=1), set()),  # it has heard of a leader
        (replace(cluster(3), members=()), set()),  # it does not know who votes
    ],
)
def test_nothing_is_said_while_a_majority_may_decide(
    found: ClusterInfo, answering: set[int]
) -> None:
    assert not no_quorum(found, answering)


def test_observers_do_not_count() -> None:
    observer = replace(VOTER, id=4, voter=False)
    found = replace(cluster(3), members=(*MEMBERS, observer))
    assert "1 of 3 voters" in no_quorum(found, {4})
