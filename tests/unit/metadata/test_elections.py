"""Who leads and who is in sync: the rules one by one, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.metadata import AlterTopic, BalanceLeaders, PartitionChanges, PartitionImage
from logd.metadata.elections import Situation, preferred, settled, with_isr, without
from logd.metadata.records import PartitionChanged, TopicConfigured
from logd.model.ids import NO_NODE, LeaderEpoch, NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    machine_with_nodes,
    registration,
    run,
    unfence,
)


def nodes(*node_ids: int) -> tuple[NodeId, ...]:
    return tuple(map(NodeId, node_ids))


def situation(*in_service: int, min_isr: int = 2) -> Situation:
    return Situation(frozenset(nodes(*in_service)), min_isr)


def partition(
    leader: int, isr: tuple[int, ...], eligible: tuple[int, ...] = (), last_known: int = -1
) -> PartitionImage:
    return PartitionImage(
        0,
        NodeId(leader),
        LeaderEpoch(5),
        nodes(1, 2, 3),
        nodes(*isr),
        7,
        nodes(*eligible),
        NodeId(last_known),
    )


OFFLINE = partition(-1, (), (1, 2), last_known=2)


@pytest.mark.parametrize(
    ("before", "in_service", "expected"),
    [
        # A follower goes: out of the in-sync set, that is large enough.
        (partition(1, (1, 2, 3)), (1, 2), partition(1, (1, 2), (), -1)),
        # The leader goes: the next in-sync replica leads.
        (partition(1, (1, 2, 3)), (2, 3), partition(2, (2, 3), (), -1)),
        # The in-sync set gets too small: who leaves stays eligible.
        (partition(1, (1, 2)), (2, 3), partition(2, (2,), (1,), -1)),
        (partition(1, (1, 2, 3)), (3,), partition(3, (3,), (1, 2), -1)),
        # The last one goes: nobody leads, and it is remembered who did.
        (partition(2, (2,), (1,)), (3,), partition(-1, (), (1, 2), 2)),
        (partition(1, (1, 2, 3)), (), partition(-1, (), (1, 2, 3), 1)),
        # Who is back decides: the last known leader, another eligible one, nobody else.
        (OFFLINE, (1, 2, 3), partition(2, (2,), (1,), 2)),
        (OFFLINE, (1, 3), partition(1, (1,), (2,), 2)),
        (OFFLINE, (3,), partition(-1, (), (1, 2), 2)),
        # An eligible leader is not preferred over one in sync.
        (partition(2, (2, 3), (1,)), (1, 3), partition(3, (3,), (1, 2), -1)),
    ],
)
def test_the_rules(
    before: PartitionImage, in_service: tuple[int, ...], expected: PartitionImage
) -> None:
    after = settled(before, situation(*in_service))
    led_on = before.leader_id == expected.leader_id
    assert after == replace(expected, leader_epoch=LeaderEpoch(5 if led_on else 6))


def test_a_set_that_is_large_enough_forgets() -> None:
    after = settled(OFFLINE, situation(1, min_isr=1))
    assert (after.isr, after.eligible, after.last_known_leader) == ((1,), (), NO_NODE)
    grown = with_isr(partition(1, (1,), (2, 3), 1), nodes(1, 3), NodeId(1), situation(1, 2, 3))
    assert (grown.eligible, grown.last_known_leader) == ((), NO_NODE)
    assert grown.leader_epoch == 5, "the leader is the same"


def test_the_preferred_leader_comes_back_when_it_is_in_sync() -> None:
    assert preferred(partition(2, (1, 2)), situation(1, 2)).leader_id == 1
    assert preferred(partition(2, (1, 2)), situation(1, 2)).leader_epoch == 6
    for state, alive in (
        (partition(2, (2, 3)), (1, 2, 3)),
        (partition(2, (1, 2)), (2,)),
        (partition(1, (1, 2)), (1, 2)),
        (OFFLINE, (1, 2)),
    ):
        assert preferred(state, situation(*alive)) is state


def test_a_lost_disk_holds_nothing() -> None:
    change = without(NodeId(1))
    struck = change(partition(2, (2,), (1, 3)), situation(2))
    assert (struck.leader_id, struck.isr, struck.eligible) == (2, (2,), (3,))
    struck = change(partition(-1, (), (1,), last_known=1), situation(2))
    assert (struck.leader_id, struck.isr, struck.eligible) == (2, (2,), (3,))
    assert struck.last_known_leader == NO_NODE
    alone = replace(partition(1, (1,)), replicas=nodes(1))
    struck = change(alone, situation(2))
    assert (struck.leader_id, struck.isr, struck.eligible) == (NO_NODE, (), (1,))
    elsewhere = replace(partition(2, (2, 3)), replicas=nodes(2, 3))
    assert change(elsewhere, situation(2, 3)) is elsewhere


def a_state(kinds: tuple[str, ...], leader: int, last_known: int) -> PartitionImage:
    """Return a sound state: each replica in sync, eligible or neither, and somebody is."""
    isr = tuple(n for n, kind in enumerate(kinds, 1) if kind == "i")
    eligible = tuple(n for n, kind in enumerate(kinds, 1) if kind == "e") or (() if isr else (1,))
    leader_id = isr[leader % len(isr)] if isr else -1
    return partition(leader_id, isr, eligible, last_known if last_known else -1)


states = st.builds(
    a_state,
    st.tuples(*[st.sampled_from("ie-")] * 3),
    st.integers(0, 2),
    st.integers(-1, 3),
)
situations = st.builds(
    Situation, st.frozensets(st.integers(1, 3).map(NodeId)), min_isr=st.integers(1, 3)
)


@given(states, situations)
def test_nobody_leads_who_may_lack_something(before: PartitionImage, where: Situation) -> None:
    after = settled(before, where)
    holders = {*before.isr, *before.eligible}
    assert {*after.isr, *after.eligible} <= holders
    assert {*after.isr, *after.eligible}, "somebody holds everything"
    assert not {*after.isr} & {*after.eligible}
    assert {*after.isr} <= where.in_service
    if after.leader_id == NO_NODE:
        assert after.isr == ()
        assert not holders & where.in_service, "who can lead, leads"
    else:
        assert after.leader_id in after.isr
    if len(after.isr) >= where.min_isr:
        assert after == before or (after.eligible, after.last_known_leader) == ((), NO_NODE)
    else:
        assert {*after.isr, *after.eligible} == holders, "nobody who has everything is forgotten"
    assert after.leader_epoch - before.leader_epoch == (after.leader_id != before.leader_id)
    assert settled(after, where) == after, "there is nothing more to do"


@given(states, situations, st.integers(1, 3).map(NodeId))
def test_a_lost_disk_is_never_counted_on_where_another_one_is(
    before: PartitionImage, where: Situation, lost: NodeId
) -> None:
    where = replace(where, in_service=where.in_service - {lost})
    after = without(lost)(before, where)
    assert lost not in {*after.isr, *after.eligible, after.leader_id, after.last_known_leader}
    assert {*after.isr, *after.eligible}


# --- through the machine -------------------------------------------------------------------------


def test_leaders_are_balanced_on_request() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=6, config={"min.insync.replicas": "1"})
    fence(machine, 1)
    unfence(machine, 1)
    assert run(machine, BalanceLeaders()) == PartitionChanges(0, more=False)
    for state in machine.image.topic_named("t").partitions:
        whole = replace(state, isr=state.replicas, partition_epoch=state.partition_epoch + 1)
        machine.replay(PartitionChanged(machine.image.topic_named("t").topic_id, whole))
    assert run(machine, BalanceLeaders()) == PartitionChanges(2, more=False)
    states = machine.image.topic_named("t").partitions
    assert [state.leader_id for state in states] == [state.replicas[0] for state in states]
    assert run(machine, BalanceLeaders()) == PartitionChanges(0, more=False)


def test_another_least_number_forgets_who_was_eligible() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=2)
    fence(machine, 3, 2)
    assert [s.eligible for s in machine.image.topic_named("t").partitions] == [(2,), (2,)]
    plain = machine.handle(AlterTopic("t", {"retention.ms": "1d"}), NOW_MS)
    assert len(plain.records) == 1
    same = machine.handle(AlterTopic("t", {"min.insync.replicas": "2"}), NOW_MS)
    assert len(same.records) == 1, "it was two by default"
    outcome = machine.handle(AlterTopic("t", {"min.insync.replicas": "1"}), NOW_MS)
    assert [type(record) for record in outcome.records] == [
        TopicConfigured,
        PartitionChanged,
        PartitionChanged,
    ]
    assert [state.eligible for state in outcome.reply.partitions] == [(), ()]
    assert [state.partition_epoch for state in outcome.reply.partitions] == [3, 3]


def test_without_a_leader_the_eligible_stay_whatever_the_least_number() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t")
    fence(machine, 3, 2, 1)
    run(machine, AlterTopic("t", {"min.insync.replicas": "1"}))
    (state,) = machine.image.topic_named("t").partitions
    assert (state.isr, state.eligible) == ((), (1, 2))


def test_configuration_of_another_time_does_not_keep_a_node_from_being_fenced() -> None:
    machine = machine_with_nodes(1, 2, 3)
    topic = create(machine, "t", partitions=1)
    machine.replay(TopicConfigured(topic.topic_id, (("old.setting", "x"),)))
    run(machine, registration(1, incarnation="2"))
    assert machine.image.topic_named("t").partitions[0].leader_id == 2
