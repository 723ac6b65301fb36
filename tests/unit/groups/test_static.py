"""Members with an instance id, which come back."""

from __future__ import annotations

import pytest
from logd_wire.errors import ErrorCode, InstanceIdError, InvalidRequestError, RebalanceError

from logd.groups import LEAVING, LEAVING_STATIC
from tests.unit.groups.rig import SESSION_MS, Coordinator, parts, topics


def two_static() -> Coordinator:
    there = Coordinator()
    there.join("a1", instance_id="a")
    there.join("b1", instance_id="b")
    there.settle()
    return there


def test_what_a_static_member_had_is_kept_for_it() -> None:
    there = two_static()
    held = there.holds()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    assert there.state() == "stable"
    assert there.stay("a1").assignment is None
    reply = there.join("b2", instance_id="b")
    assert reply.assignment == held["b1"]
    assert there.holds() == {"a1": held["a1"], "b2": held["b1"]}


def test_nobody_else_notices_a_restart() -> None:
    there = two_static()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there.join("b2", instance_id="b")
    assert there.stay("a1").assignment is None
    assert there.state() == "stable"


def test_it_is_kept_until_its_session_ends() -> None:
    there = two_static()
    there.after(2_000)
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there.after(SESSION_MS - 2_001)
    there.stay("a1")
    there.after(2_000)
    assert len(there.members()) == 2
    there.after(1)
    assert there.stay("a1").assignment == parts("orders", 0, 1, 2, 3)


def test_it_is_kept_over_a_failover() -> None:
    there = two_static()
    held = there.holds()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there = there.failed_over()
    assert there.join("b2", instance_id="b").assignment == held["b1"]


def test_it_may_come_back_under_the_same_member_id() -> None:
    there = two_static()
    held = there.holds()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    assert there.join("b1", instance_id="b").assignment == held["b1"]
    there.settle()
    assert there.holds() == held


def test_going_twice_is_going_once() -> None:
    there = two_static()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    records = len(there.log)
    assert there.heartbeat("b1", LEAVING_STATIC, instance_id="b").member_epoch == LEAVING_STATIC
    assert len(there.log) == records


def test_a_static_member_may_leave_for_good() -> None:
    there = two_static()
    there.heartbeat("b1", LEAVING, instance_id="b")
    assert there.stay("a1").assignment == parts("orders", 0, 1, 2, 3)
    there.join("b2", instance_id="b")


def test_who_went_is_fenced_until_it_joins() -> None:
    there = two_static()
    epoch = there.member("b1").member_epoch
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    with pytest.raises(RebalanceError):
        there.heartbeat("b1", epoch)
    with pytest.raises(RebalanceError):
        there.commit("b1", epoch, 3)


def test_two_consumers_are_not_one_instance() -> None:
    there = two_static()
    with pytest.raises(InstanceIdError) as refused:
        there.join("b2", instance_id="b")
    assert refused.value.code == ErrorCode.UNRELEASED_INSTANCE_ID
    assert str(SESSION_MS) in refused.value.hint
    there.after(SESSION_MS)
    there.join("b2", instance_id="b")


def test_the_old_one_is_fenced_when_another_took_its_place() -> None:
    there = two_static()
    epoch = there.member("b1").member_epoch
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there.join("b2", instance_id="b")
    for said in (epoch, LEAVING, LEAVING_STATIC):
        with pytest.raises(InstanceIdError) as refused:
            there.heartbeat("b1", said, instance_id="b")
        assert refused.value.code == ErrorCode.FENCED_INSTANCE_ID
    with pytest.raises(RebalanceError) as unknown:
        there.heartbeat("b1", epoch)
    assert unknown.value.code == ErrorCode.UNKNOWN_MEMBER
    with pytest.raises(RebalanceError):
        there.commit("b1", epoch, 3)


def test_an_instance_id_is_fixed() -> None:
    there = two_static()
    with pytest.raises(InvalidRequestError):
        there.stay("b1", instance_id="c")
    with pytest.raises(InvalidRequestError):
        there.join("b1", instance_id="c")


def test_an_instance_that_became_dynamic_is_free() -> None:
    there = two_static()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there.join("b1")
    there.join("b2", instance_id="b")
    assert len(there.members()) == 3


def test_what_is_not_its_own_any_more_is_not_kept() -> None:
    """Another one joined meanwhile: its share is free at once, for who went holds nothing."""
    there = two_static()
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    there.join("c")
    there.join("d")
    assert there.member("b1").assigned == there.member("b1").target
    there.settle(but={"b1"})
    assert there.counts() == {"a1": 1, "b1": 1, "c": 1, "d": 1}


def test_who_went_while_it_had_to_give_up_gave_up() -> None:
    there = Coordinator()
    there.join("a1", instance_id="a")
    there.join("b")
    there.stay("a1")
    there.heartbeat("a1", LEAVING_STATIC, instance_id="a")
    assert len(there.stay("b").assignment or ()) == 2
    assert len(there.member("a1").assigned) == 2


def test_another_one_may_read_something_else() -> None:
    there = Coordinator(topics(orders=2, letters=2))
    there.join("a1", instance_id="a")
    there.heartbeat("a1", LEAVING_STATIC, instance_id="a")
    reply = there.join("a2", "letters", instance_id="a")
    assert reply.assignment == parts("letters", 0, 1)


def test_the_epoch_of_who_went_is_nobody_elses() -> None:
    """Its record is gone by compaction; its commits are there still, and are told by the epoch."""
    there = two_static()
    held = there.holds()["b1"]
    epoch = there.member("b1").member_epoch
    there.heartbeat("b1", LEAVING_STATIC, instance_id="b")
    newest = {(type(each), getattr(each, "member_id", "")): each for each in there.log}
    there = there.failed_over(newest.values())
    assert there.join("c").member_epoch > epoch
    assert there.join("b2", instance_id="b").assignment == there.member("b2").target
    assert there.holds()["b2"] <= held
