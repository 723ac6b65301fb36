"""Where two copies of a log part: leader epochs tell, never the high watermark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: No epoch: of an empty log, or of one that has none so old.
NO_EPOCH: Final = -1

#: Takes an epoch; returns the largest known one up to it and where its batches end (the start of
#: the next one, or the end of the log). `NO_EPOCH` and any offset: none so old is known.
EndOffsetFor = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Fits:
    """Up to its end, the follower has what the leader has."""


@dataclass(frozen=True, slots=True)
class Diverges:
    """The leader's largest epoch up to the follower's last one is `epoch`, and ends at
    `end_offset`. `NO_EPOCH`: all that the leader has is younger, and `end_offset` is where what it
    has begins; or the follower is empty and beyond the leader's end, `end_offset`."""

    epoch: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class TooLow:
    """What the follower needs next is gone: the leader's log starts at `log_start`."""

    log_start: int


def check_position(
    epochs_end_offset_for: EndOffsetFor, log_start: int, log_end: int, offset: int, last_epoch: int
) -> Fits | Diverges | TooLow:
    """Judge a follower's position against the leader's log.

    The follower ends at `offset`, after a batch of `last_epoch` (`NO_EPOCH`: it has no batch).
    """
    if offset < log_start:
        return TooLow(log_start)
    if last_epoch == NO_EPOCH:
        return Fits() if offset <= log_end else Diverges(NO_EPOCH, log_end)
    epoch, end_offset = epochs_end_offset_for(last_epoch)
    if epoch == NO_EPOCH:
        # What the follower has is older than all that is left here: only its end can agree.
        return Fits() if offset == log_start else Diverges(NO_EPOCH, log_start)
    if epoch == last_epoch and offset <= min(end_offset, log_end):
        return Fits()
    return Diverges(epoch, end_offset)


def truncation_offset(
    own_end_offset_for: EndOffsetFor, own_end: int, own_start: int, diverging: Diverges
) -> int:
    """Return where the follower cuts its log before it asks again.

    It keeps no more than both have of the largest epoch that both know. Where it does not know the
    leader's epoch, its largest smaller one is asked about next. The result is below `own_start`
    only where the leader ends before everything that is left here.
    """
    kept = own_end
    if diverging.epoch != NO_EPOCH:
        own_epoch, kept = own_end_offset_for(diverging.epoch)
        if own_epoch == NO_EPOCH:
            kept = own_start
    return min(kept, diverging.end_offset, own_end)
