"""Where the replicas of a drained node go."""

from __future__ import annotations

from collections import Counter

import pytest
from logd_client.values import MemberInfo, PartitionInfo, ReplicaProgress, TopicInfo
from logd_wire.errors import ErrorCode, InvalidRequestError

from logd.cli.draining import plan_drain
from logd.cli.partition_view import is_under_replicated, moving_in_words, problems_of


def member(number: int, rack: str = "", *, fenced: bool = False) -> MemberInfo:
    return MemberInfo(number, f"n{number}:1", "", rack, fenced, "d", "i", True, False, 0, True)


def part(number: int, *replicas: int, **changes: object) -> PartitionInfo:
    fields: dict[str, object] = {"leader": replicas[0], "isr": replicas, **changes}
    return PartitionInfo(
        partition=number,
        leader_epoch=0,
        replicas=replicas,
        start_offset=0,
        end_offset=0,
        size_bytes=0,
        segments=1,
        **fields,  # type: ignore[arg-type]
    )


def topic(*parts: PartitionInfo, name: str = "t") -> TopicInfo:
    return TopicInfo(name, "id", False, parts, {})


def test_one_node_takes_the_place_of_the_drained_one() -> None:
    members = [member(number) for number in (1, 2, 3, 4)]
    plan = plan_drain([topic(part(0, 1, 2, 3), part(1, 1, 2, 4), part(2, 3, 1, 4))], members, 3)
    assert plan == {("t", 0): (1, 2, 4), ("t", 2): (2, 1, 4)}


def test_racks_come_first() -> None:
    members = [member(1, "a"), member(2, "b"), member(3, "b"), member(4, "a"), member(5, "c")]
    busy = [topic(*(part(number, 5, 2) for number in range(9)), name="busy")]
    plan = plan_drain([topic(part(0, 1, 3)), *busy], members, 3)
    assert plan["t", 0] == (1, 2), "node 5 is in a rack of its own too, and has more"
    plan = plan_drain([topic(part(0, 1, 2, 3)), *busy], members, 3)
    assert plan["t", 0] == (1, 2, 5), "the only rack where it is not"


def test_what_moves_is_spread() -> None:
    members = [member(number) for number in range(1, 6)]
    plan = plan_drain([topic(*(part(number, 5, 1) for number in range(90)))], members, 5)
    taken = Counter(target[0] for target in plan.values())
    assert {*taken} == {2, 3, 4}, "node 1 has a replica of each"
    assert {*taken.values()} == {30}


def test_who_is_on_the_way_is_planned_from_where_it_goes() -> None:
    members = [member(number) for number in (1, 2, 3, 4)]
    leaves = part(0, 1, 3, 2, adding=(2,), target=(1, 2))
    comes = part(1, 1, 2, 3, adding=(3,), target=(1, 3))
    plan = plan_drain([topic(leaves, comes)], members, 3)
    assert plan == {("t", 1): (1, 4)}


def test_a_fenced_node_takes_nothing() -> None:
    members = [member(1), member(2), member(3), member(4, fenced=True), member(5)]
    assert plan_drain([topic(part(0, 1, 3))], members, 3) == {("t", 0): (1, 2)}
    assert plan_drain([topic(part(0, 1, 2, 3))], members, 3) == {("t", 0): (1, 2, 5)}


def test_too_few_others_are_refused_in_words() -> None:
    with pytest.raises(InvalidRequestError, match="node 1 is the last one in service"):
        plan_drain([topic(part(0, 1))], [member(1), member(2, fenced=True)], 1)
    members = [member(1), member(2), member(3)]
    with pytest.raises(InvalidRequestError) as caught:
        plan_drain([topic(part(0, 1, 2, 3))], members, 3)
    assert caught.value.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert caught.value.message == (
        "t-0 has 3 replicas, and without node 3 there are 2 nodes in service"
    )
    assert "`logd cluster reassign t:0 --to 1,2`" in (caught.value.hint or "")
    assert plan_drain([topic(part(0, 1, 2))], members, 3) == {}, "it holds nothing"


# ---- what is said of replicas that move ---------------------------------------------------------


def test_replicas_that_move_are_not_missing() -> None:
    moving = part(0, 1, 2, 3, 4, isr=(1, 2), adding=(3, 4), target=(3, 4))
    assert not is_under_replicated(moving)
    assert moving.removing == (1, 2)
    assert problems_of(topic(moving), moving, {}) == []
    lacking = part(0, 1, 2, 3, 4, isr=(1,), adding=(3, 4), target=(3, 4))
    assert problems_of(topic(lacking), lacking, {}) == [
        "under-replicated: node 2 is not registered"
    ]


def test_how_far_it_is_in_words() -> None:
    progress = (ReplicaProgress(3, -1, 50, 9_000), ReplicaProgress(4, 7, 1_234, 3 * 2**20))
    moving = part(
        0, 1, 2, 3, 4, 5, isr=(1, 2, 5), adding=(3, 4, 5), target=(3, 4, 5), progress=progress
    )
    assert moving_in_words(moving) == (
        "moving to nodes 3,4,5; node 3 has not begun to copy; "
        "node 4 has 1,234 records (3.0 MiB) still to copy"
    )
    assert moving_in_words(part(0, 1, 2)) == ""
