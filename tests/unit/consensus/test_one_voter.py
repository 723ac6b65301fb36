from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire.errors import (
    ConfigError,
    ErrorCode,
    InvalidRequestError,
    NotLeaderError,
    StorageFailedError,
)
from logd_wire.limits import RECORD_BYTES_MAX

from logd.consensus import ENTRY_BYTES_MAX, NO_OP, Entry, HardState, OneVoter, ReadState, Role
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from tests.unit.consensus.driver import IDENTITY, Disk, drive


def entry(index: int, term: int, *payloads: bytes) -> Entry:
    return Entry(LogIndex(index), Term(term), payloads or (b"x",))


def started(disk: Disk) -> OneVoter:
    core = disk.start()
    drive(core, disk)
    return core


def test_the_first_start_is_an_election() -> None:
    disk = Disk()
    core = disk.start()
    assert (core.role, core.term, core.leader_id) == (Role.CANDIDATE, 1, None)
    first = core.ready()
    assert first.hard_state == HardState(Term(1), NodeId(1), IDENTITY, True)
    assert (first.entries, first.committed) == ((), ())
    core.advance(first)
    assert (core.role, core.leader_id) == (Role.LEADER, 1)
    assert (core.has_caught_up, core.commit_index) == (False, 0)

    second = core.ready()
    assert (second.hard_state, second.committed) == (None, ())
    assert second.entries == (entry(0, 1, NO_OP),)
    assert second.entries[0].is_no_op
    core.advance(second)
    assert (core.commit_index, core.applied_index) == (1, 0)

    third = core.ready()
    assert (third.entries, third.committed) == ((), second.entries)
    core.advance(third)
    assert core.applied_index == core.end_index == 1
    assert (core.has_caught_up, core.has_ready()) == (True, False)


def test_a_proposal_is_saved_then_applied() -> None:
    disk = Disk()
    core = started(disk)
    proposal = core.propose([b"a", b"b"])
    assert (proposal.index, proposal.term) == (1, 1)
    saved = core.ready()
    assert saved.entries == (entry(1, 1, b"a", b"b"),)
    assert saved.committed == (), "nothing is committed before it is saved"
    assert saved.entries[0].next_index == 3
    core.advance(saved)
    applied = core.ready()
    assert applied.committed == saved.entries
    core.advance(applied)
    assert core.applied_index == 3


def test_proposals_made_meanwhile_go_with_the_next_ready() -> None:
    core = started(Disk())
    core.propose([b"a"])
    first = core.ready()
    core.propose([b"b"])
    core.propose([b"c"])
    assert not core.has_ready(), "one ready at a time"
    core.advance(first)
    second = core.ready()
    assert second.committed == first.entries
    assert [item.payloads for item in second.entries] == [(b"b",), (b"c",)]


def test_what_is_on_disk_commits_only_with_an_entry_of_the_new_term() -> None:
    disk = Disk()
    core = started(disk)
    core.propose([b"a"])
    disk.save(core.ready())

    again = disk.start()
    assert again.term == 2
    vote = again.ready()
    assert vote.committed == ()
    disk.save(vote)
    again.advance(vote)
    no_op = again.ready()
    assert no_op.committed == ()
    assert again.commit_index == 0
    disk.save(no_op)
    again.advance(no_op)
    applied, _ = drive(again, disk)
    assert [item.payloads for item in applied] == [(NO_OP,), (b"a",), (NO_OP,)]
    assert [item.term for item in applied] == [1, 1, 2]


def test_a_crash_before_the_save_forgets_a_proposal_and_uses_its_index_again() -> None:
    disk = Disk()
    core = started(disk)
    assert core.propose([b"lost"]).index == 1
    again = started(disk)
    assert again.end_index == 2, "the no-op of the new term"
    assert again.propose([b"kept"]).index == 2


def test_no_proposal_and_no_read_before_the_election_is_through() -> None:
    core = Disk().start()
    for ask in (lambda: core.propose([b"a"]), lambda: core.read_index(1)):
        with pytest.raises(NotLeaderError) as caught:
            ask()
        assert caught.value.code is ErrorCode.NOT_CONTROLLER
        assert caught.value.retriable


