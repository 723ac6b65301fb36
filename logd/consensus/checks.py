"""What is refused before it can do harm: folders that do not fit, entries, voter sets, messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from logd_wire.errors import ConfigError, InvalidRequestError, StorageFailedError
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, RECORD_BYTES_MAX

from logd.consensus.log_types import (
    LOG_START,
    NO_OP,
    Entry,
    HardState,
    Identity,
    LogPoint,
    SnapshotMeta,
    Voter,
    Voters,
)
from logd.model.ids import format_id

#: Payloads of one entry together; leaves half of a batch for framing.
ENTRY_BYTES_MAX: Final = BATCH_BYTES_MAX // 2


def check_start(
    identity: Identity,
    hard_state: HardState | None,
    snapshot: SnapshotMeta | None,
    entries: Sequence[Entry],
) -> None:
    """Raise ConfigError or StorageFailedError unless a member may go on from what is durable."""
    if hard_state is None:
        if entries or snapshot:
            raise _unfit("there are entries but no hard state: the vote may have been forgotten")
        return
    if hard_state.identity != identity:
        raise ConfigError(
            f"the raft log was written as {_in_words(hard_state.identity)}, this node is "
            f"{_in_words(identity)}",
            hint="give the node the data folder it had before, or a new node.id",
        )
    end = snapshot.point if snapshot else LOG_START
    for entry in entries:
        if entry.index != end.index or not entry.payloads:
            raise _unfit(f"entry {entry.index} stands where entry {end.index} should")
        if entry.term < max(end.term, 1):
            raise _unfit(f"the term of entry {entry.index} goes back to {entry.term}")
        end = LogPoint(entry.term, entry.next_index)
    if end.term > hard_state.term:
        raise _unfit(
            f"there is an entry of term {end.term}, the hard state knows {hard_state.term}"
        )


def check_payloads(payloads: Sequence[bytes]) -> None:
    """Raise InvalidRequestError unless `payloads` can be an entry."""
    if not 1 <= len(payloads) <= BATCH_RECORDS_MAX or NO_OP in payloads:
        raise InvalidRequestError(
            f"an entry of the raft log has 1 to {BATCH_RECORDS_MAX} payloads, none of them empty"
        )
    largest = max(map(len, payloads))
    if largest > RECORD_BYTES_MAX or sum(map(len, payloads)) > ENTRY_BYTES_MAX:
        raise InvalidRequestError(
            f"an entry of the raft log is too large: {sum(map(len, payloads))} bytes, the largest "
            f"payload {largest}",
            hint="ask for less in one request",
        )


def check_voters_change(current: Voters, proposed: Voters) -> None:
    """Raise InvalidRequestError unless the sets differ by at most one voter: added, removed, moved.

    Any two majorities of such neighbours overlap. A voter under a new directory is another voter:
    it is removed and added. The same set again is written down: a founder's log says nothing yet.
    """
    if not proposed or not is_voter_set(proposed):
        raise InvalidRequestError("voters are sorted by node id, each there once, at least one")
    before = {_vote_of(voter): voter.address for voter in current}
    after = {_vote_of(voter): voter.address for voter in proposed}
    changed = len(before.keys() ^ after.keys())
    moved = sum(before[vote] != after[vote] for vote in before.keys() & after.keys())
    if changed + moved > 1:
        raise InvalidRequestError(
            f"{changed + moved} voters would change at once; one can be added, removed or moved",
            hint="a voter under a new directory is first removed, then added",
        )


def is_voter_set(voters: Voters) -> bool:
    """Whether the voters are sorted by node id, each of them there once."""
    ids = [voter.node_id for voter in voters]
    return all(first < second for first, second in pairwise(ids))


def are_entries_behind(previous: LogPoint, entries: Iterable[Entry], term: int) -> bool:
    """Whether entries of a leader of `term` follow `previous` as entries have to."""
    end = previous
    for entry in entries:
        if entry.index != end.index or entry.term < max(end.term, 1) or not entry.payloads:
            return False
        if entry.voters is not None and not is_voter_set(entry.voters):
            return False
        end = LogPoint(entry.term, entry.next_index)
    return previous.index >= 0 and end.term <= term


def _vote_of(voter: Voter) -> tuple[int, bytes]:
    return voter.node_id, voter.directory_id


def _unfit(what: str) -> StorageFailedError:
    return StorageFailedError(
        f"raft log: {what}",
        hint="restore the data folder from a copy; nothing was changed",
        retriable=False,
    )


def _in_words(identity: Identity) -> str:
    return (
        f"node {identity.node_id} of cluster {format_id(identity.cluster_id)} with directory "
        f"{format_id(identity.directory_id)}"
    )
