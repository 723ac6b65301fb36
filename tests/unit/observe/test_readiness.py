from __future__ import annotations

from dataclasses import replace

import pytest

from logd.model.ids import LogIndex, NodeId, Term
from logd.observe import NodeFacts, Phase, QuorumStatus, find_reasons
from logd.observe.readiness import WRITE_STALLED_MS

STATUS = QuorumStatus(
    role="follower",
    term=Term(3),
    leader_id=NodeId(0),
    commit_index=LogIndex(9),
    applied_index=LogIndex(9),
    end_index=LogIndex(9),
    caught_up=True,
    voters=(NodeId(0), NodeId(1), NodeId(2)),
)
WELL = NodeFacts(
    phase=Phase.SERVING,
    status=STATUS,
    registered=True,
    in_session=True,
    free_bytes=1_000,
    free_bytes_min=1_000,
    write_waiting_ms=WRITE_STALLED_MS,
)


def names(facts: NodeFacts) -> list[str]:
    return [reason.name for reason in find_reasons(facts)]


def test_a_node_that_is_well_is_ready() -> None:
    assert names(WELL) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(WELL, phase=Phase.STARTING), ["starting"]),
        (replace(WELL, phase=Phase.STOPPING), ["stopping"]),
        (replace(WELL, phase=Phase.FAILED), ["failed"]),
        (replace(WELL, status=replace(STATUS, leader_id=None)), ["no_leader"]),
        (replace(WELL, status=replace(STATUS, caught_up=False)), ["not_caught_up"]),
        (replace(WELL, phase=Phase.JOINING), ["joining"]),
        (replace(WELL, phase=Phase.JOINING, waits_for="it waits for 2"), ["joining"]),
        (
            replace(WELL, phase=Phase.JOINING, waits_for="it waits for 2", is_overdue=True),
            ["no_cluster"],
        ),
        (replace(WELL, registered=False), ["not_registered"]),
        (replace(WELL, registered=False, in_session=False), ["not_registered"]),
        (replace(WELL, fenced=True), ["fenced"]),
        (replace(WELL, fenced=True, in_session=False), ["fenced"]),
        (replace(WELL, in_session=False), ["no_session"]),
        (replace(WELL, free_bytes=999), ["disk_full"]),
        (replace(WELL, free_bytes=None), ["disk_silent"]),
        (replace(WELL, write_waiting_ms=WRITE_STALLED_MS + 1), ["disk_stalled"]),
        (replace(WELL, status=None), ["no_leader", "not_caught_up"]),
    ],
)
def test_each_thing_that_is_wrong_has_its_own_words(facts: NodeFacts, expected: list[str]) -> None:
    reasons = find_reasons(facts)
    assert [reason.name for reason in reasons] == expected
    assert all(len(reason.message.split()) >= 4 for reason in reasons)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    status = replace(STATUS, leader_id=None, caught_up=False)
    assert names(replace(WELL, status=status, registered=False, free_bytes=0)) == [
        "no_leader",
        "not_caught_up",
        "not_registered",
        "disk_full",
    ]


def test_who_waits_says_for_whom() -> None:
    (reason,) = find_reasons(NodeFacts(Phase.JOINING, "waiting for node 2"))
    assert reason.message == "waiting for node 2"


def test_before_and_after_serving_nothing_else_is_told() -> None:
    for phase in (Phase.STARTING, Phase.JOINING, Phase.STOPPING, Phase.FAILED):
        assert len(names(NodeFacts(phase))) == 1
