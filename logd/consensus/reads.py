"""Linearizable reads by heartbeat rounds [Raft thesis 6.4].

| a read is | because | until |
| --- | --- | --- |
| early | nothing of this term is committed, a round goes on, or it can wait | a round begins |
| waiting | no majority has answered its round | one has: the leader still led after it was asked |
| confirmed | its index is not applied here | it is |
| failed | leadership was lost before the round was answered | it is handed out |

A read's index is the commit index when its round begins.
"""

from __future__ import annotations

from collections import deque

from logd.consensus.ready import ReadState
from logd.model.ids import LogIndex


class ReadQueue:
    """Reads in the order in which they came; their indexes and rounds never go back."""

    def __init__(self) -> None:
        self._early: list[int] = []
        self._is_urgent = False
        self._waiting: deque[tuple[int, ReadState]] = deque()
        self._confirmed: deque[ReadState] = deque()
        self._failed: list[int] = []

    @property
    def is_urgent(self) -> bool:
        """Whether one of the early reads is worth a round of its own."""
        return self._is_urgent

    def has_results(self, applied_index: LogIndex) -> bool:
        """Whether something can be taken once `applied_index` is reached."""
        return bool(self._failed) or (
            bool(self._confirmed) and self._confirmed[0].index <= applied_index
        )

    def ask(self, context: int, *, urgent: bool = True) -> None:
        self._early.append(context)
        self._is_urgent |= urgent

    def begin(self, index: LogIndex, round_: int) -> None:
        """Round `round_` begins now, and everything committed ends at `index`."""
        self._waiting.extend((round_, ReadState(context, index)) for context in self._early)
        self._early, self._is_urgent = [], False

    def confirm(self, round_: int) -> None:
        """A majority answered `round_`."""
        while self._waiting and self._waiting[0][0] <= round_:
            self._confirmed.append(self._waiting.popleft()[1])

    def lose_leadership(self) -> None:
        """What is confirmed stays so: it was true when it was asked for."""
        self._failed += [read.context for _, read in self._waiting]
        self._failed += self._early
        self._waiting.clear()
        self._early, self._is_urgent = [], False

    def take(self, applied_index: LogIndex) -> tuple[ReadState, ...]:
        """Return the reads that may be answered once `applied_index` is reached."""
        reads = []
        while self._confirmed and self._confirmed[0].index <= applied_index:
            reads.append(self._confirmed.popleft())
        return tuple(reads)

    def take_failed(self) -> tuple[int, ...]:
        failed, self._failed = tuple(self._failed), []
        return failed
