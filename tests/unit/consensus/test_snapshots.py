"""Compaction and snapshots: Raft 7."""

from __future__ import annotations

import pytest

from logd.consensus import (
    LOG_START,
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Entry,
    HeartbeatResponse,
    InstallSnapshot,
    LogPoint,
    Message,
    PeerState,
    Role,
    SnapshotMeta,
)
from logd.model.ids import LogIndex, NodeId, Term
from tests.unit.consensus.rig import (
    TIMING,
    Cluster,
    Disk,
    Node,
    entry,
    identity,
    message,
    point,
    seated,
    voters,
)

THREE = voters(1, 2, 3)
LOG = seated(THREE)


def led(*node_ids: int) -> tuple[Cluster, Node]:
    cluster = Cluster(*(node_ids or (1, 2, 3)))
    return cluster, cluster.elect(1)


def compact(node: Node) -> SnapshotMeta:
    """As a driver does: the snapshot is durable, then the core hears of it."""
    snapshot = node.core.applied_snapshot
    node.disk.snapshot = snapshot
    node.disk.entries = [item for item in node.disk.entries if item.index >= snapshot.point.index]
    node.core.compact(snapshot)
    return snapshot


def snapshot_of(term: int, index: int) -> SnapshotMeta:
    return SnapshotMeta(point(term, index), THREE)


def install(term: int, snapshot: SnapshotMeta) -> InstallSnapshot:
    return InstallSnapshot(Term(term), snapshot)


def follower(*more: Entry, term: int = 5) -> Node:
    return Node(Disk.of(1, [*LOG, *more], term=term))


# --- compaction ---------------------------------------------------------------------------------


def test_what_is_applied_can_be_forgotten() -> None:
    cluster, first = led()
    first.core.propose([b"a", b"b"])
    cluster.deliver()
    assert first.core.applied_snapshot == SnapshotMeta(point(2, 5), THREE)
    compact(first)
    assert (first.core.snapshot_point, first.core.end_index) == (point(2, 5), 5)
    first.core.propose([b"c"])
    cluster.deliver()
    assert {node.core.applied_index for node in cluster.nodes.values()} == {6}
    first.start()
    assert (first.core.snapshot_point, first.core.end_index) == (point(2, 5), 6)
    assert (first.core.applied_index, first.core.voters) == (5, THREE)


def test_an_older_snapshot_changes_nothing() -> None:
    cluster, first = led()
    old = first.core.applied_snapshot
    first.core.propose([b"a"])
    cluster.deliver()
    newer = compact(first)
    first.core.compact(old)
    assert first.core.snapshot_point == newer.point


@pytest.mark.parametrize(
    "snapshot",
    [
        SnapshotMeta(point(2, 99), THREE),
        SnapshotMeta(point(1, 3), THREE),
        SnapshotMeta(point(2, 3), voters(1)),
        SnapshotMeta(point(2, 4), THREE),
    ],
    ids=["beyond the end", "another term", "other voters", "within an entry"],
)
def test_a_snapshot_that_is_no_point_of_the_log(snapshot: SnapshotMeta) -> None:
    cluster, first = led()
    first.core.propose([b"a", b"b"])
    cluster.deliver()
    with pytest.raises(ValueError, match=r"raft log|applied point"):
        first.core.compact(snapshot)
    assert first.core.snapshot_point == LOG_START


def test_what_is_not_applied_cannot_be_forgotten() -> None:
    cluster, first = led()
    cluster.isolate(1)
    first.core.propose([b"a"])
    first.settle()
    with pytest.raises(ValueError, match="no applied point"):
        first.core.compact(SnapshotMeta(point(2, 4), THREE))


# --- sending ------------------------------------------------------------------------------------


def behind() -> tuple[Cluster, Node]:
    """Node 3 lacks what nodes 1 and 2 have forgotten."""
    cluster, first = led()
    cluster.isolate(3)
    for number in range(5):
        first.core.propose([b"%d" % number])
        cluster.deliver()
    for node_id in (1, 2):
        compact(cluster[node_id])
    cluster.heal()
    first.now_ms = cluster.now_ms
    return cluster, first


