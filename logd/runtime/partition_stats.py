"""One partition as its node sees it, for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from logd.runtime.housekeeping import retention_in_words
from logd.runtime.partition import Partition
from logd.runtime.ports import Disk
from logd.runtime.replica_progress import ReplicaProgress, replica_progress
from logd.storage import Moment


@dataclass(frozen=True, slots=True)
class PartitionStats:
    """One partition as its node sees it.

    In words: `damage`, what cannot be read; `retention` and `compaction`, what goes next and what
    that waits for.
    """

    start_offset: int
    end_offset: int
    size_bytes: int
    segments: int
    damage: tuple[str, ...]
    retention: str
    compaction: str = ""
    #: Of replicas that do not have everything; only the leader knows.
    progress: tuple[ReplicaProgress, ...] = ()


async def stats_of(found: Partition, moment: Moment, disk: Disk) -> PartitionStats:
    """What there is to tell of a partition that is on this node."""
    view = found.view
    return PartitionStats(
        start_offset=view.start_offset,
        end_offset=found.high_watermark,
        size_bytes=view.size_bytes,
        segments=view.segment_count,
        damage=tuple(str(damage) for damage in view.damage),
        retention=await _retention_of(found, moment, disk),
        progress=tuple(replica_progress(found)),
    )


async def _retention_of(found: Partition, moment: Moment, disk: Disk) -> str:
    look = partial(found.log.retention_status, moment, found.removal_limit)
    try:
        status = look() if found.log.is_summarized else await disk.read(look)
    except OSError as error:
        return f"cannot be told: {error}"
    return retention_in_words(found.config, status, moment)
