"""Stored bytes of one replica go bad while its node is down, below what its ledger vouches for.

Only where another intact copy is in sync: what was acknowledged must then survive. The node must
find the damage when it starts, count for nothing, and get its copy anew from one that is intact.
"""

from __future__ import annotations

from collections.abc import Collection

from logd_wire import iter_headers

from logd.model.ids import TopicPartitionId
from logd.storage import Ledger
from logd.storage.memory_files import MemoryFiles
from logd.testing.rng import SimRng
from tests.sim.rot import corrupt
from tests.sim.watch import folder_of


def damage_one(
    files: MemoryFiles, candidates: Collection[TopicPartitionId], rng: SimRng
) -> TopicPartitionId | None:
    """Change one byte of one of these logs, durably; None: no batch of them is vouched for. The
    node must not run.

    In the segment that holds the end of the ledger, which is read when a log is opened.
    """
    hook, files.before = files.before, None
    try:
        ends = Ledger.peek(files, "ledger")
        places = [
            (key, place)
            for key in candidates
            if (place := _choose(files, key, ends.get((key.topic_id, key.partition), 0), rng))
        ]
        if not places:
            return None
        key, (path, position) = rng.choice(places)
        corrupt(files, path, position)
        return key
    finally:
        files.before = hook


def _choose(
    files: MemoryFiles, key: TopicPartitionId, end: int, rng: SimRng
) -> tuple[str, int] | None:
    folder = folder_of(key.topic_id, key.partition)
    if not files.exists(folder):
        return None
    names = [entry.name for entry in files.list_dir(folder) if entry.name.endswith(".log")]
    below = [name for name in names if int(name[:-4]) < end]
    if not below:
        return None
    path = f"{folder}/{below[-1]}"
    file = files.open(path, read_only=True)
    data = file.pread(file.size(), 0)
    file.close()
    batches = [
        (position, header.size)
        for position, header in iter_headers(data)
        if header.next_offset <= end
    ]
    if not batches:
        return None
    position, size = rng.choice(batches)
    return path, position + rng.randrange(size)