def is_snapshot(item: Message) -> bool:
    return isinstance(item.body, InstallSnapshot)


def test_a_peer_that_is_too_far_behind_gets_the_snapshot() -> None:
    cluster, first = behind()
    cluster.run(3 * TIMING.heartbeat_ms)
    third = cluster[3]
    assert third.disk.snapshot == SnapshotMeta(point(2, 8), THREE)
    assert (third.core.applied_index, third.core.end_index) == (8, 8)
    assert third.core.voters == THREE
    first.core.propose([b"more"])
    cluster.run(TIMING.heartbeat_ms)
    assert third.payloads() == [b"more"]
    assert first.core.progress()[1].state is PeerState.REPLICATE
    assert third.core.has_caught_up


def test_a_snapshot_is_sent_once_and_asked_for_after_heartbeats() -> None:
    _, first = behind()
    sent: list[Message] = []
    for round_ in range(1, 6):
        sent += first.tick(TIMING.heartbeat_ms)
        first.core.step(message(3, 1, HeartbeatResponse(Term(2), round_)), first.now_ms)
        rejected = AppendRejected(Term(2), LogIndex(8), point(2, 3))
        first.core.step(message(3, 1, rejected), first.now_ms)
        sent += first.settle()
    assert sum(map(is_snapshot, sent)) == 1
    (on_its_way,) = (peer for peer in first.core.progress() if peer.node_id == 3)
    assert (on_its_way.state, on_its_way.next_index) == (PeerState.SNAPSHOT, 8)
    questions = [item.body for item in sent if isinstance(item.body, AppendRequest)]
    assert questions[-1] == AppendRequest(Term(2), point(2, 8), (), LogIndex(8))
    # It has installed it, and the answer to that was lost.
    first.receive(3, AppendResponse(Term(2), LogIndex(8)))
    assert first.core.progress()[1].state is PeerState.REPLICATE


def test_a_snapshot_that_could_not_be_delivered_is_sent_again_after_an_answer() -> None:
    cluster, first = behind()
    while not any(map(is_snapshot, cluster.mail)):
        cluster.now_ms += 10
        first.now_ms = cluster.now_ms
        first.core.tick(cluster.now_ms)
        cluster.post(first.settle())
        cluster.step(lambda item: not is_snapshot(item))
    cluster.mail.clear()
    first.core.snapshot_failed(NodeId(3))
    assert first.settle() == []
    assert first.core.progress()[1].state is PeerState.PROBE
    first.core.snapshot_failed(NodeId(3))
    first.core.snapshot_failed(NodeId(77))
    cluster.run(3 * TIMING.heartbeat_ms)
    assert cluster.core(3).applied_index == 8


def test_a_snapshot_that_was_delivered_and_lost_is_sent_again_in_the_end() -> None:
    """The peer crashed before it saved it: nobody tells the leader but the peer itself."""
    _, first = behind()
    sent_at: list[int] = []
    for round_ in range(1, 60):
        first.tick(TIMING.heartbeat_ms)
        for peer in (2, 3):
            first.core.step(message(peer, 1, HeartbeatResponse(Term(2), round_)), first.now_ms)
        for index in (8, 3):
            rejected = AppendRejected(Term(2), LogIndex(index), point(2, 3))
            first.core.step(message(3, 1, rejected), first.now_ms)
        sent_at += [first.now_ms for item in first.settle() if is_snapshot(item)]
    assert len(sent_at) == 2
    patience_ms = 3 * TIMING.election_timeout_ms_max
    assert patience_ms < sent_at[1] - sent_at[0] <= patience_ms + 2 * TIMING.heartbeat_ms


