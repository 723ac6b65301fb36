"""The machine of one member: what it says, what it holds, and until when."""

from __future__ import annotations

import math

import pytest
from logd_client._core.group_member import (
    JOIN,
    LEAVE,
    LEAVE_FOR_A_WHILE,
    Answer,
    Beat,
    Change,
    GiveUp,
    GroupMember,
    Held,
    Lost,
    Phase,
    Subscription,
    TakeUp,
)
from logd_client.values import TopicPartition
from logd_wire.errors import ErrorCode, NetworkError, error_for

from logd.testing.rng import SimRng

SESSION_MS = 6_000.0
INTERVAL_MS = 2_000.0
SUBSCRIPTION = Subscription(("t",))


def held(number: int, topic_id: bytes = b"1") -> Held:
    return Held(topic_id, TopicPartition("t", number))


P0, P1, P2 = held(0), held(1), held(2)


def answer(epoch: int, *assigned: Held, unchanged: bool = False, interval: float = -1) -> Answer:
    assignment = None if unchanged else frozenset(assigned)
    return Answer(epoch, INTERVAL_MS if interval < 0 else interval, SESSION_MS, assignment)


def beat_of(member: GroupMember, now_ms: float) -> Beat:
    beat = member.next_beat(now_ms)
    assert beat is not None
    return beat


def joined(*assigned: Held, static: bool = False) -> GroupMember:
    """A member that has said everything there is to say, at time 10, and waits for news."""
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS, static=static)
    member.subscribe(SUBSCRIPTION, 0)
    changes = member.on_answer(beat_of(member, 0), answer(1, *assigned), 5)
    assert changes == ([TakeUp(assigned)] if assigned else [])
    assert member.on_answer(beat_of(member, 5), answer(1, unchanged=True), 10) == []
    return member


def test_it_says_everything_at_the_join_and_under_each_new_epoch() -> None:
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS)
    assert member.next_beat(0) is None
    member.subscribe(SUBSCRIPTION, 0)
    first = beat_of(member, 0)
    assert first == Beat(0, JOIN, True, SUBSCRIPTION, frozenset())
    assert member.next_beat(1) is None, "one at a time"
    assert member.on_answer(first, answer(7, P0, P1), 5) == [TakeUp((P0, P1))]
    second = beat_of(member, 5)
    assert second == Beat(5, 7, True, SUBSCRIPTION, frozenset({P0, P1}))
    member.on_answer(second, answer(7, unchanged=True), 10)
    third = beat_of(member, 10)
    assert third == Beat(10, 7, wait_ms=INTERVAL_MS), "nothing to say: let it wait for news"
    assert member.on_answer(third, answer(8, P0, P1), 15) == []
    assert beat_of(member, 15).full


def test_it_gives_up_before_it_says_so_and_takes_up_at_once() -> None:
    member = joined(P0, P1)
    changes = member.on_answer(beat_of(member, 10), answer(2, P1, P2), 20)
    assert changes == [GiveUp((P0,)), TakeUp((P2,))]
    assert beat_of(member, 20).owned == frozenset({P0, P1, P2})
    assert not member.settled
    assert member.given_up([P0], 500) == []
    assert member.next_beat(500) is None
    member.on_answer(Beat(20, 2, True, SUBSCRIPTION, frozenset({P0, P1, P2})), answer(2), 510)
    # That answer was to another heartbeat than the one in flight, and counts for nothing.
    assert member.held == {P1: None, P2: None}


def test_it_does_not_wait_for_a_kept_answer_when_something_was_given_up() -> None:
    member = joined(P0, P1)
    changes = member.on_answer(beat_of(member, 10), answer(2, P1), 20)
    assert changes == [GiveUp((P0,))]
    member.on_answer(beat_of(member, 20), answer(2, unchanged=True), 25)
    kept = beat_of(member, 25)
    assert kept.wait_ms == INTERVAL_MS
    assert member.next_deadline_ms() == 20 + SESSION_MS
    member.given_up([P0], 900)
    assert member.next_deadline_ms() == 900
    said = beat_of(member, 900)
    assert (said.owned, said.wait_ms) == (frozenset({P1}), 0.0)
    assert member.on_answer(kept, answer(3, P0, P1), 905) == [], "it is about what was before"
    assert member.on_answer(said, answer(2, unchanged=True), 910) == []
    assert member.settled


