"""Balanced, and few moves: a table of groups, and any group against naive twins."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logd.groups import ASSIGNORS, RANGE, UNIFORM, Topics, TopicView
from logd.groups.assignors import Subscriber, Targets, preferred_assignor, range_, uniform
from logd.model.ids import TopicPartitionId
from tests.unit.groups.rig import parts, topic_id, topics

TEN = topics(orders=10)
SEVERAL = topics(orders=10, letters=3, clicks=4)


def all_of(known: Topics) -> set[TopicPartitionId]:
    return {
        TopicPartitionId(view.topic_id, number)
        for view in known.values()
        for number in range(view.partitions)
    }


def readers(count: int, *names: str) -> dict[str, Subscriber]:
    return {f"m{index:02}": Subscriber(frozenset(names)) for index in range(count)}


def held_of(targets: Targets) -> dict[TopicPartitionId, str]:
    return {each: member_id for member_id, held in targets.items() for each in held}


def moves(before: Targets, after: Targets) -> int:
    """How many partitions went from one member to another, of those that still are."""
    held = held_of(before)
    return sum(held.get(each, member_id) != member_id for each, member_id in held_of(after).items())


def check_whole(known: Topics, members: dict[str, Subscriber], targets: Targets) -> None:
    """Every partition that has readers goes to one of them, and to one only."""
    assert targets.keys() == members.keys()
    given_out = [each for held in targets.values() for each in held]
    assert len(given_out) == len(set(given_out))
    names = {view.topic_id: name for name, view in known.items()}
    for member_id, held in targets.items():
        assert {names[each.topic_id] for each in held} <= members[member_id].topics
    read = frozenset[str]().union(*(each.topics for each in members.values()))
    assert set(given_out) == {each for each in all_of(known) if names[each.topic_id] in read}


# --- uniform -------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [TEN, SEVERAL], ids=["one topic", "several"])
@pytest.mark.parametrize("count", range(1, 13))
def test_everybody_has_as_many_as_any_other(count: int, known: Topics) -> None:
    members = readers(count, *known)
    targets = uniform(members, known, {})
    check_whole(known, members, targets)
    loads = [len(held) for held in targets.values()]
    assert max(loads) - min(loads) <= 1
    assert loads.count(0) == max(0, count - len(all_of(known)))


@pytest.mark.parametrize("known", [TEN, SEVERAL], ids=["one topic", "several"])
@pytest.mark.parametrize(("before", "after"), [*product(range(1, 13), repeat=2)])
def test_as_few_as_possible_move(before: int, after: int, known: Topics) -> None:
    old = uniform(readers(before, *known), known, {})
    members = readers(after, *known)
    new = uniform(members, known, held_of(old))
    check_whole(known, members, new)
    kept = {member_id: held for member_id, held in old.items() if member_id in members}
    assert moves(kept, new) == fewest_moves([len(held) for held in kept.values()], known, after)


def fewest_moves(loads: list[int], known: Topics, count: int) -> int:
    """Whoever has most keeps the larger shares; what is over them has to go."""
    share, larger = divmod(len(all_of(known)), count)
    ordered = sorted(loads, reverse=True)
    return sum(max(0, load - share - (index < larger)) for index, load in enumerate(ordered))


def test_nothing_moves_when_nothing_changes() -> None:
    members = readers(7, *SEVERAL)
    targets = uniform(members, SEVERAL, {})
    assert uniform(members, SEVERAL, held_of(targets)) == targets


def test_new_partitions_move_none_of_the_old() -> None:
    members = readers(4, "orders")
    old = uniform(members, TEN, {})
    new = uniform(members, topics(orders=15), held_of(old))
    assert moves(old, new) == 0
    assert sorted(len(held) for held in new.values()) == [3, 4, 4, 4]


@pytest.mark.parametrize("name", ASSIGNORS)
def test_nobody_gets_nothing(name: str) -> None:
    assign = ASSIGNORS[name]
    assert assign({}, TEN, {}) == {}
    assert assign(readers(2, "gone"), TEN, {}) == {"m00": frozenset(), "m01": frozenset()}
    assert assign(readers(1, "none"), topics(none=0), {}) == {"m00": frozenset()}


def test_a_topic_goes_to_those_that_read_it() -> None:
    known = topics(orders=4, letters=2)
    members = {
        "a": Subscriber(frozenset({"orders"})),
        "b": Subscriber(frozenset({"orders", "letters"})),
        "c": Subscriber(frozenset({"letters"})),
    }
    targets = uniform(members, known, {})
    check_whole(known, members, targets)
    assert {len(held) for held in targets.values()} == {2}


def test_a_chain_of_readers_levels_what_no_single_move_does() -> None:
    """`a` cannot give to `c`; it gives to `b`, which gives another topic's to `c`."""
    known = topics(one=3, two=3)
    members = {
        "a": Subscriber(frozenset({"one"})),
        "b": Subscriber(frozenset({"one", "two"})),
        "c": Subscriber(frozenset({"two"})),
    }
    held = dict.fromkeys(parts("one", 0, 1, 2), "a")
    held |= dict.fromkeys(parts("two", 0, 1), "b")
    held |= dict.fromkeys(parts("two", 2), "c")
    targets = uniform(members, known, held)
    assert {member_id: len(each) for member_id, each in targets.items()} == {
        "a": 2,
        "b": 2,
        "c": 2,
    }


