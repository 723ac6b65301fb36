from __future__ import annotations

import pytest
from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    InvalidGroupError,
    InvalidRequestError,
    RebalanceError,
)

from logd.groups import (
    LEAVING,
    LEAVING_STATIC,
    CurrentMember,
    Groups,
    GroupSettings,
    Heartbeat,
)
from tests.unit.groups.rig import (
    GROUP,
    REBALANCE_MS,
    SESSION_MS,
    Coordinator,
    new_pattern,
    parts,
    topics,
)


def two_members() -> Coordinator:
    """`a` and `b` with two partitions each, both settled."""
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.settle()
    assert there.counts() == {"a": 2, "b": 2}
    return there


def told_to_give_up() -> Coordinator:
    """`a` holds all four partitions, and was told to give two of them to `b`."""
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.stay("a")
    return there


# --- joining -------------------------------------------------------------------------------------


def test_the_first_member_gets_everything_at_once() -> None:
    there = Coordinator()
    reply = there.join("a")
    assert reply.member_epoch == 1
    assert reply.assignment == parts("orders", 0, 1, 2, 3)
    assert reply.session_timeout_ms == SESSION_MS
    assert reply.heartbeat_interval_ms == SESSION_MS // 6
    assert there.state() == "stable"


def test_heartbeats_are_no_rarer_than_the_node_wants() -> None:
    reply = Coordinator().join("a", session_timeout_ms=0)
    assert reply.session_timeout_ms == 45_000
    assert reply.heartbeat_interval_ms == 5_000


def test_a_member_may_join_before_its_topic_is_there() -> None:
    there = Coordinator(topics(orders=2))
    assert there.join("a", "letters").assignment == frozenset()
    assert there.state() == "stable"
    there.change_topics(topics(orders=2, letters=2))
    assert there.stay("a").assignment == parts("letters", 0, 1)


def test_more_members_than_partitions_are_idle() -> None:
    there = Coordinator(topics(orders=2))
    for member_id in "abc":
        there.join(member_id)
    there.settle()
    assert there.counts() == {"a": 1, "b": 1, "c": 0}
    assert there.state() == "stable"


def test_a_full_group_takes_nobody() -> None:
    there = Coordinator(settings=GroupSettings(members_max=1))
    there.join("a")
    with pytest.raises(InvalidGroupError) as refused:
        there.join("b")
    assert refused.value.code == ErrorCode.GROUP_FULL
    there.join("a")


def test_nobody_is_answered_before_the_topics_are_known() -> None:
    groups = Groups(GroupSettings(), new_pattern=new_pattern)
    groups.loaded(0)
    with pytest.raises(CoordinatorLoadingError):
        groups.heartbeat(Heartbeat(GROUP, "a", 0, topics=("orders",)), 0)
    assert groups.next_deadline_ms() is None
    assert groups.tick(10**9, 0).records == ()


# --- one owner at a time -------------------------------------------------------------------------


def test_a_partition_is_given_when_it_was_given_up() -> None:
    there = Coordinator()
    there.join("a")
    assert there.join("b").assignment == frozenset()
    assert there.member("b").state == "unreleased"
    told = there.stay("a")
    assert told.assignment == parts("orders", 0, 1)
    assert there.member("a").state == "unrevoked"
    assert there.stay("b").assignment is None
    assert there.state() == "reconciling"
    there.stay("a", owned=told.assignment)
    assert there.member("a").state == "stable"
    assert there.stay("b").assignment == parts("orders", 2, 3)
    assert there.state() == "stable"


@pytest.mark.parametrize("owned", [None, (0, 1, 2, 3), (3,)])
def test_what_is_held_still_stays_with_its_holder(owned: tuple[int, ...] | None) -> None:
    there = told_to_give_up()
    said = None if owned is None else parts("orders", *owned)
    assert there.stay("a", owned=said).assignment is None
    assert there.member("a").revoking == parts("orders", 2, 3)
    assert there.stay("b").assignment is None


def test_who_keeps_what_it_has_notices_nothing() -> None:
    there = two_members()
    there.join("c", "letters")
    assert there.stay("a").assignment is None
    assert there.stay("b").assignment is None
    records = len(there.log)
    there.settle()
    assert len(there.log) == records


def test_a_member_that_leaves_hands_over() -> None:
    there = two_members()
    there.heartbeat("b", LEAVING)
    assert there.groups.waiting(GROUP) == ("a",)
    assert there.stay("a").assignment == parts("orders", 0, 1, 2, 3)
    assert there.groups.waiting(GROUP) == ()


def test_who_waits_is_known_when_a_partition_was_given_up() -> None:
    there = told_to_give_up()
    assert there.groups.waiting(GROUP) == ()
    there.stay("a", owned=parts("orders", 0, 1))
    assert there.groups.waiting(GROUP) == ("b",)


def test_a_partition_that_was_taken_away_may_come_back() -> None:
    there = told_to_give_up()
    there.heartbeat("b", LEAVING)
    assert there.member("a").revoking == parts("orders", 2, 3)
    reply = there.stay("a", owned=parts("orders", 0, 1))
    assert reply.assignment == parts("orders", 0, 1, 2, 3)


# --- lost, late and doubled heartbeats -----------------------------------------------------------


def test_a_lost_answer_is_given_again() -> None:
    there = Coordinator()
    epoch = there.join("a").member_epoch
    there.join("b")
    told = there.heartbeat("a", epoch)
    assert there.heartbeat("a", epoch, owned=parts("orders", 0, 1, 2, 3)) == told
    assert there.heartbeat("a", epoch, owned=frozenset()) == told