def test_an_older_snapshot_that_arrives_after_all_is_built_on() -> None:
    cluster, first = behind()
    compacted = first.core.snapshot_point
    first.core.propose([b"more"])
    cluster.deliver(lambda item: item.to == 2 or item.sender == 2)
    cluster.mail.clear()
    first.core.step(message(3, 1, AppendRejected(Term(2), LogIndex(9), point(2, 3))), 0)
    sent = [item for item in first.settle() if item.to == 3]
    assert [item.body for item in sent if is_snapshot(item)] == [
        install(2, SnapshotMeta(compacted, THREE))
    ]
    compact(first)
    assert first.core.snapshot_point.index == compacted.index + 1
    first.core.snapshot_failed(NodeId(3))
    sent.clear()
    for round_ in range(1, 4):
        sent += first.tick(TIMING.heartbeat_ms)
        first.core.step(message(3, 1, HeartbeatResponse(Term(2), round_)), first.now_ms)
    assert sum(map(is_snapshot, sent)) == 1
    # Below the log that is left: the newer snapshot is needed. At a point of it: go on from there.
    first.receive(3, AppendResponse(Term(2), compacted.index))
    assert first.core.progress()[1].state is PeerState.SNAPSHOT
    first.receive(3, AppendResponse(Term(2), LogIndex(compacted.index + 1)))
    assert first.core.progress()[1].state is PeerState.REPLICATE


def test_a_peer_whose_pipeline_is_full_and_forgotten_gets_the_snapshot() -> None:
    """Everything in flight was lost, and then compacted away."""
    cluster, first = led()
    cluster.isolate(3)
    for number in range(100):
        first.core.propose([b"%d" % number])
        cluster.deliver()
    compact(first)
    cluster.heal()
    cluster.run(4 * TIMING.heartbeat_ms)
    assert cluster.core(3).applied_index == first.core.end_index


def test_an_empty_node_is_sent_the_log_or_the_snapshot() -> None:
    cluster, first = led()
    compact(first)
    cluster.add(Disk(identity(4)))
    first.core.set_observers([NodeId(4)])
    cluster.run(5 * TIMING.heartbeat_ms)
    fourth = cluster[4]
    assert (fourth.core.voters, fourth.core.applied_index) == (THREE, 3)
    assert fourth.disk.snapshot == SnapshotMeta(point(2, 3), THREE)


def test_a_follower_has_nobody_to_fail_for() -> None:
    node = follower()
    node.core.snapshot_failed(NodeId(2))
    assert not node.core.has_ready()


# --- installing ---------------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_the_log() -> None:
    node = follower(entry(2, 4, b"old"), entry(3, 4, b"old"))
    node.core.step(message(2, 1, install(5, snapshot_of(5, 10))), 0)
    assert node.core.take_messages_now() == ()
    with pytest.raises(RuntimeError, match="being installed"):
        node.core.applied_snapshot  # noqa: B018
    ready = node.core.ready()
    assert (ready.snapshot, ready.entries, ready.committed) == (snapshot_of(5, 10), (), ())
    assert ready.has_work
    assert [item.body for item in ready.messages] == [AppendResponse(Term(5), LogIndex(10))]
    assert node.core.applied_index == 0
    node.finish(ready)
    assert (node.core.applied_index, node.core.commit_index, node.core.end_index) == (10, 10, 10)
    assert (node.core.snapshot_point, node.core.leader_id) == (point(5, 10), 2)
    assert not node.core.has_ready()


def test_entries_behind_a_snapshot_that_is_not_installed_yet() -> None:
    node = follower()
    node.core.step(message(2, 1, install(5, snapshot_of(5, 10))), 0)
    append = AppendRequest(Term(5), point(5, 10), (entry(10, 5, b"a"),), LogIndex(11))
    node.core.step(message(2, 1, append), 0)
    ready = node.core.ready()
    assert (ready.snapshot, ready.entries) == (snapshot_of(5, 10), (entry(10, 5, b"a"),))
    assert ready.committed == ()
    node.finish(ready)
    node.settle()
    assert node.payloads() == [b"a"]


def test_a_snapshot_of_what_the_log_holds_only_commits() -> None:
    tail = (entry(2, 4, b"a"), entry(3, 4, b"b"))
    node = follower(*tail)
    assert node.receive(2, install(5, snapshot_of(4, 3))) == [AppendResponse(Term(5), LogIndex(3))]
    assert node.disk.snapshot is None
    assert (node.payloads(), node.core.end_index) == ([b"a"], 4)


