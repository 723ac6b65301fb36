from __future__ import annotations

import pytest
from logd_wire.errors import GroupNotFoundError

from logd.groups import LEAVING, LEAVING_STATIC, GroupListing
from tests.unit.groups.rig import GROUP, Coordinator, parts


def test_groups_by_id() -> None:
    there = Coordinator()
    there.commit("", -1, 3, *parts("orders", 0), group="b")
    there.join("m", group="c")
    there.join("m", group="a")
    there.heartbeat("m", LEAVING, group="a")
    assert there.groups.listing() == (
        GroupListing("a", "empty", 0, 2),
        GroupListing("b", "empty", 0, 0),
        GroupListing("c", "stable", 1, 1),
    )


def test_a_group_on_its_way() -> None:
    there = Coordinator()
    there.join("a")
    there.join("b", client_id="app", client_host="10.0.0.1", rack="r1", instance_id="i")
    there.after(250)
    there.stay("a")
    group = there.groups.describe(GROUP, there.now_ms)
    assert (group.state, group.assignor) == ("reconciling", "uniform")
    assert (group.group_epoch, group.assignment_epoch) == (2, 2)
    first, second = group.members
    assert (first.state, first.member_epoch, first.silent_ms) == ("unrevoked", 3, 0)
    assert first.target == first.assigned == parts("orders", 0, 1)
    assert first.revoking == second.target == parts("orders", 2, 3)
    assert (second.client_id, second.client_host, second.rack) == ("app", "10.0.0.1", "r1")
    assert (second.state, second.instance_id, second.silent_ms) == ("unreleased", "i", 250)
    assert first.instance_id is None


def test_a_group_whose_static_member_is_away_is_stable() -> None:
    there = Coordinator()
    there.join("a", instance_id="i")
    there.heartbeat("a", LEAVING_STATIC)
    assert there.state() == "stable"
    assert there.member("a").member_epoch == LEAVING_STATIC


def test_a_group_of_offsets_alone() -> None:
    there = Coordinator()
    there.commit("", -1, 3, *parts("orders", 0))
    group = there.groups.describe(GROUP, 0)
    assert (group.state, group.group_epoch, group.members) == ("empty", 0, ())


def test_there_is_no_such_group() -> None:
    with pytest.raises(GroupNotFoundError, match="'another'"):
        Coordinator().groups.describe("another", 0)


def test_who_holds_what_is_a_copy() -> None:
    there = Coordinator()
    there.join("a")
    before = there.groups.assigned(GROUP)
    there.heartbeat("a", LEAVING)
    assert len(before) == 4
    assert there.groups.assigned(GROUP) == {}
    assert there.groups.assigned("another") == {}
    assert there.groups.waiting("another") == ()
