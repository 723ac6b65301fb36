from __future__ import annotations

import pytest
from logd_wire.errors import (
    ErrorCode,
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidGroupError,
    InvalidRequestError,
    LogdError,
    RebalanceError,
)

from logd.groups import LEAVING, FetchOffsets, OffsetCommitted
from logd.model.ids import TopicPartitionId
from tests.unit.groups.rig import GROUP, Coordinator, parts, topic_id, topics

(ZERO,) = parts("orders", 0)
(ONE,) = parts("orders", 1)
(THREE,) = parts("orders", 3)


def two_members() -> Coordinator:
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.settle()
    return there


def epoch_of(there: Coordinator, member_id: str) -> int:
    return there.member(member_id).member_epoch


def codes(outcomes: tuple[LogdError | None, ...]) -> list[ErrorCode | None]:
    return [None if each is None else each.code for each in outcomes]


def test_what_was_committed_is_there() -> None:
    there = two_members()
    assert there.commit("a", epoch_of(there, "a"), 7, ZERO, ONE, metadata="x") == (None, None)
    assert there.offsets() == {ZERO: 7, ONE: 7}
    stored = there.groups.fetch_offsets(FetchOffsets(GROUP, partitions=(ONE, THREE)))
    assert stored == (
        OffsetCommitted(
            GROUP, ONE.topic_id, 1, 7, -1, "x", there.wall_ms, "orders", epoch_of(there, "a"), 0
        ),
    )


def test_offsets_are_there_after_a_failover() -> None:
    there = two_members()
    there.commit("a", epoch_of(there, "a"), 7, ZERO)
    assert there.failed_over().offsets() == {ZERO: 7}


def test_offsets_may_go_back_when_a_member_wants() -> None:
    there = two_members()
    epoch = epoch_of(there, "a")
    there.commit("a", epoch, 7, ZERO)
    there.commit("a", epoch, 3, ZERO)
    assert there.offsets() == {ZERO: 3}


# --- stale commits -------------------------------------------------------------------------------


def test_a_commit_counts_in_the_newest_epoch_alone() -> None:
    there = Coordinator()
    epoch = there.join("a").member_epoch
    there.join("b")
    told = there.stay("a").member_epoch
    for said, code in (
        (epoch, ErrorCode.STALE_MEMBER_EPOCH),
        (told + 1, ErrorCode.FENCED_MEMBER_EPOCH),
    ):
        with pytest.raises(RebalanceError) as refused:
            there.commit("a", said, 7, ZERO)
        assert refused.value.code == code
        with pytest.raises(RebalanceError):
            there.groups.fetch_offsets(FetchOffsets(GROUP, "a", said))
    assert there.offsets() == {}
    there.commit("a", told, 7, ZERO)
    assert there.offsets() == {ZERO: 7}


def test_what_is_being_given_up_is_committed_until_it_was() -> None:
    there = Coordinator()
    there.join("a")
    there.join("b")
    told = there.stay("a").member_epoch
    assert there.commit("a", told, 7, THREE) == (None,)
    there.stay("a", owned=parts("orders", 0, 1))
    with pytest.raises(RebalanceError) as refused:
        there.commit("a", told, 8, THREE)
    assert refused.value.code == ErrorCode.STALE_MEMBER_EPOCH
    assert there.offsets() == {THREE: 7}


def test_nobody_commits_what_another_one_has() -> None:
    there = two_members()
    outcomes = there.commit("a", epoch_of(there, "a"), 9, ZERO, THREE)
    assert codes(outcomes) == [None, ErrorCode.STALE_MEMBER_EPOCH]
    assert there.offsets() == {ZERO: 9}


def test_who_is_not_in_the_group_commits_nothing() -> None:
    there = two_members()
    epoch = epoch_of(there, "b")
    there.heartbeat("b", LEAVING)
    for member_id, group in (("b", GROUP), ("a", "another")):
        with pytest.raises(RebalanceError) as refused:
            there.commit(member_id, epoch, 7, ZERO, group=group)
        assert refused.value.code == ErrorCode.UNKNOWN_MEMBER


def test_a_late_commit_takes_nothing_back() -> None:
    there = two_members()
    epoch = epoch_of(there, "a")
    there.commit("a", epoch, 7, ZERO, sequence=2)
    for sequence in (1, 2):
        assert there.commit("a", epoch, 5, ZERO, sequence=sequence) == (None,)
    assert there.failed_over().offsets() == {ZERO: 7}
    there.commit("a", epoch, 5, ZERO, sequence=3)
    assert there.offsets() == {ZERO: 5}


def test_a_late_commit_stores_what_nobody_committed_since() -> None:
    there = two_members()
    epoch = epoch_of(there, "a")
    there.commit("a", epoch, 7, ZERO, sequence=2)
    there.commit("a", epoch, 5, ZERO, ONE, sequence=1)
    assert there.offsets() == {ZERO: 7, ONE: 5}


