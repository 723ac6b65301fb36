"""What a leader knows of one peer, beside a twin that keeps every append that was sent."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logd.consensus import PeerState
from logd.consensus.progress import (
    IN_FLIGHT_BYTES_MAX,
    IN_FLIGHT_MESSAGES_MAX,
    MESSAGE_BYTES_MAX,
    PIPELINED_BYTES_MIN,
    Peer,
)
from logd.model.ids import LogIndex
from tests.unit.consensus.rig import directory, point


def peer_at(next_index: int) -> Peer:
    return Peer(LogIndex(next_index), directory_id=directory(2), is_voter=True, now_ms=0)


def replicating(match_index: int) -> Peer:
    peer = peer_at(match_index)
    peer.sent(LogIndex(match_index), 0, 0)
    peer.acknowledged(LogIndex(match_index))
    return peer


class PeerBesideTwin(RuleBasedStateMachine):
    """`flying` are the appends that may still be answered, in REPLICATE; the rest is lost."""

    @initialize(start=st.integers(0, 9))
    def begin(self, start: int) -> None:
        self.peer = peer_at(start)
        self.flying: list[tuple[int, int]] = []
        self.round = 0

    @precondition(lambda self: self.peer.may_send(PIPELINED_BYTES_MIN))
    @rule(more=st.integers(0, 3), size_bytes=st.integers(1, MESSAGE_BYTES_MAX))
    def send(self, more: int, size_bytes: int) -> None:
        end = LogIndex(self.peer.next_index + more)
        state = self.peer.state
        self.peer.sent(end, size_bytes if more else 0, self.round)
        if state is PeerState.PROBE:
            assert not self.peer.may_send(PIPELINED_BYTES_MIN), "one at a time"
        elif more:
            self.flying.append((end, size_bytes))
            assert self.peer.next_index == end

    @rule(more=st.integers(0, 9))
    def acknowledge(self, more: int) -> None:
        index = LogIndex(self.peer.match_index + more)
        state, expected = self.peer.state, self.peer.next_index
        assert self.peer.acknowledged(index) is (more > 0)
        assert self.peer.match_index == index
        if state is PeerState.REPLICATE:
            self.flying = [item for item in self.flying if item[0] > index]
        elif index >= expected:
            assert self.peer.state is PeerState.REPLICATE
            assert self.peer.next_index == index
            self.flying = []
        else:
            assert self.peer.state is state, "from before what is under way"

    @rule(index=st.integers(0, 40), down=st.integers(1, 9))
    def reject(self, index: int, down: int) -> None:
        rejected = LogIndex(index)
        if not self.peer.accepts_rejection(rejected) or self.peer.state is PeerState.SNAPSHOT:
            return
        self.peer.probe(LogIndex(max(0, index - down)))
        self.flying = []
        assert self.peer.state is PeerState.PROBE
        assert self.peer.may_send(PIPELINED_BYTES_MIN)
        assert self.peer.commit_told == 0

    @rule(index=st.integers(0, 40))
    def send_snapshot(self, index: int) -> None:
        if index >= self.peer.match_index:
            self.peer.sent_snapshot(point(1, index), self.round, self.round * 100)
            self.flying = []
            assert not self.peer.may_send(PIPELINED_BYTES_MIN)

    @precondition(lambda self: self.peer.state is PeerState.SNAPSHOT)
    @rule()
    def fail_snapshot(self) -> None:
        self.peer.snapshot_failed()
        assert self.peer.state is PeerState.PROBE
        assert not self.peer.may_send(PIPELINED_BYTES_MIN), "not before it has answered again"

    @rule(behind=st.integers(0, 2))
    def answer_heartbeat(self, behind: int) -> None:
        self.round += 1
        waiting = self.peer.state is PeerState.PROBE and not self.peer.may_send(PIPELINED_BYTES_MIN)
        asks = self.peer.answered_heartbeat(max(0, self.round - behind), self.round * 100)
        if behind == 0 and waiting:
            assert self.peer.may_send(PIPELINED_BYTES_MIN)
        if asks:
            assert self.flying or self.peer.state is PeerState.SNAPSHOT
        if behind == 0 and self.peer.state is PeerState.REPLICATE:
            assert asks is bool(self.flying)

    @invariant()
    def bounded(self) -> None:
        peer = self.peer
        assert 0 <= peer.match_index <= peer.next_index or peer.state is PeerState.PROBE
        if peer.state is PeerState.REPLICATE:
            assert all(peer.match_index < end <= peer.next_index for end, _ in self.flying)
            is_full = (
                len(self.flying) >= IN_FLIGHT_MESSAGES_MAX
                or sum(size for _, size in self.flying) >= IN_FLIGHT_BYTES_MAX
            )
            assert peer.may_send(PIPELINED_BYTES_MIN) is not is_full
            assert peer.may_send(PIPELINED_BYTES_MIN - 1) is not bool(self.flying)
        else:
            assert not self.flying
        assert (peer.snapshot is not None) is (peer.state is PeerState.SNAPSHOT)


TestPeerBesideTwin = PeerBesideTwin.TestCase
TestPeerBesideTwin.settings = settings(stateful_step_count=60)


def test_the_window_is_bounded() -> None:
    peer = replicating(0)
    count = 0
    while peer.may_send(PIPELINED_BYTES_MIN):
        count += 1
        peer.sent(LogIndex(count), 10, 0)
    assert count == IN_FLIGHT_MESSAGES_MAX


def test_small_entries_wait_for_the_append_in_flight_and_go_together() -> None:
    peer = replicating(0)
    assert peer.may_send(0)
    peer.sent(LogIndex(1), 10, 0)
    assert not peer.may_send(PIPELINED_BYTES_MIN - 1)
    peer.acknowledged(LogIndex(1))
    assert peer.may_send(0)


def test_large_entries_fill_it_sooner() -> None:
    peer = replicating(0)
    peer.sent(LogIndex(1), IN_FLIGHT_BYTES_MAX - 1, 0)
    assert peer.may_send(PIPELINED_BYTES_MIN)
    peer.acknowledged(LogIndex(1))
    peer.sent(LogIndex(2), IN_FLIGHT_BYTES_MAX, 0)
    assert not peer.may_send(PIPELINED_BYTES_MIN), "one that is larger than all together goes alone"


def test_a_stale_rejection_changes_nothing() -> None:
    peer = replicating(5)
    peer.sent(LogIndex(9), 1, 0)
    assert not peer.accepts_rejection(LogIndex(5)), "there the logs agree"
    assert peer.accepts_rejection(LogIndex(9))
    peer.probe(LogIndex(7))
    peer.sent(LogIndex(9), 1, 0)
    assert not peer.accepts_rejection(LogIndex(9)), "of before this probe"
    assert peer.accepts_rejection(LogIndex(7))


def test_a_heartbeat_that_was_sent_before_the_append_asks_for_nothing() -> None:
    peer = replicating(5)
    peer.sent(LogIndex(9), 1, 3)
    assert not peer.answered_heartbeat(3, 300)
    assert peer.answered_heartbeat(4, 400)
    assert (peer.heard_ms, peer.round_answered) == (400, 4)
    assert not peer.answered_heartbeat(2, 200)
    assert (peer.heard_ms, peer.round_answered) == (400, 4)
