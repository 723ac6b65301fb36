"""Patterns, and topics that come, grow and go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire.errors import (
    ErrorCode,
    InvalidGroupError,
    InvalidRequestError,
    InvalidTopicNameError,
)

from logd.groups import MemberKept
from tests.unit.groups.rig import GROUP, Coordinator, parts, topics


def test_a_pattern_is_the_whole_name() -> None:
    there = Coordinator(topics(orders=1, orders_old=1, letters=1))
    reply = there.heartbeat("a", pattern="orders|lett")
    assert reply.assignment == parts("orders", 0)


def test_a_pattern_and_names_add_up() -> None:
    there = Coordinator(topics(orders=1, orders_old=1, letters=1))
    reply = there.heartbeat("a", pattern="orders.*", topics=("letters",))
    assert len(reply.assignment or ()) == 3


def test_a_pattern_finds_no_internal_topic_and_a_name_does() -> None:
    there = Coordinator(topics(__consumer_offsets=1, orders=1))
    assert there.heartbeat("a", pattern=".*").assignment == parts("orders", 0)
    reply = there.heartbeat("b", topics=("__consumer_offsets",))
    assert reply.assignment == parts("__consumer_offsets", 0)


def test_a_pattern_finds_topics_that_come_later() -> None:
    there = Coordinator(topics(orders=1))
    there.heartbeat("a", pattern="orders.*")
    epoch = there.groups.listing()[0].group_epoch
    there.change_topics(topics(orders=1, letters=1))
    assert there.groups.listing()[0].group_epoch == epoch
    there.change_topics(topics(orders=1, letters=1, orders_new=1))
    assert there.groups.waiting(GROUP) == ("a",)
    assert there.stay("a").assignment == parts("orders", 0) | parts("orders_new", 0)


def test_a_pattern_is_given_up_by_an_empty_one() -> None:
    there = Coordinator(topics(orders=1, letters=1))
    there.heartbeat("a", pattern=".*", topics=("orders",))
    there.stay("a", pattern="")
    assert there.member("a").target == parts("orders", 0)


def test_new_partitions_are_read() -> None:
    there = Coordinator(topics(orders=2))
    there.join("a")
    there.join("b")
    there.settle()
    held = there.holds()
    there.change_topics(topics(orders=4))
    there.settle()
    assert there.counts() == {"a": 2, "b": 2}
    assert all(held[each] <= there.holds()[each] for each in held)


def test_a_topic_that_went_is_given_up() -> None:
    there = Coordinator(topics(orders=1, letters=1))
    there.join("a", "orders", "letters")
    there.change_topics(topics(orders=1))
    assert there.stay("a").assignment == parts("orders", 0)
    there.settle()
    assert there.state() == "stable"


def test_a_pattern_loses_a_topic_that_went() -> None:
    there = Coordinator(topics(orders=1, letters=1))
    there.heartbeat("a", pattern=".*")
    there.change_topics(topics(orders=1))
    assert there.stay("a").assignment == parts("orders", 0)


def test_what_changed_while_nobody_coordinated_is_seen() -> None:
    there = Coordinator(topics(orders=2))
    there.join("a")
    there.topics = topics(orders=3)
    there = there.failed_over()
    assert there.stay("a").assignment == parts("orders", 0, 1, 2)


def test_the_same_topics_again_change_nothing() -> None:
    there = Coordinator(topics(orders=2))
    there.join("a")
    records = len(there.log)
    there.change_topics(topics(orders=2))
    assert len(there.failed_over().log) == records


def test_a_pattern_that_is_none_any_more_finds_nothing() -> None:
    """The log was written with another engine: the group goes on without it."""
    there = Coordinator(topics(orders=1))
    there.heartbeat("a", pattern="orders")
    log = [
        replace(each, pattern="(") if isinstance(each, MemberKept) else each for each in there.log
    ]
    there = there.failed_over(log)
    assert there.member("a").target == frozenset()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["(", "a" * 1_001])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    there = Coordinator()
    with pytest.raises(InvalidGroupError) as refused:
        there.heartbeat("a", pattern=pattern)
    assert refused.value.code == ErrorCode.INVALID_PATTERN
    there.join("a")
    with pytest.raises(InvalidGroupError):
        there.stay("a", pattern=pattern)


def test_an_unknown_assignor_is_refused() -> None:
    with pytest.raises(InvalidGroupError, match="uniform, range") as refused:
        Coordinator().join("a", assignor="sticky")
    assert refused.value.code == ErrorCode.UNSUPPORTED_ASSIGNOR


@pytest.mark.parametrize(
    "said",
    [
        {"topics": ()},
        {"topics": None},
        {"topics": ("a",) * 1_001},
        {"owned": parts("orders", 0)},
        {"session_timeout_ms": 999},
        {"session_timeout_ms": 3_600_001},
        {"rebalance_timeout_ms": 999},
        {"rebalance_timeout_ms": 3_600_001},
        {"instance_id": ""},
        {"instance_id": "x" * 250},
        {"epoch": -3},
    ],
)
def test_what_no_member_says_is_refused(said: dict[str, object]) -> None:
    there = Coordinator()
    heartbeat = {"topics": ("orders",), **said}
    with pytest.raises(InvalidRequestError):
        there.heartbeat("a", **heartbeat)  # type: ignore[arg-type]
    assert there.groups.listing() == ()


@pytest.mark.parametrize("member_id", ["", "x" * 250])
def test_a_member_has_a_name(member_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        Coordinator().join(member_id)


@pytest.mark.parametrize("group", ["", "  ", "x" * 250])
def test_a_group_has_a_name(group: str) -> None:
    with pytest.raises(InvalidGroupError) as refused:
        Coordinator().join("a", group=group)
    assert refused.value.code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("name", ["", "a/b", "x" * 250, "__"])
def test_what_cannot_be_a_topic_is_refused(name: str) -> None:
    with pytest.raises(InvalidTopicNameError):
        Coordinator().join("a", name)


def test_a_member_reads_something() -> None:
    there = Coordinator()
    there.join("a")
    with pytest.raises(InvalidRequestError):
        there.stay("a", topics=())


def test_targets_that_were_not_written_are_made_again() -> None:
    there = Coordinator(topics(orders=2, letters=1))
    there.join("a")
    there.commit("", -1, 5, *parts("letters", 0), group="another")
    assert there.groups.topics_changed(topics(orders=3), 0).records
    there.change_topics(topics(orders=3))
    assert there.stay("a").assignment == parts("orders", 0, 1, 2)
    assert there.offsets("another") == {}
    assert there.groups.topics_changed(topics(orders=3), 0).records == ()