def test_what_comes_back_while_it_is_given_up_is_taken_up_after_that() -> None:
    member = joined(P0)
    member.on_answer(beat_of(member, 10), answer(2), 20)
    member.on_answer(beat_of(member, 20), answer(3, P0), 30)
    assert member.given_up([P0], 40) == [TakeUp((P0,))]


def test_a_topic_made_again_waits_for_its_predecessor() -> None:
    member = joined(P0)
    again = held(0, b"2")
    assert member.on_answer(beat_of(member, 10), answer(2, again), 20) == [GiveUp((P0,))]
    assert member.given_up([P0], 30) == [TakeUp((again,))]


def test_the_session_counts_from_the_heartbeat_that_was_sent() -> None:
    member = joined(P0)
    assert member.deadline_ms == 5 + SESSION_MS
    kept = beat_of(member, 10)
    member.on_answer(kept, answer(1, unchanged=True, interval=0), 2_000)
    assert member.deadline_ms == 10 + SESSION_MS
    assert member.next_deadline_ms() == 2_000, "0: at once"
    lost = beat_of(member, 2_000)
    assert member.on_failure(lost, NetworkError("gone"), 3_000) == []
    assert member.tick(10 + SESSION_MS - 1) == []
    (change,) = member.tick(10 + SESSION_MS)
    assert isinstance(change, Lost) and change.partitions == (P0,)
    assert (member.phase, member.deadline_ms, member.held) == (Phase.JOINING, -math.inf, {})
    assert beat_of(member, 10 + SESSION_MS).epoch == JOIN


def test_giving_up_has_the_rebalance_timeout_from_the_heartbeat_that_says_it() -> None:
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS, rebalance_ms=1_000)
    member.subscribe(SUBSCRIPTION, 0)
    member.on_answer(beat_of(member, 0), answer(1, P0, P1), 5)
    member.on_answer(beat_of(member, 5), answer(2, P1), 20)
    assert member.deadline_ms == 5 + SESSION_MS
    member.on_answer(beat_of(member, 30), answer(2, unchanged=True), 40)
    assert member.deadline_ms == 1_030
    assert member.given_up([P0], 1_000) == []
    member.on_answer(beat_of(member, 1_000), answer(3), 1_010)
    assert member.deadline_ms == 1_000 + SESSION_MS
    beat_of(member, 1_010)
    assert member.tick(2_009) == []
    (change,) = member.tick(2_010)
    assert isinstance(change, Lost) and change.partitions == (P1,)
    assert "rebalance_timeout_ms" in change.why
    assert beat_of(member, 2_010).epoch == JOIN


def test_what_was_given_up_counts_when_the_coordinator_has_answered_that() -> None:
    """One that does not hear of it takes the rest as well, when the rebalance timeout is over."""
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS, rebalance_ms=1_000)
    member.subscribe(SUBSCRIPTION, 0)
    member.on_answer(beat_of(member, 0), answer(1, P0, P1), 5)
    member.on_answer(beat_of(member, 5), answer(2, P1), 20)
    before = beat_of(member, 30)
    member.given_up([P0], 35)
    member.on_answer(before, answer(2, unchanged=True), 40)
    assert member.deadline_ms == 1_030, "that heartbeat said that it has both"
    member.on_failure(beat_of(member, 40), NetworkError("no answer", retriable=True), 900)
    assert member.tick(1_029) == []
    (change,) = member.tick(1_030)
    assert isinstance(change, Lost) and change.partitions == (P1,)
    assert "did not hear that the application is done" in change.why


def test_what_comes_back_is_owed_no_more() -> None:
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS, rebalance_ms=1_000)
    member.subscribe(SUBSCRIPTION, 0)
    member.on_answer(beat_of(member, 0), answer(1, P0, P1), 5)
    member.on_answer(beat_of(member, 5), answer(2, P1), 20)
    member.on_answer(beat_of(member, 30), answer(3, P0, P1), 40)
    assert member.given_up([P0], 45) == [TakeUp((P0,))]
    member.on_answer(beat_of(member, 50), answer(3, unchanged=True), 60)
    assert member.deadline_ms == 50 + SESSION_MS


