"""Notices partitions that stand still: nobody sends them, or nobody reads them. No clock, no I/O.

*Unserved* is a partition that shall be read and of which no node sends anything: it has no leader,
the leader refuses or does not answer, or sends nothing though it says that there is more. *Unread*
is one of which something was fetched that the application does not ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from logd_client._core.fetch_state import FetchState
from logd_client._core.partition_reader import PartitionReader
from logd_client.values import TopicPartition

#: How long a partition may be unread before that is said.
UNREAD_MS: Final = 60_000.0


class Standstill(NamedTuple):
    """A partition, for how long, and why. Times in milliseconds."""

    tp: TopicPartition
    for_ms: float
    why: str


@dataclass(slots=True)
class Findings:
    """What a look has found, each thing once."""

    unserved: list[Standstill] = field(default_factory=list)
    unread: list[Standstill] = field(default_factory=list)
    #: Unserved before, and that was said; now a node sends it.
    served_again: list[Standstill] = field(default_factory=list)


@dataclass(slots=True)
class _Stand:
    """Where a partition stands still. `reads`: how often the application had read by then."""

    at: int | None
    reads: int
    since_ms: float
    told: bool = False


class ReadingWatch:
    """Looks now and then, with the lock of the state held. What comes and goes between two looks
    is not seen."""

    def __init__(self, state: FetchState, unserved_ms: float, unread_ms: float = UNREAD_MS) -> None:
        self._state = state
        self._unserved_ms = unserved_ms
        self._unread_ms = unread_ms
        self._unserved: dict[TopicPartition, _Stand] = {}
        self._unread: dict[TopicPartition, _Stand] = {}

    def unserved_for_ms(self, tp: TopicPartition, now_ms: float) -> float | None:
        """Since when nobody sends it, by the looks so far; None: somebody does."""
        stand = self._unserved.get(tp)
        return None if stand is None else now_ms - stand.since_ms

    def look(self, now_ms: float) -> Findings:
        """What has stood still for too long, or goes on again, since the last look."""
        found = Findings()
        readers = self._state.readers.values()
        waiting = [reader for reader in readers if _is_unserved(reader)]
        for stand, reader in self._still(self._unserved, waiting, now_ms, found.served_again):
            if now_ms - stand.since_ms >= self._unserved_ms and not stand.told:
                stand.told = True
                found.unserved.append(Standstill(reader.tp, now_ms - stand.since_ms, _why(reader)))
        at_hand = [reader for reader in readers if self._is_unread(reader)]
        for stand, reader in self._still(self._unread, at_hand, now_ms, []):
            # Whoever is busy with something else may come back, and a group warns of that itself.
            passed_over = self._state.lease is None or self._state.reads > stand.reads
            if now_ms - stand.since_ms >= self._unread_ms and passed_over and not stand.told:
                stand.told = True
                where = f"from offset {reader.position} on"
                found.unread.append(Standstill(reader.tp, now_ms - stand.since_ms, where))
        return found

    def _still(
        self,
        known: dict[TopicPartition, _Stand],
        readers: Iterable[PartitionReader],
        now_ms: float,
        over: list[Standstill],
    ) -> list[tuple[_Stand, PartitionReader]]:
        """Bring `known` up to date; what was told and has gone on goes into `over`."""
        still: list[tuple[_Stand, PartitionReader]] = []
        before = dict(known)
        known.clear()
        for reader in readers:
            stand = before.pop(reader.tp, None)
            if stand is None or stand.at != reader.position:
                stand = _Stand(reader.position, self._state.reads, now_ms)
            known[reader.tp] = stand
            still.append((stand, reader))
        for tp, stand in before.items():
            if stand.told and tp in self._state.readers:
                over.append(Standstill(tp, now_ms - stand.since_ms, ""))
        return still

    def _is_unread(self, reader: PartitionReader) -> bool:
        if reader.paused or reader.hold or reader in self._state.in_hand:
            return False
        return bool(reader.frames) or reader.cursor < len(reader.decoded)


def _is_unserved(reader: PartitionReader) -> bool:
    if reader.paused or reader.hold or reader.has_data:
        return False
    return not reader.is_served or reader.fetch_offset < reader.high_watermark


def _why(reader: PartitionReader) -> str:
    if reader.subscription_id and reader.is_served:
        return (
            f"{reader.address} says that there is more, up to offset {reader.high_watermark}, and "
            f"sends nothing behind {reader.fetch_offset}"
        )
    if reader.trouble is not None:
        return str(reader.trouble)
    if reader.subscription_id:
        return f"{reader.address} has sent nothing since it was asked"
    if reader.position is None:
        return "nobody has said yet where to begin"
    return "it has no leader that is known"