def test_a_member_in_the_rack_of_a_replica_is_preferred() -> None:
    racks = tuple(frozenset({f"r{number % 3}"}) for number in range(9))
    known = {"orders": TopicView(topic_id("orders"), 9, racks)}
    members = {f"m{rack}": Subscriber(frozenset({"orders"}), rack=f"r{rack}") for rack in "210"}
    targets = uniform(members, known, {})
    for rack in range(3):
        assert targets[f"m{rack}"] == parts("orders", rack, rack + 3, rack + 6)


def test_racks_neither_unbalance_nor_move() -> None:
    racks = (frozenset({"r1"}),) * 8
    known = {"orders": TopicView(topic_id("orders"), 8, racks)}
    members = {
        "a": Subscriber(frozenset({"orders"}), rack="r1"),
        "b": Subscriber(frozenset({"orders"}), rack="r2"),
    }
    targets = uniform(members, known, {})
    assert {len(held) for held in targets.values()} == {4}
    swapped = {each: "ab"[member_id == "a"] for each, member_id in held_of(targets).items()}
    assert held_of(uniform(members, known, swapped)) == swapped


names = st.sampled_from(["one", "two", "three", "four"])
groups = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(Subscriber, st.frozensets(names), rack=st.sampled_from(["", "r0", "r1"])),
)
clusters = st.dictionaries(names, st.integers(0, 5)).map(
    lambda sizes: {
        name: TopicView(
            topic_id(name), count, tuple(frozenset({f"r{each % 2}"}) for each in range(count))
        )
        for name, count in sizes.items()
    }
)


@given(before=groups, after=groups, known=clusters, grown=clusters)
@settings(max_examples=400, deadline=None)
def test_any_group_is_as_level_as_subscriptions_allow(
    before: dict[str, Subscriber], after: dict[str, Subscriber], known: Topics, grown: Topics
) -> None:
    old = uniform(before, known, {})
    check_whole(known, before, old)
    new = uniform(after, grown, held_of(old))
    check_whole(grown, after, new)
    assert not improvable(after, grown, new)
    assert uniform(after, grown, held_of(new)) == new
    assert uniform(dict(reversed(after.items())), grown, held_of(old)) == new


def improvable(members: dict[str, Subscriber], known: Topics, targets: Targets) -> bool:
    """Whether partitions could go hand to hand from a member to one with two fewer."""
    name_of = {view.topic_id: name for name, view in known.items()}
    gives = {
        (giver, taker)
        for giver, held in targets.items()
        for taker, member in members.items()
        if any(name_of[each.topic_id] in member.topics for each in held)
    }
    reach = gives
    for _ in members:
        reach = reach | {(a, d) for a, b in reach for c, d in gives if b == c}
    return any(len(targets[a]) - len(targets[b]) >= 2 for a, b in reach)


@given(
    before=st.integers(1, 9),
    after=st.sets(st.integers(0, 11), min_size=1),
    count=st.integers(1, 30),
    dice=st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_from_anywhere_as_few_as_possible_move(
    before: int, after: set[int], count: int, dice: Random
) -> None:
    """Also from a state that is not balanced: members that hold anything at all."""
    known = topics(orders=count)
    held = {each: f"m{dice.randrange(before):02}" for each in sorted(all_of(known))}
    members = {f"m{index:02}": Subscriber(frozenset({"orders"})) for index in after}
    new = uniform(members, known, held)
    kept = {
        member_id: frozenset(each for each, holder in held.items() if holder == member_id)
        for member_id in members
    }
    expected = fewest_moves([len(each) for each in kept.values()], known, len(members))
    assert moves(kept, new) == expected


# --- range ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 13))
def test_runs_of_neighbours(count: int) -> None:
    members = readers(count, *SEVERAL)
    targets = range_(members, SEVERAL, {})
    check_whole(SEVERAL, members, targets)
    for view in SEVERAL.values():
        runs = [
            sorted(each.partition for each in held if each.topic_id == view.topic_id)
            for _, held in sorted(targets.items())
        ]
        assert [number for run in runs for number in run] == list(range(view.partitions))
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_the_same_run_of_topics_of_the_same_size() -> None:
    known = topics(orders=7, letters=7)
    targets = range_(readers(3, *known), known, {})
    for held in targets.values():
        by_topic = [
            {each.partition for each in held if each.topic_id == view.topic_id}
            for view in known.values()
        ]
        assert by_topic[0] == by_topic[1]


def test_static_members_keep_their_run() -> None:
    members = {
        "z": Subscriber(frozenset({"orders"}), instance_id="i1"),
        "y": Subscriber(frozenset({"orders"}), instance_id="i2"),
    }
    assert range_(members, TEN, {})["z"] == parts("orders", 0, 1, 2, 3, 4)
    members["a"] = members.pop("z")
    assert range_(members, TEN, {})["a"] == parts("orders", 0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("wanted", "preferred"),
    [
        ((), UNIFORM),
        ((RANGE,), RANGE),
        ((RANGE, UNIFORM), UNIFORM),
        ((RANGE, UNIFORM, RANGE), RANGE),
    ],
)
def test_what_most_members_want(wanted: tuple[str, ...], preferred: str) -> None:
    assert preferred_assignor(wanted) == preferred
