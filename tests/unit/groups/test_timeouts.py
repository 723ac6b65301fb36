from __future__ import annotations

import contextlib

import pytest
from logd_wire.errors import ErrorCode, RebalanceError

from logd.groups import LEAVING, GroupEpoch, Heartbeat, TargetEpoch
from tests.unit.groups.rig import GROUP, REBALANCE_MS, SESSION_MS, Coordinator, parts


def two_members() -> Coordinator:
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.settle()
    return there


def told_to_give_up() -> Coordinator:
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.stay("a")
    return there


# --- sessions ------------------------------------------------------------------------------------


def test_a_silent_member_is_replaced_when_its_session_ends() -> None:
    there = two_members()
    there.after(SESSION_MS - 1)
    there.stay("a")
    assert there.counts() == {"a": 2, "b": 2}
    there.after(1)
    assert there.counts() == {"a": 2}
    assert there.stay("a").assignment == parts("orders", 0, 1, 2, 3)
    with pytest.raises(RebalanceError) as refused:
        there.heartbeat("b", 3)
    assert refused.value.code == ErrorCode.UNKNOWN_MEMBER


def test_every_answered_heartbeat_begins_a_session() -> None:
    """Also one that says the previous epoch: the member counts from it when it hears the answer."""
    there = Coordinator()
    epoch = there.join("a").member_epoch
    there.join("b")
    told = there.heartbeat("a", epoch).member_epoch
    for said in (epoch, epoch, told, told):
        there.after(SESSION_MS - 1_000)
        there.heartbeat("a", said)
    assert "a" in there.counts()


def test_a_join_begins_a_session() -> None:
    there = Coordinator()
    there.join("a")
    for _ in range(3):
        there.after(SESSION_MS - 1)
        there.join("a")
    assert there.counts() == {"a": 4}


def test_a_shorter_session_counts_from_the_join_that_says_it() -> None:
    there = Coordinator()
    there.join("a", session_timeout_ms=60_000)
    there.join("a", session_timeout_ms=2_000)
    there.after(2_000)
    assert there.state() == "empty"


def test_many_that_go_at_once_are_one_rebalance() -> None:
    there = Coordinator()
    for member_id in "abcd":
        there.join(member_id)
    there.settle()
    there.after(SESSION_MS - 1)
    there.stay("a")
    begun = len(there.log)
    there.after(1)
    new = there.log[begun:]
    assert [type(each) for each in new if isinstance(each, GroupEpoch | TargetEpoch)] == [
        GroupEpoch,
        TargetEpoch,
    ]
    assert there.counts() == {"a": 1}


def test_the_next_deadline_is_never_late() -> None:
    there = two_members()
    assert there.groups.next_deadline_ms() == SESSION_MS
    there.now_ms = 4_000
    there.stay("a")
    there.stay("b")
    there.after(2_000)
    assert there.counts() == {"a": 2, "b": 2}
    assert there.groups.next_deadline_ms() == 4_000 + SESSION_MS


def test_a_coordinator_that_takes_over_gives_everybody_a_session() -> None:
    there = two_members()
    there.after(SESSION_MS - 1)
    there = there.failed_over()
    assert [each.silent_ms for each in there.members()] == [-1, -1]
    there.after(SESSION_MS - 1)
    assert there.counts() == {"a": 2, "b": 2}
    there.stay("a")
    there.after(1)
    assert there.counts() == {"a": 2}


# --- giving up -----------------------------------------------------------------------------------