def test_an_answer_that_comes_a_session_late_is_none() -> None:
    member = joined(P0)
    beat = beat_of(member, 10)
    (change,) = member.on_answer(beat, answer(2, P0, P1), 10 + SESSION_MS)
    assert isinstance(change, Lost) and change.partitions == (P0,)
    assert member.phase is Phase.JOINING


def test_after_a_failure_everything_is_said_again() -> None:
    member = joined(P0)
    member.on_failure(beat_of(member, 10), NetworkError("gone"), 20)
    again = beat_of(member, 1_000)
    assert (again.epoch, again.full, again.owned) == (1, True, frozenset({P0}))


@pytest.mark.parametrize("code", [ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER])
def test_who_is_fenced_loses_everything_and_joins_again(code: ErrorCode) -> None:
    member = joined(P0, P1)
    changes = member.on_failure(beat_of(member, 10), error_for(code, "fenced"), 20)
    assert changes == [Lost((P0, P1), "fenced")]
    assert beat_of(member, 1_000) == Beat(1_000, JOIN, True, SUBSCRIPTION, frozenset())


@pytest.mark.parametrize(
    "code",
    [ErrorCode.INVALID_PATTERN, ErrorCode.GROUP_FULL, ErrorCode.FENCED_INSTANCE_ID],
)
def test_some_refusals_are_final(code: ErrorCode) -> None:
    member = joined(P0)
    changes = member.on_failure(beat_of(member, 10), error_for(code, "no"), 20)
    assert changes == [Lost((P0,), "no")]
    assert member.phase is Phase.FAILED
    assert member.failure is not None and member.failure.code is code
    assert member.next_beat(10_000) is None
    assert member.next_deadline_ms() == math.inf


def test_a_static_member_waits_for_the_session_of_its_predecessor() -> None:
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS, static=True)
    member.subscribe(SUBSCRIPTION, 0)
    unreleased = error_for(ErrorCode.UNRELEASED_INSTANCE_ID, "another one lives")
    now_ms = 0.0
    while member.phase is Phase.JOINING:
        beat = member.next_beat(now_ms)
        if beat is not None:
            assert member.on_failure(beat, unreleased, now_ms) in (
                [],
                [Lost((), unreleased.message)],
            )
        now_ms += 500
    assert now_ms >= SESSION_MS
    assert member.failure is unreleased


@pytest.mark.parametrize(("static", "epoch"), [(False, LEAVE), (True, LEAVE_FOR_A_WHILE)])
def test_it_leaves_when_it_may_speak_again(static: bool, epoch: int) -> None:
    member = joined(P0, static=static)
    kept = beat_of(member, 10)
    member.leave(20)
    goodbye = beat_of(member, 20)
    assert goodbye == Beat(20, epoch)
    member.on_answer(kept, answer(1, unchanged=True), 21)
    assert member.phase is Phase.LEAVING
    member.on_failure(goodbye, NetworkError("gone"), 25)
    goodbye = beat_of(member, 1_025)
    member.on_answer(goodbye, answer(epoch, unchanged=True), 1_030)
    assert (member.phase, member.held, member.next_beat(9_000)) == (Phase.OUT, {}, None)


def test_a_join_that_is_under_way_is_left_after_its_answer() -> None:
    member = GroupMember("m", SimRng(1), session_ms=SESSION_MS)
    member.subscribe(SUBSCRIPTION, 0)
    join = beat_of(member, 0)
    member.leave(1)
    assert member.next_beat(1) is None
    changes: list[Change] = member.on_answer(join, answer(1, P0), 5)
    assert (changes, member.held) == ([], {})
    assert beat_of(member, 5).epoch == LEAVE


def test_another_subscription_is_said_at_once() -> None:
    member = joined(P0)
    beat_of(member, 10)
    other = Subscription(("t",), "u.*")
    member.subscribe(other, 100)
    said = beat_of(member, 100)
    assert (said.subscription, said.full, said.wait_ms) == (other, False, 0)
