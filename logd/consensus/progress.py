"""What a leader knows of one other member, and how much it may send to it.

| state | what is sent | left by |
| --- | --- | --- |
| PROBE | one append, the next after it or a later heartbeat is answered | acknowledged: REPLICATE |
| REPLICATE | an append; beside one in flight, another if it is worth it | rejected: PROBE |
| SNAPSHOT | empty appends: is it there? | it is: REPLICATE; failed, or long not: PROBE |

PROBE and REPLICATE go to SNAPSHOT when the log no longer holds what comes next.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

from logd.consensus.log_types import LogPoint
from logd.model.ids import DirectoryId, LogIndex

#: Bytes of the entries of one append; one larger entry goes alone.
MESSAGE_BYTES_MAX: Final = 1024 * 1024
#: Appends on their way to one member, in REPLICATE. Two hide one way behind the other.
IN_FLIGHT_MESSAGES_MAX: Final = 2
#: So much has to wait for a second append to leave beside the first. Less goes together when that
#: one is answered: under load a message and a sync carry many small entries.
PIPELINED_BYTES_MIN: Final = 16 * 1024
IN_FLIGHT_BYTES_MAX: Final = 4 * MESSAGE_BYTES_MAX


class PeerState(StrEnum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Peer:
    """Invariant: `match_index <= next_index`, and everything in flight ends in between."""

    def __init__(
        self,
        next_index: LogIndex,
        *,
        directory_id: DirectoryId | None,
        is_voter: bool,
        now_ms: int,
    ) -> None:
        """Begin to find out where the logs agree, at `next_index`."""
        self.match_index = LogIndex(0)
        self.next_index = next_index
        #: Whose acknowledgements these are; None: an observer that was not heard of yet.
        self.directory_id = directory_id
        self.is_voter = is_voter
        self.state = PeerState.PROBE
        #: When the last heartbeat that it answered was sent, or it came to be a peer.
        self.heard_ms = now_ms
        #: The last heartbeat round that it answered.
        self.round_answered = 0
        #: The commit index that it was told last.
        self.commit_told = LogIndex(0)
        #: SNAPSHOT: the one on its way, and since when.
        self.snapshot: LogPoint | None = None
        self.snapshot_ms = now_ms
        #: The heartbeat round during which an append was sent last.
        self._sent_round = 0
        self._is_waiting = False
        #: End index and bytes of each append.
        self._in_flight: deque[tuple[LogIndex, int]] = deque()
        self._in_flight_bytes = 0

    def may_send(self, waiting_bytes: int) -> bool:
        """Whether an append may leave now; `waiting_bytes` of entries would go with it."""
        match self.state:
            case PeerState.PROBE:
                return not self._is_waiting
            case PeerState.REPLICATE:
                return not self._in_flight or (
                    waiting_bytes >= PIPELINED_BYTES_MIN
                    and len(self._in_flight) < IN_FLIGHT_MESSAGES_MAX
                    and self._in_flight_bytes < IN_FLIGHT_BYTES_MAX
                )
            case PeerState.SNAPSHOT:
                return False

    def sent(self, end_index: LogIndex, size_bytes: int, round_: int) -> None:
        """An append with entries up to `end_index` is on its way."""
        self._sent_round = round_
        if self.state is PeerState.PROBE:
            self._is_waiting = True
        elif end_index > self.next_index:
            self.next_index = end_index
            self._in_flight.append((end_index, size_bytes))
            self._in_flight_bytes += size_bytes

    def sent_snapshot(self, point: LogPoint, round_: int, now_ms: int) -> None:
        self._clear(PeerState.SNAPSHOT)
        self.snapshot = point
        self.snapshot_ms = now_ms
        self.next_index = point.index
        self._sent_round = round_

    def acknowledged(self, match_index: LogIndex) -> bool:
        """Take an acknowledgement; returns whether it told something new."""
        moved = match_index > self.match_index
        self.match_index = max(self.match_index, match_index)
        match self.state:
            case PeerState.PROBE:
                # One from before this probe says nothing about the probe.
                if match_index >= self.next_index:
                    self._replicate()
            case PeerState.REPLICATE:
                self.next_index = max(self.next_index, self.match_index)
                while self._in_flight and self._in_flight[0][0] <= self.match_index:
                    self._in_flight_bytes -= self._in_flight.popleft()[1]
            case PeerState.SNAPSHOT:
                if match_index >= self.next_index:
                    self._replicate()
        return moved

    def accepts_rejection(self, rejected_index: LogIndex) -> bool:
        """Whether a rejection speaks of what is on its way, and not of something long past."""
        match self.state:
            case PeerState.PROBE:
                return self._is_waiting and rejected_index == self.next_index
            case PeerState.REPLICATE:
                return rejected_index > self.match_index
            case PeerState.SNAPSHOT:
                return rejected_index == self.next_index

    def probe(self, next_index: LogIndex) -> None:
        """Find out anew where the logs agree, from `next_index` on."""
        self._clear(PeerState.PROBE)
        self.next_index = max(next_index, self.match_index)
        self.commit_told = LogIndex(0)

    def snapshot_failed(self) -> None:
        """Try again when the peer has answered another heartbeat."""
        self.probe(self.match_index)
        self._is_waiting = True

    def answered_heartbeat(self, round_: int, sent_ms: int) -> bool:
        """Take the answer to a heartbeat sent at `sent_ms`.

        Returns whether what was sent before that heartbeat and is still not answered should be
        asked for: it was lost, or is being saved.
        """
        self.heard_ms = max(self.heard_ms, sent_ms)
        self.round_answered = max(self.round_answered, round_)
        if round_ <= self._sent_round:
            return False
        if self.state is PeerState.PROBE:
            self._is_waiting = False
            return False
        return self.state is PeerState.SNAPSHOT or bool(self._in_flight)

    def _replicate(self) -> None:
        self._clear(PeerState.REPLICATE)
        self.next_index = self.match_index

    def _clear(self, state: PeerState) -> None:
        self.state = state
        self.snapshot = None
        self._is_waiting = False
        self._in_flight.clear()
        self._in_flight_bytes = 0
