"""Timing, heartbeat rounds, reads and the outbox: the small parts of the core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import ConfigError

from logd.consensus import (
    AppendRequest,
    AppendResponse,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    RaftTiming,
    ReadState,
    VoteResponse,
)
from logd.consensus.outbox import Outbox
from logd.consensus.reads import ReadQueue
from logd.consensus.rounds import HeartbeatRounds
from logd.model.ids import LogIndex, Term
from tests.unit.consensus.rig import message, point


def test_default_timing() -> None:
    timing = RaftTiming()
    assert (timing.heartbeat_ms, timing.election_timeout_ms_min) == (100, 600)
    assert timing.election_timeout_ms_max == 1200


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ((0, 600, 1200), "heartbeat_ms is 0"),
        ((100, 200, 1200), "has to exceed two heartbeats of 100 ms"),
        ((100, 600, 600), "has to exceed election_timeout_ms_min, 600"),
    ],
)
def test_timing_that_cannot_work(timing: tuple[int, int, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RaftTiming(*timing)


@given(
    gaps=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    resolution_ms=st.integers(1, 30),
    memory_ms=st.integers(30, 300),
)
def test_rounds_are_never_dated_later_than_they_began(
    gaps: list[int], resolution_ms: int, memory_ms: int
) -> None:
    rounds = HeartbeatRounds(resolution_ms=resolution_ms, memory_ms=memory_ms)
    now_ms, begun = 0, {}
    for gap in gaps:
        now_ms += gap
        begun[rounds.begin(now_ms)] = now_ms
    for number, began_ms in begun.items():
        told = rounds.begun_ms(number)
        if now_ms - began_ms <= memory_ms:
            assert told is not None, "young enough to be remembered"
        if told is not None:
            assert began_ms - resolution_ms < told <= began_ms
    assert rounds.begun_ms(len(gaps) + 1) is None
    assert rounds.begun_ms(0) is None


def test_a_read_goes_its_way() -> None:
    reads = ReadQueue()
    reads.ask(1)
    reads.begin(LogIndex(5), 1)
    reads.ask(2)
    reads.begin(LogIndex(7), 2)
    reads.confirm(1)
    assert not reads.has_results(LogIndex(4))
    assert reads.take(LogIndex(4)) == ()
    assert reads.has_results(LogIndex(5))
    reads.confirm(2)
    assert reads.take(LogIndex(6)) == (ReadState(1, LogIndex(5)),)
    assert reads.take(LogIndex(7)) == (ReadState(2, LogIndex(7)),)


def urgency(reads: ReadQueue) -> bool:
    return reads.is_urgent


def test_reads_that_can_wait_are_urgent_only_together_with_others() -> None:
    reads = ReadQueue()
    reads.ask(1, urgent=False)
    assert not urgency(reads)
    reads.ask(2)
    reads.ask(3, urgent=False)
    assert urgency(reads)
    reads.begin(LogIndex(5), 1)
    assert not urgency(reads)
    reads.confirm(1)
    assert [read.context for read in reads.take(LogIndex(5))] == [1, 2, 3]
    reads.ask(4)
    reads.lose_leadership()
    assert not urgency(reads)


def test_lost_leadership_fails_what_is_not_confirmed() -> None:
    reads = ReadQueue()
    reads.ask(1)
    reads.begin(LogIndex(5), 1)
    reads.confirm(1)
    reads.ask(2)
    reads.begin(LogIndex(5), 2)
    reads.ask(3)
    reads.lose_leadership()
    assert reads.has_results(LogIndex(0))
    assert reads.take_failed() == (2, 3)
    assert reads.take_failed() == ()
    reads.confirm(9)
    assert reads.take(LogIndex(9)) == (ReadState(1, LogIndex(5)),)


def bodies(outbox: Outbox) -> tuple[list[Body], list[Body]]:
    return (
        [item.body for item in outbox.take_now()],
        [item.body for item in outbox.take_saved()],
    )


def test_nothing_piles_up_while_a_save_takes_long() -> None:
    outbox = Outbox()
    for round_ in range(1, 4):
        for to in (2, 3):
            outbox.put(
                message(1, to, HeartbeatRequest(Term(1), LogIndex(0), round_)), after_save=False
            )
        outbox.put(message(1, 2, AppendResponse(Term(1), LogIndex(round_))), after_save=True)
    assert outbox
    now, saved = bodies(outbox)
    assert [body.round for body in now if isinstance(body, HeartbeatRequest)] == [3, 3]
    assert saved == [AppendResponse(Term(1), LogIndex(3))]
    assert not outbox


def test_of_acknowledgements_the_further_one_is_kept() -> None:
    outbox = Outbox()
    for match_index in (4, 9, 6):
        outbox.put(message(2, 1, AppendResponse(Term(3), LogIndex(match_index))), after_save=True)
    assert bodies(outbox) == ([], [AppendResponse(Term(3), LogIndex(9))])


def test_entries_and_votes_are_all_kept_in_order() -> None:
    outbox = Outbox()
    sent: list[Body] = [
        AppendRequest(Term(1), point(1, 1), (), LogIndex(0)),
        AppendRequest(Term(1), point(1, 2), (), LogIndex(0)),
        VoteResponse(Term(1), True, False),
        VoteResponse(Term(2), True, True),
    ]
    for body in sent:
        outbox.put(message(1, 2, body), after_save=True)
    assert bodies(outbox) == ([], sent)


def test_a_new_term_forgets_what_was_to_be_acknowledged() -> None:
    outbox = Outbox()
    outbox.put(message(2, 1, AppendResponse(Term(1), LogIndex(3))), after_save=True)
    outbox.put(message(2, 1, HeartbeatResponse(Term(1), 3)), after_save=True)
    outbox.forget_acknowledgements()
    assert bodies(outbox) == ([], [HeartbeatResponse(Term(1), 3)])
