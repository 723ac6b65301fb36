"""A metadata quorum in memory, for tests of the edge: led by node 1, and everything commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from logd.consensus import PeerProgress, PeerState
from logd.consensus.log_types import LOG_START, NO_OP, Entry, Role, Voter
from logd.metadata import ClusterImage, MetadataRecord
from logd.model.ids import NO_NODE, DirectoryId, LogIndex, NodeId, Term
from logd.runtime.consensus_driver import ConsensusStatus
from logd.runtime.quorum_view import StoredEntry
from logd.runtime.record_codec import encode_metadata_record

CLUSTER_ID = bytes(range(16))
TIME_MS = 1_700_000_000_000


def directory_of(number: int) -> DirectoryId:
    return DirectoryId(CLUSTER_ID if number == 1 else bytes([number]) * 16)


class FakeQuorum:
    """Has what a broker tells of its quorum. Tests may set `state`, and `lags` by node id."""

    def __init__(self) -> None:
        self.state = ConsensusStatus(
            role=Role.LEADER,
            term=Term(3),
            vote=NodeId(1),
            leader_id=NodeId(1),
            commit_index=LogIndex(0),
            applied_index=LogIndex(0),
            caught_up=True,
            end_index=LogIndex(0),
            snapshot_point=LOG_START,
            first_index=LogIndex(0),
            voters=(Voter(NodeId(1), directory_of(1), "peer-1:7172"),),
            progress=(),
        )
        self.entries: list[StoredEntry] = []
        self.lags: dict[int, int] = {}
        self._store((NO_OP,))

    def append(self, records: Sequence[MetadataRecord], image: ClusterImage) -> None:
        """Store what was decided, and what it means for the voters."""
        if records:
            self._store(tuple(encode_metadata_record(record) for record in records))
        if image.voters:
            voters = tuple(
                Voter(each.node_id, each.directory_id, each.address) for each in image.voters
            )
            self.state = replace(self.state, voters=voters)
        if self.state.role is Role.LEADER:
            self.state = replace(self.state, progress=tuple(self._progress(image)))

    def _store(self, payloads: tuple[bytes, ...]) -> None:
        entry = Entry(self.state.end_index, self.state.term, payloads)
        self.entries.append(StoredEntry(entry, TIME_MS))
        end = entry.next_index
        self.state = replace(self.state, commit_index=end, applied_index=end, end_index=end)

    def _progress(self, image: ClusterImage) -> list[PeerProgress]:
        voters = {voter.node_id for voter in image.voters}
        end = self.state.end_index
        return [
            PeerProgress(
                node_id,
                LogIndex(end - self.lags.get(node_id, 0)),
                end,
                node_id in voters,
                node_id not in self.lags,
                PeerState.REPLICATE,
            )
            for node_id in sorted({*image.nodes, *voters})
            if node_id != 1
        ]

    def follow(self, leader_id: int = NO_NODE) -> None:
        """This node leads no more."""
        self.state = replace(
            self.state, role=Role.FOLLOWER, leader_id=NodeId(leader_id), progress=()
        )

    async def read_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        found = [each for each in self.entries if each.entry.next_index > start]
        return tuple(found[:entries_max])
