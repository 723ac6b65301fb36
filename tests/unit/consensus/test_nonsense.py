"""Whatever a peer sends: nothing raises, no promise is taken back, nothing committed is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from logd.consensus import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    Entry,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
    LogPoint,
    Message,
    Role,
    SnapshotMeta,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term
from tests.unit.consensus.rig import (
    TIMING,
    Disk,
    Node,
    directory,
    entry,
    message,
    seated,
    voters,
)

terms = st.integers(-1, 6).map(Term)
indexes = st.integers(-2, 9).map(LogIndex)
points = st.builds(LogPoint, terms, indexes)
voter_sets = st.sampled_from(
    [voters(1), voters(1, 2), voters(1, 2, 3), voters(2, 3), voters(3, 2), voters(1, 1), ()]
)
payloads = st.lists(st.sampled_from([b"", b"a", b"b"]), max_size=3).map(tuple)
entries = st.builds(Entry, indexes, terms, payloads, st.none() | voter_sets)


@st.composite
def followers(draw: st.DrawFn, previous: LogPoint) -> tuple[Entry, ...]:
    """Entries that follow a point as they should, most of the time."""
    found = []
    at = previous
    for _ in range(draw(st.integers(0, 3))):
        term = Term(draw(st.integers(0, 1)) + at.term)
        item = Entry(at.index, term, draw(payloads.filter(bool)), draw(st.none() | voter_sets))
        found.append(item)
        at = LogPoint(term, item.next_index)
    return tuple(found)


@st.composite
def append_requests(draw: st.DrawFn) -> AppendRequest:
    previous = draw(points)
    several = draw(followers(previous) | st.lists(entries, max_size=2).map(tuple))
    return AppendRequest(draw(terms), previous, several, draw(indexes))


flags = st.booleans()
rounds = st.integers(-1, 9)
bodies: st.SearchStrategy[Body] = st.one_of(
    append_requests(),
    st.builds(VoteRequest, terms, points, flags, flags),
    st.builds(VoteResponse, terms, flags, flags),
    st.builds(AppendResponse, terms, indexes),
    st.builds(AppendRejected, terms, indexes, points),
    st.builds(HeartbeatRequest, terms, indexes, rounds),
    st.builds(HeartbeatResponse, terms, rounds),
    st.builds(InstallSnapshot, terms, st.builds(SnapshotMeta, points, voter_sets)),
    st.builds(TimeoutNow, terms),
)
messages = st.builds(
    lambda sender, letter, to, body: Message(
        NodeId(sender), directory(sender, letter), NodeId(to), body
    ),
    st.integers(1, 4),
    st.sampled_from("aaab"),
    st.sampled_from([1, 1, 1, 1, 2]),
    bodies,
)


def member(role: Role) -> Node:
    """Node 1 of term 2 in a role."""
    node = Node(Disk.of(1, [*seated(voters(1, 2, 3)), entry(2, 2, b"a", b"b")], term=2))
    if role is Role.FOLLOWER:
        return node
    node.tick(TIMING.election_timeout_ms_min)
    if role is not Role.PRE_CANDIDATE:
        node.receive(2, VoteResponse(Term(3), True, True))
    if role is Role.LEADER:
        node.receive(2, VoteResponse(Term(3), True, False))
    assert node.role() is role
    return node


class Promises:
    """What may only grow, or not change within a term."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.term, self.vote, self.commit = -1, NO_NODE, 0
        self.committed: dict[LogIndex, Entry] = {}

    def check(self) -> None:
        core, state = self.node.core, self.node.disk.hard_state
        assert state is not None
        assert state.term == core.term >= self.term
        if core.term == self.term:
            assert self.vote in (NO_NODE, state.vote)
        assert self.commit <= core.commit_index <= core.end_index
        assert core.snapshot_point.index <= core.applied_index <= core.commit_index
        assert self.node.disk.end_index == core.end_index, "everything is saved"
        self.term, self.vote, self.commit = core.term, state.vote, core.commit_index
        for item in self.node.disk.entries:
            if item.next_index <= core.commit_index:
                assert self.committed.setdefault(item.index, item) == item


@settings(max_examples=300)
@given(
    role=st.sampled_from(list(Role)),
    several=st.lists(st.tuples(messages, st.integers(0, 700), st.booleans()), max_size=25),
)
def test_nothing_a_peer_sends_breaks_a_member(
    role: Role, several: list[tuple[Message, int, bool]]
) -> None:
    node = member(role)
    promises = Promises(node)
    node.settle()
    promises.check()
    for item, wait_ms, settles in several:
        node.now_ms += wait_ms
        node.core.step(item, node.now_ms)
        if wait_ms > 500:
            node.core.tick(node.now_ms)
        if settles:
            node.settle()
            promises.check()


def test_messages_to_others_and_from_oneself_are_dropped() -> None:
    node = member(Role.FOLLOWER)
    for sender, to in ((2, 3), (1, 1), (1, 2)):
        node.core.step(message(sender, to, HeartbeatRequest(Term(9), LogIndex(0), 1)), 0)
    assert (node.core.term, node.settle()) == (2, [])