def test_who_does_not_give_up_in_time_is_out() -> None:
    there = told_to_give_up()
    there.stay("a")
    for _ in range(REBALANCE_MS // 1_000 - 1):
        there.after(1_000)
        there.stay("a")
        there.stay("b")
    there.after(999)
    assert there.member("a").state == "unrevoked"
    there.after(1)
    assert [each.member_id for each in there.members()] == ["b"]
    assert there.stay("b").assignment == parts("orders", 0, 1, 2, 3)


def test_the_time_counts_from_when_it_is_known_that_the_member_was_told() -> None:
    there = told_to_give_up()
    there.after(4_000)
    there.stay("b")
    there.stay("a")
    for _ in range(2):
        there.after((REBALANCE_MS - 2) // 2)
        there.stay("a")
        there.stay("b")
    assert there.member("a").state == "unrevoked"
    there.after(2)
    assert [each.member_id for each in there.members()] == ["b"]


def test_who_never_hears_what_it_is_told_is_out_in_the_end() -> None:
    """All its heartbeats arrive, and none of the answers. From the rebalance timeout on none of
    them begins a session: it may have heard the one before."""
    there = Coordinator()
    epoch = there.join("a").member_epoch
    there.join("b")
    for waited_ms in range(0, SESSION_MS + REBALANCE_MS, 1_000):
        assert "a" in there.counts()
        if waited_ms <= REBALANCE_MS:
            there.heartbeat("a", epoch)
        else:
            with pytest.raises(RebalanceError) as refused:
                there.heartbeat("a", epoch)
            assert refused.value.code == ErrorCode.FENCED_MEMBER_EPOCH
        there.stay("b")
        there.after(1_000)
    assert [each.member_id for each in there.members()] == ["b"]


def test_who_joins_again_and_never_hears_it_is_out_in_the_end() -> None:
    there = told_to_give_up()
    there.stay("a")
    began_ms = there.now_ms
    while "a" in there.counts():
        with contextlib.suppress(RebalanceError):
            there.join("a")
        there.stay("b")
        there.after(500)
        assert there.now_ms - began_ms <= REBALANCE_MS + SESSION_MS


def test_who_joins_again_has_its_time_to_give_up_again() -> None:
    """It gave up waiting, and everything that it held: it hears first what it may hold now."""
    there = told_to_give_up()
    there.stay("a")
    there.after(SESSION_MS - 1)
    there.stay("a")
    there.stay("b")
    there.after(REBALANCE_MS - SESSION_MS)
    there.join("a")
    there.after(1)
    assert "a" in there.counts(), "what it was told before is no matter any more"
    there.stay("a", owned=parts("orders", 0, 1))
    there.stay("b")
    assert there.counts() == {"a": 2, "b": 2}


def test_an_answer_is_a_session_whatever_the_member_owes() -> None:
    """Answers are lost, and it does not know yet what it has to give up: it may deliver until the
    session ends that its newest answer began."""
    there = Coordinator()
    long_ms = 3 * REBALANCE_MS
    there.join("a", session_timeout_ms=long_ms)
    there.join("b", session_timeout_ms=long_ms)
    epoch = there.stay("a").member_epoch
    there.stay("a", owned=parts("orders", 0, 1))
    for other in "cd":
        there.join(other, session_timeout_ms=long_ms)
    there.after(REBALANCE_MS)
    there.heartbeat("a", epoch)
    for other in "bcd":
        there.stay(other)
    there.after(long_ms - 1)
    assert "a" in there.counts()
    with pytest.raises(RebalanceError):
        there.heartbeat("a", epoch)
    there.after(1)
    assert "a" not in there.counts()


def test_who_gave_up_in_time_stays() -> None:
    there = told_to_give_up()
    there.after(5_000)
    there.stay("b")
    there.stay("a", owned=parts("orders", 0, 1))
    for _ in range(10):
        there.after(4_000)
        there.settle(1)
    assert there.counts() == {"a": 2, "b": 2}


def test_each_time_to_give_up_is_a_whole_one() -> None:
    there = told_to_give_up()
    there.stay("a")
    there.after(5_000)
    there.stay("b")
    there.join("c")
    there.join("d")
    there.stay("a", owned=parts("orders", 0, 1))
    assert len(there.member("a").revoking) == 1
    there.stay("a")
    for _ in range(2):
        there.after((REBALANCE_MS - 2) // 2)
        for member_id in "abcd":
            there.stay(member_id)
    assert there.member("a").state == "unrevoked"
    there.after(2)
    assert len(there.members()) == 3


def test_who_need_not_give_up_any_more_stays() -> None:
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.heartbeat("b", LEAVING)
    for _ in range(20):
        there.after(4_000)
        there.stay("a")
    assert there.counts() == {"a": 4}


def test_a_coordinator_that_takes_over_gives_time_to_give_up() -> None:
    there = told_to_give_up().failed_over()
    there.stay("a")
    for _ in range(2):
        there.after((REBALANCE_MS - 2) // 2)
        there.stay("a")
        there.stay("b")
    assert there.member("a").state == "unrevoked"
    there.after(2)
    assert [each.member_id for each in there.members(GROUP)] == ["b"]


# --- decisions that never came into the log ------------------------------------------------------


def undone(there: Coordinator, request: Heartbeat) -> None:
    """The machine decides, and the append is refused."""
    assert there.groups.heartbeat(request, there.now_ms).records


def test_a_removal_that_was_not_written_is_decided_again() -> None:
    there = two_members()
    there.after(SESSION_MS - 1)
    there.stay("a")
    there.now_ms += 1
    assert there.groups.tick(there.now_ms, 0).records
    assert there.groups.next_deadline_ms() == there.now_ms + 1_000
    there.after(1_000)
    assert there.counts() == {"a": 2}


def test_a_join_that_was_not_written_leaves_nothing() -> None:
    there = two_members()
    for group in (GROUP, "another"):
        undone(there, Heartbeat(group, "c", 0, topics=("orders",), session_timeout_ms=SESSION_MS))
    for _ in range(10):
        there.after(2_000)
        there.settle(1)
    assert there.counts() == {"a": 2, "b": 2}


def test_what_was_not_taken_away_need_not_be_given_up() -> None:
    there = Coordinator()
    there.join("a")
    undone(there, Heartbeat(GROUP, "b", 0, topics=("orders",)))
    for _ in range(20):
        there.after(4_000)
        there.stay("a")
    there.join("a")
    assert there.counts() == {"a": 4}


def test_giving_up_that_was_not_written_has_its_time_again() -> None:
    there = told_to_give_up()
    epoch = there.member("a").member_epoch
    undone(there, Heartbeat(GROUP, "a", epoch, owned=parts("orders", 0, 1)))
    for _ in range(REBALANCE_MS // 1_000 + 1):
        there.stay("b")
        if "a" in there.counts():
            there.stay("a")
        there.after(1_000)
    assert [each.member_id for each in there.members()] == ["b"]
