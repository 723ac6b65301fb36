"""A coordinator that takes over finds what the one before knew, whatever compaction left."""

from __future__ import annotations

import pytest

from logd.groups import (
    LEAVING,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupRecord,
    InconsistentLogError,
    MemberKept,
    MemberState,
    key_of,
)
from tests.unit.groups.rig import GROUP, Coordinator, image, parts, topics


def busy() -> Coordinator:
    """Members came, went, moved and committed."""
    there = Coordinator(topics(orders=6, letters=3))
    for member_id in "abcd":
        there.join(member_id, "orders", "letters", rack="r", client_id="app", client_host="h")
    there.settle()
    there.heartbeat("b", LEAVING)
    there.join("e", "letters", instance_id="e", assignor="range")
    there.stay("a")
    for member in there.members():
        if member.assigned:
            there.commit(member.member_id, member.member_epoch, 5, *member.assigned)
    there.join("f", group="another")
    there.heartbeat("f", LEAVING, group="another")
    there.tick()
    return there


def test_nothing_is_lost_in_a_failover() -> None:
    there = busy()
    assert image(there.failed_over()) == image(there)


def test_members_are_described_as_before() -> None:
    there = busy()
    before, after = there.members(), there.failed_over().members()
    known = [(each.client_id, each.client_host, each.rack, each.instance_id) for each in before]
    assert known == [
        (each.client_id, each.client_host, each.rack, each.instance_id) for each in after
    ]


def compacted(log: list[GroupRecord], upto: int) -> list[GroupRecord]:
    """The first `upto` records with the newest of each key alone, tombstones not kept."""
    newest = {key_of(record): index for index, record in enumerate(log[:upto])}
    kept = [
        record
        for index, record in enumerate(log[:upto])
        if newest[key_of(record)] == index and not isinstance(record, Forgotten)
    ]
    return kept + log[upto:]


def test_compaction_takes_nothing_that_counts() -> None:
    there = busy()
    for upto in range(len(there.log) + 1):
        assert image(there.failed_over(compacted(there.log, upto))) == image(there)


def test_a_decision_that_was_cut_is_completed() -> None:
    """Wherever the log ends, a coordinator makes a whole group of it, and members go on."""
    log = busy().log
    for end in range(len(log) + 1):
        there = Coordinator(topics(orders=6, letters=3), log=log[:end])
        for group in there.groups.listing():
            assert group.state != "assigning"
        there.now_ms += 60_000
        there.tick()
        there.tick()
        assert {each.members for each in there.groups.listing()} <= {0}
        there.join("z")
        assert there.counts() == {"z": 6}


def test_two_owners_in_a_log_are_not_taken() -> None:
    there = Coordinator()
    there.join("a")
    stolen = CurrentMember(GROUP, "b", 9, 0, MemberState.STABLE, parts("orders", 1), frozenset())
    with pytest.raises(InconsistentLogError, match="'b' while 'a' holds it"):
        there.groups.replay(stolen)


def test_what_is_being_given_up_has_an_owner() -> None:
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.stay("a")
    assert set(there.groups.assigned(GROUP)) == parts("orders", 0, 1, 2, 3)


def test_every_record_has_a_key_of_its_own() -> None:
    log = busy().log
    keys = [key_of(record) for record in log]
    assert len(set(keys)) > 20
    members = {key for key, record in zip(keys, log, strict=True) if isinstance(record, MemberKept)}
    assert len(members) == 6
    tombstones = [record for record in log if isinstance(record, Forgotten)]
    assert all(key_of(each) == each.key for each in tombstones)


def test_no_epoch_is_given_again_wherever_a_log_is_cut() -> None:
    """The member that leaves has the highest epoch of all, and compaction takes its records."""
    there = Coordinator()
    there.join("a")
    there.join("b")
    there.settle()
    there.heartbeat("b", LEAVING)
    log = there.log
    for end in range(1, len(log) + 1):
        given = [each.epoch for each in log[:end] if isinstance(each, CurrentMember | GroupEpoch)]
        after = Coordinator(log=compacted(log[:end], end))
        assert after.join("z").member_epoch > max(given, default=0)