def test_a_read_waits_for_what_was_committed_before() -> None:
    disk = Disk()
    core = disk.start()
    vote = core.ready()
    disk.save(vote)
    core.advance(vote)
    core.read_index(7)
    no_op = core.ready()
    assert no_op.reads == (), "the leader does not know yet what is committed"
    disk.save(no_op)
    core.advance(no_op)
    core.read_index(8)
    ready = core.ready()
    assert ready.reads == (ReadState(7, LogIndex(1)), ReadState(8, LogIndex(1)))
    assert ready.committed[-1].next_index == 1
    core.advance(ready)
    assert not core.has_ready()
    core.read_index(9)
    assert drive(core, disk) == ([], [ReadState(9, LogIndex(1))])


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b""],
        [b"a", b""],
        [b"a" * (RECORD_BYTES_MAX + 1)],
        [b"a" * RECORD_BYTES_MAX] * (ENTRY_BYTES_MAX // RECORD_BYTES_MAX + 1),
        [b"a"] * 100_001,
    ],
    ids=["nothing", "no-op", "with a no-op", "large payload", "large entry", "many"],
)
def test_entries_that_are_empty_or_too_large(payloads: list[bytes]) -> None:
    core = started(Disk())
    with pytest.raises(InvalidRequestError):
        core.propose(payloads)
    assert not core.has_ready()


def test_the_largest_entry() -> None:
    disk = Disk()
    core = started(disk)
    core.propose([b"a" * RECORD_BYTES_MAX] * (ENTRY_BYTES_MAX // RECORD_BYTES_MAX))
    applied, _ = drive(core, disk)
    assert sum(map(len, applied[0].payloads)) == ENTRY_BYTES_MAX


@pytest.mark.parametrize(
    "identity",
    [
        replace(IDENTITY, cluster_id=ClusterId(b"x" * 16)),
        replace(IDENTITY, node_id=NodeId(2)),
        replace(IDENTITY, directory_id=DirectoryId(b"x" * 16)),
    ],
)
def test_nobody_votes_under_another_s_name(identity: object) -> None:
    disk = Disk()
    started(disk)
    with pytest.raises(ConfigError, match="this node is"):
        OneVoter(identity, disk.hard_state, disk.entries)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hard_term", "entries", "words"),
    [
        (None, [entry(0, 1)], "no hard state"),
        (3, [entry(1, 1)], "entry 1 stands where entry 0 should"),
        (3, [entry(0, 1, b"a", b"b"), entry(1, 1)], "entry 1 stands where entry 2 should"),
        (3, [entry(0, 1), entry(2, 1)], "entry 2 stands where entry 1 should"),
        (3, [entry(0, 2), entry(1, 1)], "goes back to 1"),
        (3, [entry(0, 0)], "goes back to 0"),
        (3, [entry(0, 4)], "the hard state knows 3"),
        (3, [Entry(LogIndex(0), Term(1), ())], "entry 0 stands where"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(
    hard_term: int | None, entries: list[Entry], words: str
) -> None:
    hard_state = None
    if hard_term is not None:
        hard_state = HardState(Term(hard_term), NodeId(1), IDENTITY, True)
    with pytest.raises(StorageFailedError, match=words) as caught:
        OneVoter(IDENTITY, hard_state, entries)
    assert not caught.value.retriable


def test_a_vote_for_somebody_else_is_outlived() -> None:
    """A folder of a larger group: the next term is free, whoever got the vote of the last."""
    disk = Disk(HardState(Term(5), NodeId(2), IDENTITY, True), [entry(0, 4)])
    core = started(disk)
    assert (core.role, core.term) == (Role.LEADER, 6)
    assert disk.hard_state == HardState(Term(6), NodeId(1), IDENTITY, True)


def test_the_driver_is_held_to_its_order() -> None:
    core = started(Disk())
    core.propose([b"a"])
    ready = core.ready()
    with pytest.raises(RuntimeError):
        core.ready()
    with pytest.raises(RuntimeError):
        core.advance(replace(ready))
    core.advance(ready)
    with pytest.raises(RuntimeError):
        core.advance(ready)
