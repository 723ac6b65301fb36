"""What is forgotten, and when. Wall-clock time decides, and never about a group with members."""

from __future__ import annotations

from logd.groups import LEAVING, GroupSettings
from tests.unit.groups.rig import GROUP, Coordinator, parts, topic_id, topics

(ZERO,) = parts("orders", 0)
(ONE,) = parts("orders", 1)
DAY_MS = 24 * 3_600_000
RETENTION_MS = 7 * DAY_MS
CHECK_MS = 600_000


def later(there: Coordinator, wall_ms: int) -> None:
    """So much wall-clock time passes, and the next look at it is due."""
    there.wall_ms += wall_ms - CHECK_MS
    there.after(CHECK_MS)


def test_offsets_of_nobody_are_kept_for_the_retention_time() -> None:
    there = Coordinator()
    there.commit("", -1, 7, ZERO)
    later(there, RETENTION_MS - 1)
    assert there.offsets() == {ZERO: 7}
    there.commit("", -1, 3, ONE)
    later(there, CHECK_MS)
    assert there.offsets() == {ONE: 3}


def test_a_group_with_members_keeps_everything() -> None:
    there = Coordinator(topics(orders=2, letters=1))
    there.commit("", -1, 7, ZERO, *parts("letters", 0))
    there.join("a", session_timeout_ms=3_600_000)
    for _ in range(3):
        later(there, 10 * DAY_MS)
        there.stay("a")
    assert len(there.offsets()) == 2


def test_the_time_counts_from_when_the_last_member_had_gone() -> None:
    there = Coordinator()
    there.join("a", session_timeout_ms=3_600_000)
    there.commit("a", there.member("a").member_epoch, 7, ZERO)
    there.after(CHECK_MS)
    there.wall_ms += 30 * DAY_MS
    there.heartbeat("a", LEAVING)
    assert there.groups.next_deadline_ms() == 0
    there.tick()
    assert there.groups.next_deadline_ms() != 0
    there = there.failed_over()
    later(there, RETENTION_MS - 1)
    assert there.offsets() == {ZERO: 7}
    later(there, CHECK_MS)
    assert there.offsets() == {}


def test_a_member_that_comes_back_stops_the_time() -> None:
    there = Coordinator()
    there.join("a", session_timeout_ms=3_600_000)
    there.commit("a", there.member("a").member_epoch, 7, ZERO)
    there.heartbeat("a", LEAVING)
    there.tick()
    later(there, RETENTION_MS - 1)
    there.join("a", session_timeout_ms=3_600_000)
    later(there, CHECK_MS)
    there.heartbeat("a", LEAVING)
    there.tick()
    later(there, RETENTION_MS - 1)
    assert there.offsets() == {ZERO: 7}


def test_a_commit_to_an_empty_group_stays_as_long_as_any_other() -> None:
    there = Coordinator()
    there.join("a")
    there.heartbeat("a", LEAVING)
    there.tick()
    later(there, 6 * DAY_MS)
    there.commit("", -1, 7, ZERO)
    later(there, 6 * DAY_MS)
    assert there.offsets() == {ZERO: 7}


def test_an_empty_group_is_forgotten_with_its_last_offset() -> None:
    there = Coordinator()
    there.join("a")
    there.commit("a", there.member("a").member_epoch, 7, ZERO)
    there.heartbeat("a", LEAVING)
    there.tick()
    later(there, RETENTION_MS + 1)
    assert [each.state for each in there.groups.listing()] == ["empty"]
    later(there, CHECK_MS)
    assert there.groups.listing() == ()
    assert there.failed_over().groups.listing() == ()


def test_it_is_looked_at_now_and_then_only() -> None:
    there = Coordinator()
    there.commit("", -1, 7, ZERO)
    there.wall_ms += 2 * RETENTION_MS
    assert there.groups.next_deadline_ms() == CHECK_MS
    there.after(CHECK_MS - 1)
    assert there.offsets() == {ZERO: 7}
    there.after(1)
    assert there.offsets() == {}
    assert there.groups.next_deadline_ms() == 2 * CHECK_MS


def test_not_everything_is_forgotten_at_once() -> None:
    there = Coordinator(topics(orders=5), settings=GroupSettings(forgotten_max=2))
    there.commit("", -1, 7, *parts("orders", 0, 1, 2, 3, 4))
    later(there, RETENTION_MS)
    for left in (3, 1, 0):
        assert len(there.offsets()) == left
        assert (there.groups.next_deadline_ms() == there.now_ms) is (left > 0)
        there.tick()


def test_offsets_of_a_deleted_topic_are_forgotten() -> None:
    there = Coordinator(topics(orders=2, letters=1))
    there.commit("", -1, 7, ZERO, *parts("letters", 0))
    there.change_topics(topics(orders=2))
    assert there.offsets() == {ZERO: 7}


def test_a_topic_that_is_made_again_is_another_one() -> None:
    there = Coordinator(topics(orders=2))
    there.join("a")
    there.commit("a", there.member("a").member_epoch, 7, ZERO)
    view = topics(orders=2)["orders"]
    another = type(view)(topic_id("orders", life=1), 2)
    there.change_topics({"orders": another})
    assert there.offsets() == {}
    told = there.stay("a")
    assert told.assignment == frozenset()
    reply = there.heartbeat("a", told.member_epoch, owned=frozenset())
    assert {each.topic_id for each in reply.assignment or ()} == {another.topic_id}


def test_what_was_deleted_between_two_coordinators_is_forgotten() -> None:
    there = Coordinator(topics(orders=2, letters=1))
    there.commit("", -1, 7, ZERO, *parts("letters", 0))
    there.topics = topics(orders=2)
    assert there.failed_over().offsets(GROUP) == {ZERO: 7}