def test_another_member_counts_its_own_commits() -> None:
    there = two_members()
    there.commit("a", epoch_of(there, "a"), 7, ZERO, sequence=50)
    there.heartbeat("a", LEAVING)
    there.stay("b")
    there.commit("b", epoch_of(there, "b"), 8, ZERO, sequence=1)
    assert there.offsets() == {ZERO: 8}


# --- commits of nobody ---------------------------------------------------------------------------


def test_anybody_commits_while_there_are_no_members() -> None:
    there = Coordinator()
    for offset in (7, 4):
        there.commit("", -1, offset, ZERO, sequence=1)
        assert there.offsets() == {ZERO: offset}
    there.join("a")
    with pytest.raises(GroupNotEmptyError):
        there.commit("", -1, 9, ZERO)
    there.heartbeat("a", LEAVING)
    there.commit("", -1, 9, ZERO)
    assert there.offsets() == {ZERO: 9}


def test_nobody_has_no_epoch() -> None:
    with pytest.raises(InvalidRequestError):
        Coordinator().commit("", 3, 7, ZERO)


# --- what cannot be committed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partition", "offset", "metadata", "code"),
    [
        (TopicPartitionId(topic_id("gone"), 0), 1, "", ErrorCode.UNKNOWN_TOPIC),
        (TopicPartitionId(topic_id("orders"), 4), 1, "", ErrorCode.UNKNOWN_PARTITION),
        (TopicPartitionId(topic_id("orders"), -1), 1, "", ErrorCode.UNKNOWN_PARTITION),
        (ZERO, -1, "", ErrorCode.OFFSET_OUT_OF_RANGE),
        (ZERO, 11, "", ErrorCode.OFFSET_OUT_OF_RANGE),
        (ZERO, 10, "ä" * 2_049, ErrorCode.OFFSET_METADATA_TOO_LARGE),
        (ZERO, 10, "ä" * 2_048, None),
        (ZERO, 0, "", None),
        (ONE, 10**12, "", None),
    ],
)
def test_each_offset_is_judged(
    partition: TopicPartitionId, offset: int, metadata: str, code: ErrorCode | None
) -> None:
    there = Coordinator()
    outcomes = there.commit("", -1, offset, partition, metadata=metadata, ends={ZERO: 10})
    assert codes(outcomes) == [code]
    assert len(there.offsets()) == (code is None)


def test_refusals_name_the_topic_and_what_is_there() -> None:
    there = Coordinator()
    (beyond,) = there.commit("", -1, 11, ZERO, ends={ZERO: 10})
    assert "offset 11 of orders[0]" in str(beyond) and "end of the log, 10" in str(beyond)
    (unknown,) = there.commit("", -1, 1, TopicPartitionId(topic_id("orders"), 4))
    assert "no partition orders[4]" in str(unknown) and "has 4, from 0 on" in str(unknown)


def test_a_group_has_a_name() -> None:
    for group in ("", " ", "x" * 250):
        with pytest.raises(InvalidGroupError):
            Coordinator().commit("", -1, 1, ZERO, group=group)


def test_a_commit_names_a_partition_once() -> None:
    with pytest.raises(InvalidRequestError):
        Coordinator().commit("", -1, 1, ZERO, ZERO)


def test_a_commit_is_not_endless() -> None:
    there = Coordinator(topics(orders=10_001))
    with pytest.raises(InvalidRequestError):
        there.commit("", -1, 1, *parts("orders", *range(10_001)))


# --- forgetting ----------------------------------------------------------------------------------


def test_offsets_are_deleted_where_nobody_reads() -> None:
    there = Coordinator(topics(orders=2, letters=2))
    (letter,) = parts("letters", 1)
    there.commit("", -1, 5, ZERO, letter)
    there.join("a", "orders")
    there.take(there.groups.delete_offsets(GROUP, [letter, letter, *parts("letters", 0)]))
    assert there.offsets() == {ZERO: 5}
    with pytest.raises(GroupNotEmptyError):
        there.take(there.groups.delete_offsets(GROUP, [ZERO]))
    with pytest.raises(GroupNotFoundError):
        there.groups.delete_offsets("another", [ZERO])


def test_a_group_is_deleted_when_it_is_empty() -> None:
    there = two_members()
    there.commit("a", epoch_of(there, "a"), 7, ZERO)
    with pytest.raises(GroupNotEmptyError):
        there.groups.delete_group(GROUP)
    there.heartbeat("a", LEAVING)
    there.heartbeat("b", LEAVING)
    there.take(there.groups.delete_group(GROUP))
    assert there.groups.listing() == ()
    assert there.failed_over().groups.listing() == ()
    with pytest.raises(GroupNotFoundError):
        there.groups.delete_group(GROUP)
    assert there.groups.next_deadline_ms() != 0


def test_a_group_of_offsets_alone_is_deleted() -> None:
    there = Coordinator()
    there.commit("", -1, 7, ZERO)
    there.take(there.groups.delete_group(GROUP))
    assert there.groups.listing() == ()
