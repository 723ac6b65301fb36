"""Sessions from both ends: the rules one by one, then both ends against each other."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidRequestError, StaleEpochError

from logd.metadata import (
    ClusterImage,
    FenceNode,
    Heartbeat,
    MetadataMachine,
    NodeSession,
    NodeSessions,
    RemoveNode,
    SessionTiming,
    UnfenceNode,
)
from logd.model.ids import LogIndex, NodeId
from tests.unit.metadata.samples import (
    fence,
    id_of,
    machine_with_nodes,
    registration,
    run,
    unfence,
)

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)
INC1, INC2 = id_of("inc-1"), id_of("inc-2")
TIMING = SessionTiming()
SESSION, HEARTBEAT = TIMING.session_ms, TIMING.heartbeat_ms
AT = LogIndex(10)


def sessions(machine: MetadataMachine, now_ms: int = 0) -> NodeSessions:
    return NodeSessions(TIMING, machine.image, AT, now_ms)


def test_timing_has_room_for_two_heartbeats() -> None:
    SessionTiming(heartbeat_ms=100, session_ms=200)
    for wrong in ((100, 199, 50), (0, 100, 0), (40, 100, 50), (100, 1000, 0)):
        with pytest.raises(InvalidRequestError, match="is too short"):
            SessionTiming(*wrong)


# --- the leader's end ----------------------------------------------------------------------------


def test_a_new_leader_gives_every_node_a_full_session() -> None:
    made = sessions(machine_with_nodes(1, 2, 3), now_ms=5_000)
    assert made.next_deadline_ms() == 5_000 + SESSION
    assert made.due(5_000 + SESSION - 1) == ()
    assert made.due(5_000 + SESSION) == tuple(FenceNode(NodeId(n), INC1) for n in (1, 2, 3))


def test_who_answers_is_not_due() -> None:
    made = sessions(machine_with_nodes(1, 2))
    assert made.heartbeat(N1, INC1, AT, 1_000) == Heartbeat(fenced=False)
    assert made.due(SESSION) == (FenceNode(N2, INC1),)
    assert made.due(1_000 + SESSION) == (FenceNode(N1, INC1), FenceNode(N2, INC1))


def test_fencing_is_due_again_until_it_is_so() -> None:
    machine = machine_with_nodes(1)
    made = sessions(machine)
    assert len(made.due(SESSION)) == 1
    assert made.due(SESSION) == ()
    assert made.next_deadline_ms() == SESSION + HEARTBEAT
    assert len(made.due(SESSION + HEARTBEAT)) == 1
    fence(machine, 1)
    made.follow(machine.image, LogIndex(11), SESSION + HEARTBEAT)
    assert made.next_deadline_ms() is None
    assert made.due(10**9) == ()


def test_a_heartbeat_before_that_lets_nobody_serve() -> None:
    machine = machine_with_nodes(1)
    made = sessions(machine)
    made.due(SESSION)
    # The fence may be committed at any moment; a node that was told otherwise would serve then.
    assert made.heartbeat(N1, INC1, AT, SESSION + 1) == Heartbeat(fenced=True)
    assert len(made.due(SESSION + HEARTBEAT)) == 1
    fence(machine, 1)
    made.follow(machine.image, LogIndex(11), SESSION + HEARTBEAT)
    again = made.heartbeat(N1, INC1, LogIndex(11), SESSION + HEARTBEAT + 1)
    assert again == Heartbeat(fenced=True, unfence=UnfenceNode(N1, INC1))
    unfence(machine, 1)
    made.follow(machine.image, LogIndex(12), SESSION + HEARTBEAT + 2)
    assert made.heartbeat(N1, INC1, AT, SESSION + HEARTBEAT + 3) == Heartbeat(fenced=False)


def test_a_node_is_let_in_once_it_has_followed_the_log() -> None:
    machine = machine_with_nodes(1)
    made = sessions(machine)
    run(machine, registration(2))
    made.follow(machine.image, LogIndex(20), 100)
    assert made.heartbeat(N2, INC1, LogIndex(19), 200) == Heartbeat(fenced=True)
    let_in = Heartbeat(fenced=True, unfence=UnfenceNode(N2, INC1))
    assert made.heartbeat(N2, INC1, LogIndex(20), 300) == let_in
    assert made.heartbeat(N2, INC1, LogIndex(20), 350) == let_in, "until it is so"
    made.follow(machine.image, LogIndex(30), 360)
    assert made.heartbeat(N2, INC1, LogIndex(20), 370) == let_in, "the mark does not move away"
    unfence(machine, 2)
    made.follow(machine.image, LogIndex(31), 400)
    assert made.heartbeat(N2, INC1, LogIndex(20), 450) == Heartbeat(fenced=False)


def test_a_node_that_was_fenced_is_let_in_once_it_knows_that_it_was() -> None:
    """Frozen for a while, it still believes that it leads: it must not serve before it has heard
    otherwise, though it is the same process that was let in before."""
    machine = machine_with_nodes(1, 2)
    made = sessions(machine)
    fence(machine, 1)
    made.follow(machine.image, LogIndex(25), SESSION)
    assert made.heartbeat(N1, INC1, AT, SESSION + 1) == Heartbeat(fenced=True)
    assert made.heartbeat(N1, INC1, LogIndex(24), SESSION + 2) == Heartbeat(fenced=True)
    again = made.heartbeat(N1, INC1, LogIndex(25), SESSION + 3)
    assert again == Heartbeat(fenced=True, unfence=UnfenceNode(N1, INC1))


def test_a_node_let_in_gets_a_full_session() -> None:
    machine = machine_with_nodes()
    run(machine, registration(1))
    made = sessions(machine)
    assert made.next_deadline_ms() is None
    unfence(machine, 1)
    made.follow(machine.image, AT, 700)
    assert made.next_deadline_ms() == 700 + SESSION


def test_another_commit_gives_nobody_more_time() -> None:
    machine = machine_with_nodes(1)
    made = sessions(machine)
    run(machine, registration(2))
    made.follow(machine.image, LogIndex(11), 1_000)
    assert made.next_deadline_ms() == SESSION


def test_a_process_of_before_is_refused() -> None:
    machine = machine_with_nodes(1)
    made = sessions(machine)
    run(machine, registration(1, incarnation="2"))
    made.follow(machine.image, LogIndex(12), 100)
    with pytest.raises(StaleEpochError) as stale:
        made.heartbeat(N1, INC1, LogIndex(99), 200)
    assert not stale.value.retriable
    assert made.heartbeat(N1, INC2, LogIndex(11), 200) == Heartbeat(fenced=True)
    assert made.heartbeat(N1, INC2, LogIndex(12), 200).unfence == UnfenceNode(N1, INC2)


def test_who_is_not_registered_is_refused() -> None:
    machine = machine_with_nodes(1, 2, 3)
    made = sessions(machine)
    with pytest.raises(InvalidRequestError, match="node 9 is not registered") as unknown:
        made.heartbeat(NodeId(9), INC1, AT, 0)
    assert unknown.value.retriable
    run(machine, RemoveNode(N3))
    run(machine, RemoveNode(N3))
    made.follow(machine.image, AT, 10)
    with pytest.raises(InvalidRequestError, match="node 3 is not registered"):
        made.heartbeat(N3, INC1, AT, 20)
    assert [command.node_id for command in made.due(SESSION)] == [1, 2]


def test_a_heartbeat_counts_from_when_it_arrived_and_shortens_nothing() -> None:
    made = sessions(machine_with_nodes(1))
    made.heartbeat(N1, INC1, AT, 400)
    made.heartbeat(N1, INC1, AT, 300)
    assert made.next_deadline_ms() == 400 + SESSION
    assert made.is_alive(N1)
    assert made.due(400 + SESSION) != ()
    assert not made.is_alive(N1)


def test_nobody_is_no_deadline() -> None:
    assert NodeSessions(TIMING, ClusterImage(), LogIndex(0), 0).next_deadline_ms() is None


# --- the node's end ------------------------------------------------------------------------------


def serves(session: NodeSession) -> bool:
    return not session.fenced


def answered(now_ms: int = 0) -> NodeSession:
    session = NodeSession(TIMING, now_ms)
    session.on_answer(session.begin_heartbeat(now_ms), False, now_ms)
    return session


def test_a_node_begins_fenced_and_asks_at_once() -> None:
    session = NodeSession(TIMING, 100)
    assert not serves(session)
    assert session.heartbeat_due(100)
    number = session.begin_heartbeat(100)
    assert not session.heartbeat_due(100)
    assert session.next_deadline_ms() == 100 + TIMING.fenced_heartbeat_ms
    session.on_answer(number, True, 110)
    assert not serves(session)
    session.on_answer(session.begin_heartbeat(150), False, 160)
    assert serves(session)
    assert session.next_deadline_ms() == 150 + HEARTBEAT


def test_a_node_fences_itself_when_nobody_answers() -> None:
    session = answered(0)
    for now_ms in range(HEARTBEAT, SESSION, HEARTBEAT):
        assert session.heartbeat_due(now_ms)
        session.begin_heartbeat(now_ms)
        session.tick(now_ms)
        assert serves(session)
    session.tick(SESSION - 1)
    assert serves(session)
    assert session.next_deadline_ms() == SESSION
    session.tick(SESSION)
    assert not serves(session)


def test_an_answer_counts_from_when_it_was_asked_for() -> None:
    session = answered(0)
    number = session.begin_heartbeat(HEARTBEAT)
    session.on_answer(number, False, SESSION - 1)
    session.tick(HEARTBEAT + SESSION - 1)
    assert serves(session)
    session.tick(HEARTBEAT + SESSION)
    assert not serves(session)


def test_an_answer_that_comes_too_late_does_not_help() -> None:
    session = NodeSession(TIMING, 0)
    number = session.begin_heartbeat(0)
    session.on_answer(number, False, SESSION)
    assert not serves(session)


def test_an_answer_that_was_overtaken_counts_for_nothing() -> None:
    session = answered(0)
    first, second = session.begin_heartbeat(100), session.begin_heartbeat(200)
    session.on_answer(second, True, 210)
    session.on_answer(first, False, 220)
    assert not serves(session)
    session.on_answer(second, False, 230)
    assert not serves(session), "one answer each"
    session.on_answer(99, False, 240)
    assert not serves(session), "nobody asked"


def test_who_is_told_that_it_is_fenced_is() -> None:
    session = answered(0)
    session.on_answer(session.begin_heartbeat(HEARTBEAT), True, HEARTBEAT + 5)
    assert not serves(session)
    assert session.next_deadline_ms() == HEARTBEAT + TIMING.fenced_heartbeat_ms


def test_a_node_forgets_what_it_waited_for_in_vain() -> None:
    session = NodeSession(TIMING, 0)
    numbers = [session.begin_heartbeat(now_ms) for now_ms in range(0, 100 * SESSION, HEARTBEAT)]
    assert len(session._sent_ms) <= SESSION // HEARTBEAT + 1
    session.on_answer(numbers[0], False, 100 * SESSION)
    assert not serves(session)


# --- both ends -----------------------------------------------------------------------------------


@dataclass(order=True)
class Arrival:
    at_ms: int
    serial: int
    what: tuple[str, int, bool] = field(compare=False)


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700), st.booleans()), min_size=60),
    st.integers(1_000, 8_000),
)
def test_a_node_stops_before_its_leader_fences_it(
    delays: list[tuple[int, int, bool]], cut_ms: int
) -> None:
    """Heartbeats and answers are late, overtake each other or get lost; then nothing arrives."""
    machine = machine_with_nodes(1)
    leader = sessions(machine)
    node = NodeSession(TIMING, 0)
    waiting: list[Arrival] = []
    weather = iter(delays * 4)
    for now_ms in range(0, cut_ms + 2 * SESSION):
        while waiting and waiting[0].at_ms <= now_ms:
            kind, number, fenced = heapq.heappop(waiting).what
            there, back, lost = next(weather)
            if kind == "heartbeat":
                answer = leader.heartbeat(N1, INC1, AT, now_ms)
                if not lost:
                    what = ("answer", number, answer.fenced)
                    heapq.heappush(waiting, Arrival(now_ms + back, number, what))
            else:
                node.on_answer(number, fenced, now_ms)
        if now_ms < cut_ms and node.heartbeat_due(now_ms):
            number = node.begin_heartbeat(now_ms)
            there, _, lost = next(weather)
            if not lost:
                what = ("heartbeat", number, False)
                heapq.heappush(waiting, Arrival(now_ms + there, number, what))
        node.tick(now_ms)
        if leader.due(now_ms):
            assert node.fenced, f"at {now_ms} the node still serves"
            return
    raise AssertionError("the leader fences nobody")
