"""What is measured is complete and can be started."""

from __future__ import annotations

import importlib.util

import pytest

from bench.__main__ import chosen
from bench.goals import GOALS
from bench.grid import FULL, LANES, QUICK, SHIPPED, SYNCED, UNSYNCED
from bench.servers.peers import SYSTEMS


def test_every_lane_has_a_system_and_a_driver() -> None:
    for lane in LANES.values():
        assert lane.system in SYSTEMS
        assert importlib.util.find_spec(f"bench.drivers.{lane.driver}") is not None


@pytest.mark.parametrize("groups", [QUICK, FULL], ids=["quick", "full"])
def test_groups_are_told_apart_and_know_their_lanes(groups: tuple[object, ...]) -> None:
    every = QUICK if groups is QUICK else FULL
    assert len({group.name for group in every}) == len(every)
    for at, group in enumerate(every):
        assert set(group.lanes) <= set(LANES)
        if group.rate < 0:
            assert group.rate_of in {before.name for before in every[:at]}


def test_every_goal_is_measured_by_the_quick_run() -> None:
    groups = {group.name: group for group in QUICK}
    for goal in GOALS:
        lanes = groups[goal.group].lanes
        assert goal.lane in lanes
        assert not goal.other or goal.other in lanes


def test_both_comparisons_are_always_there() -> None:
    assert {group.comparison for group in QUICK} == {UNSYNCED, SYNCED, SHIPPED}
    for group in FULL:
        assert group.tuned == (group.comparison != SHIPPED)
        expected = {UNSYNCED: "none", SYNCED: "sync", SHIPPED: "default"}[group.comparison]
        assert group.durability == expected


def test_the_full_run_has_every_setting() -> None:
    assert {group.size for group in FULL} >= {10, 100, 1024, 16 * 1024, 1024 * 1024}
    assert {group.partitions for group in FULL} >= {1, 10, 100, 1_000}
    assert {group.workers for group in FULL} >= {1, 2, 4, 8}
    assert {group.nodes for group in FULL} == {1, 3}
    assert {group.acks for group in FULL} == {"0", "1", "all"}
    assert {group.compression for group in FULL} >= {"none", "zstd"}
    assert any(group.key_bytes for group in FULL)


def test_groups_lanes_and_rounds_can_be_chosen() -> None:
    found = chosen(QUICK, ["unsynced", "synced"], ["logd-bulk"], 2)
    assert [(group.name, group.lanes, group.rounds) for group in found] == [
        ("unsynced", ("logd-bulk",), 2),
        ("synced", ("logd-bulk",), 2),
    ]
    assert chosen(QUICK, ["end-to-end"], ["nats"], None) == []
