"""Where two logs part: by leader epochs, never by the high watermark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Of a log: (largest known epoch <= the one asked for, its end offset); (-1, -1): none is known.
EndOffsetFor = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Fits:
    """The follower's log is a beginning of the leader's."""


@dataclass(frozen=True, slots=True)
class Diverges:
    """In the leader's log `epoch`, the largest up to the follower's, ends at `end_offset`.

    `epoch` -1: the leader has none so old.
    """

    epoch: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class TooLow:
    """What comes next is gone: the leader's log starts at `log_start`."""

    log_start: int


def check_position(
    end_offset_for: EndOffsetFor, log_start: int, log_end: int, offset: int, last_epoch: int
) -> Fits | Diverges | TooLow:
    """Judge a follower that ends at `offset`, after a batch of `last_epoch` (-1: it is empty)."""
    if offset < log_start:
        return TooLow(log_start)
    if last_epoch == -1:
        return Fits() if offset <= log_end else Diverges(-1, log_end)
    epoch, end_offset = end_offset_for(last_epoch)
    if epoch == -1:
        # All that the leader has is younger; what the follower has was trimmed, or never agreed.
        return Fits() if offset == log_start else Diverges(-1, log_start)
    if epoch == last_epoch and offset <= min(end_offset, log_end):
        return Fits()
    return Diverges(epoch, end_offset)


def truncation_offset(
    own_end_offset_for: EndOffsetFor, own_end: int, own_start: int, diverging: Diverges
) -> int:
    """Where the follower cuts its log, before it asks again.

    It keeps no more than the leader has of the largest epoch that both may know.
    """
    if diverging.epoch == -1:
        return max(min(diverging.end_offset, own_end), own_start)
    own_epoch, own_epoch_end = own_end_offset_for(diverging.epoch)
    if own_epoch == -1:
        return own_start
    # Of a smaller epoch than the leader named all of ours is kept, and asked about again.
    kept = own_epoch_end
    if own_epoch == diverging.epoch:
        kept = min(kept, diverging.end_offset)
    return max(min(kept, own_end, diverging.end_offset), own_start)