def test_a_snapshot_below_the_commit_is_answered_with_it() -> None:
    node = follower(entry(2, 4), entry(3, 4))
    node.receive(2, install(5, snapshot_of(4, 4)))
    assert node.receive(2, install(5, snapshot_of(4, 3))) == [AppendResponse(Term(5), LogIndex(4))]
    assert node.core.snapshot_point == LOG_START


@pytest.mark.parametrize(
    "nonsense",
    [
        SnapshotMeta(point(6, 10), THREE),
        SnapshotMeta(point(5, -1), THREE),
        SnapshotMeta(point(5, 10), voters(2, 1)),
    ],
)
def test_a_snapshot_that_makes_no_sense_is_dropped(nonsense: SnapshotMeta) -> None:
    node = follower()
    assert node.receive(2, install(5, nonsense)) == []
    assert node.core.snapshot_point == LOG_START


def test_a_snapshot_of_an_older_term_is_refused() -> None:
    node = follower()
    answer = node.receive(2, install(4, snapshot_of(4, 10)))
    assert answer == [AppendRejected(Term(5), LogIndex(0), point(1, 2))]
    assert node.core.snapshot_point == LOG_START


def test_a_snapshot_that_comes_during_a_save_waits_for_the_next() -> None:
    """What was saved meanwhile belongs to a log that is gone."""
    node = follower()
    append = AppendRequest(Term(5), point(1, 2), (entry(2, 5, b"a"),), LogIndex(0))
    node.core.step(message(2, 1, append), 0)
    saving = node.core.ready()
    node.core.step(message(3, 1, install(6, snapshot_of(6, 3))), 0)
    node.core.step(
        message(3, 1, AppendRequest(Term(6), point(6, 3), (entry(3, 6, b"b"),), LogIndex(0))), 0
    )
    node.finish(saving)
    ready = node.core.ready()
    assert (ready.snapshot, ready.entries) == (snapshot_of(6, 3), (entry(3, 6, b"b"),))
    node.finish(ready)
    assert node.disk.entries == [entry(3, 6, b"b")]


def test_what_was_saved_before_a_snapshot_is_saved_again_behind_it() -> None:
    """The snapshot takes the place of the stored log, also of entries that come back behind it."""
    node = follower()
    several = [entry(index, 5, b"%d" % index) for index in (2, 3, 4)]
    for sender, body in (
        (2, AppendRequest(Term(5), point(1, 2), tuple(several), LogIndex(0))),
        (3, AppendRequest(Term(6), point(1, 2), (entry(2, 6),), LogIndex(0))),
        (2, install(7, snapshot_of(5, 3))),
        (2, AppendRequest(Term(7), point(5, 3), tuple(several[1:]), LogIndex(0))),
    ):
        node.core.step(message(sender, 1, body), 0)
        if body.term == 5:
            saving = node.core.ready()
    node.finish(saving)
    ready = node.core.ready()
    assert (ready.snapshot, list(ready.entries)) == (snapshot_of(5, 3), several[1:])
    node.finish(ready)
    assert node.disk.entries == several[1:]


def test_a_snapshot_brings_its_voters() -> None:
    node = Node(Disk(identity(4)))
    node.receive(1, install(3, SnapshotMeta(point(3, 9), voters(1, 2, 3, 4))))
    assert node.core.voters == voters(1, 2, 3, 4)
    assert node.core.next_deadline_ms() is not None
    node.start()
    assert node.core.voters == voters(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("at", "expected"), [(point(0, 0), []), (point(5, 3), [b"b"]), (point(5, 4), [])]
)
def test_a_restart_goes_on_behind_its_snapshot(at: LogPoint, expected: list[bytes]) -> None:
    log = [*LOG, entry(2, 5, b"a"), entry(3, 5, b"b")]
    disk = Disk.of(1, log, term=5)
    if at.index:
        disk.snapshot = SnapshotMeta(at, THREE)
        disk.entries = [item for item in log if item.index >= at.index]
        disk.commit_index = LogIndex(4)
    node = Node(disk)
    node.settle()
    assert node.payloads() == expected
    assert node.role() is Role.FOLLOWER