def test_a_late_heartbeat_gives_nothing_up() -> None:
    """It was sent before the member was told to."""
    there = Coordinator()
    epoch = there.join("a").member_epoch
    there.join("b")
    there.heartbeat("a", epoch)
    there.heartbeat("a", epoch, owned=frozenset())
    assert there.member("a").revoking == parts("orders", 2, 3)
    assert there.stay("b").assignment is None


def test_a_heartbeat_from_before_the_order_to_give_up_is_no_answer_to_it() -> None:
    """`b` said that it held nothing, took up what it had been given, and has to give some up."""
    there = two_members()
    there.heartbeat("a", LEAVING)
    given = there.stay("b")
    there.join("c")
    told = there.stay("b")
    assert there.heartbeat("b", given.member_epoch, owned=frozenset()) == told
    assert len(there.member("b").revoking) == 2
    assert there.stay("c").assignment is None


def test_a_late_join_changes_no_owner() -> None:
    there = two_members()
    held = there.holds()
    reply = there.join("a")
    assert reply.assignment == held["a"]
    assert there.holds() == held


def test_who_joins_again_has_a_new_epoch() -> None:
    """So that what it sent before it gave everything up is refused."""
    there = two_members()
    before = there.member("a").member_epoch
    assert there.join("a").member_epoch > before
    with pytest.raises(RebalanceError) as refused:
        there.commit("a", before, 5)
    assert refused.value.code == ErrorCode.STALE_MEMBER_EPOCH


def test_a_join_that_comes_twice_is_no_evidence_that_nothing_is_held() -> None:
    there = told_to_give_up()
    there.join("a")
    assert there.member("a").revoking == parts("orders", 2, 3)
    assert there.stay("b").assignment is None


@pytest.mark.parametrize("said", [-1, 1])
def test_an_epoch_that_a_member_was_not_told_is_fenced(said: int) -> None:
    there = two_members()
    member = there.member("a")
    there.heartbeat("b", LEAVING)
    there.stay("a")
    there.join("c")
    there.stay("a")
    epoch = there.member("a").member_epoch + 100 if said > 0 else member.member_epoch
    with pytest.raises(RebalanceError) as refused:
        there.heartbeat("a", epoch)
    assert refused.value.code == ErrorCode.FENCED_MEMBER_EPOCH
    assert "join again" in refused.value.hint


def test_who_is_not_in_the_group_is_told() -> None:
    there = two_members()
    for group in (GROUP, "another"):
        with pytest.raises(RebalanceError) as refused:
            there.heartbeat("z", 3, group=group)
        assert refused.value.code == ErrorCode.UNKNOWN_MEMBER


def test_epochs_are_never_given_twice() -> None:
    there = two_members()
    there.join("c")
    there.settle()
    there.heartbeat("a", LEAVING)
    there = there.failed_over()
    there.join("a")
    there.settle()
    given = [record.epoch for record in there.log if isinstance(record, CurrentMember)]
    assert len(set(given)) == len(given)


# --- leaving -------------------------------------------------------------------------------------


def test_leaving_twice_is_leaving_once() -> None:
    there = two_members()
    reply = there.heartbeat("b", LEAVING)
    records = len(there.log)
    assert there.heartbeat("b", LEAVING) == reply
    assert there.heartbeat("b", LEAVING, group="another").member_epoch == LEAVING
    assert len(there.log) == records
    assert there.counts() == {"a": 2}


def test_the_last_one_leaves_an_empty_group() -> None:
    there = Coordinator()
    there.join("a")
    there.heartbeat("a", LEAVING)
    assert there.state() == "empty"
    assert there.groups.assigned(GROUP) == {}


def test_a_dynamic_member_cannot_come_back() -> None:
    there = two_members()
    with pytest.raises(InvalidRequestError, match="no instance id"):
        there.heartbeat("a", LEAVING_STATIC)


# --- subscriptions -------------------------------------------------------------------------------


def test_a_member_may_read_something_else() -> None:
    there = Coordinator(topics(orders=2, letters=2))
    there.join("a")
    told = there.stay("a", topics=("letters",))
    assert told.assignment == frozenset()
    reply = there.heartbeat("a", told.member_epoch, owned=frozenset())
    assert reply.assignment == parts("letters", 0, 1)


def test_a_late_subscription_does_not_come_back() -> None:
    there = Coordinator(topics(orders=2))
    epoch = there.join("a").member_epoch
    there.heartbeat("a", epoch, topics=("orders", "letters"))
    there.heartbeat("a", epoch, topics=("orders",))
    assert there.member("a").topics == ("letters", "orders")


def test_saying_the_same_again_changes_nothing() -> None:
    there = two_members()
    records = len(there.log)
    reply = there.stay("a", topics=("orders", "orders"), pattern="", assignor="uniform")
    assert reply.assignment is None
    assert len(there.log) == records


def test_a_rejoin_may_read_something_else() -> None:
    there = two_members()
    reply = there.join("a", "letters")
    assert there.member("a").topics == ("letters",)
    assert reply.assignment == frozenset()


def test_timeouts_are_kept() -> None:
    there = Coordinator()
    there.join("a", session_timeout_ms=7_000, rebalance_timeout_ms=9_000)
    there.join("b")
    member, other = there.members()
    assert (member.session_timeout_ms, member.rebalance_timeout_ms) == (7_000, 9_000)
    assert (other.session_timeout_ms, other.rebalance_timeout_ms) == (SESSION_MS, REBALANCE_MS)


@pytest.mark.parametrize("session_ms", [1_000, 6_000, 30_000, 45_000])
def test_most_of_a_session_is_left_when_a_coordinator_dies(session_ms: int) -> None:
    """Its last answer was to a heartbeat that was sent two intervals ago at worst."""
    interval_ms = GroupSettings().heartbeat_interval_ms(session_ms)
    assert session_ms - 2 * interval_ms >= session_ms * 2 / 3
    assert interval_ms <= 5_000
