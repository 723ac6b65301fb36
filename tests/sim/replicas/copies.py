"""Every copy of the compacted topic, held against what its application knows, at any moment.

While faults go on, a copy in sync is judged as a reader's log is (`tests.sim.keyed`), below what it
knows to be committed; one that is not may lack what its leader has compacted meanwhile. Once all is
well again, every copy is compacted as a whole, again and again until the time of the last delete
has passed; then:

* compaction-stuck: a delete is still there.
* compaction-differs: a copy does not hold one record for each key that has a value, as the others.
* compaction-unreadable: an offset that cannot be read from, or not what comes next there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from logd_wire import decode_batch, iter_headers
from logd_wire.errors import LogdError

from logd.runtime.partition import Partition
from logd.storage import LogView
from logd.testing.process import SimProcess
from tests.sim import keyed
from tests.sim.keyed import KeyedWorker, Row, new_admin
from tests.sim.replicas.faults import age_of
from tests.sim.watch import folder_of
from tests.sim.world import World

LOOK_MS = 150
#: Every delete must have gone by then: two would do, were every pass put in place.
ROUNDS = 6
#: More than a segment.
READ_BYTES = 1 << 20
COMPACT_WAIT_MS = 10_000
#: Offsets from which a consumer begins in the end, of all that there are.
BEGINNINGS = 8
#: A run that finds more than this has shown enough.
PROBLEMS_MAX = 20


class KeyedCopies:
    """The copies on the nodes that are up."""

    def __init__(
        self, world: World, worker: KeyedWorker, processes: Mapping[int, SimProcess]
    ) -> None:
        self._world = world
        self._worker = worker
        self._rng = world.rng.child("copies")
        self._processes = processes
        for process in processes.values():
            process.on_file_operation = self._on_file_operation

    def _on_file_operation(self, operation: str, path: str) -> None:
        """Nobody moves or trims this topic: a log that is taken away is one that starts over."""
        if operation != "rename" or not path.startswith("partitions/") or path.count("/") > 1:
            return
        if any(path == folder_of(*copy.key) for copy in self.copies().values()):
            self._world.sometimes("copy started over")

    def copies(self) -> dict[int, Partition]:
        """By node."""
        return {
            node_id: found
            for node_id, process in self._processes.items()
            if process.up
            for found in process.node._partitions.all()
            if found.topic == keyed.NAME
        }

    def _report(self, node_id: int, problems: Iterable[str]) -> None:
        self._world.problems += [f"{each}, in the copy on node {node_id}" for each in problems]

    # -- while faults go on ------------------------------------------------------------------

    async def watch(self) -> None:
        """Look at every copy again and again. Never returns."""
        while True:
            copies = self.copies()
            state = max((copy.state for copy in copies.values()), key=age_of, default=None)
            for node_id, copy in copies.items():
                self._note(copy)
                if state is not None and len(self._world.problems) < PROBLEMS_MAX:
                    self._report(node_id, self._judge(copy, in_sync=node_id in state.isr))
            await self._world.client_clock.sleep_ms(LOOK_MS)

    def _judge(self, copy: Partition, *, in_sync: bool) -> Iterator[str]:
        found, end = rows(copy.view), _committed_end(copy)
        yield from self._worker.judge_records(found, end)
        if in_sync:
            yield from self._worker.judge_keys(found, end)

    def _note(self, copy: Partition) -> None:
        sometimes = self._world.sometimes
        if copy.log.cleaning.state.first_dirty:
            sometimes("leader compacted" if copy.is_led_here else "follower compacted")
        if copy.forgotten_end:
            sometimes("delete forgotten")

    # -- the verdict -------------------------------------------------------------------------

    async def check(self) -> None:
        """Compact until no delete is left; then all copies and a consumer must have the same."""
        if not self._worker.kept:
            return
        await self._forget_deletes()
        copies = {node_id: rows(copy.view) for node_id, copy in self.copies().items()}
        wanted = await self._worker.read()
        for node_id, found in copies.items():
            self._report(node_id, self._worker.judge(found))
            if found != wanted:
                self._report(node_id, [f"compaction-differs: {_difference(found, wanted)}"])
            self._report(node_id, _unreadable(self.copies()[node_id].view, found))
        if len({row.key for row in wanted}) < len(wanted):
            self._world.problems.append("compaction-differs: a key has two records left")
        await self._check_beginnings(wanted)

    async def _forget_deletes(self) -> None:
        admin = new_admin(self._world, "copies admin")
        for _ in range(ROUNDS):
            await admin.compact_topic(keyed.NAME, [], now=True, wait=True)
            copies = self.copies()
            left = [node for node, copy in copies.items() if _has_deletes(rows(copy.view))]
            if not left:
                break
            await self._world.client_clock.sleep_ms(2 * keyed.DELETE_RETENTION_MS)
        else:
            for node_id in left:
                self._report(node_id, ["compaction-stuck: a delete is still there"])
        await admin.close()

    async def _check_beginnings(self, wanted: Sequence[Row]) -> None:
        end_offset = self._worker.kept[-1].offset + 1
        for _ in range(BEGINNINGS):
            offset = self._rng.randrange(end_offset)
            if await self._worker.read(offset) != [row for row in wanted if row.offset >= offset]:
                self._world.problems.append(f"compaction-unreadable: a consumer from {offset} on")


def rows(view: LogView) -> list[Row]:
    """What a log holds, what is not committed too."""
    found: list[Row] = []
    offset = view.start_offset
    while offset < view.written_end_offset:
        there, offset = _read(view, offset, READ_BYTES)
        found += there
    return found


def _read(view: LogView, offset: int, bytes_max: int) -> tuple[list[Row], int]:
    """What one read gets from `offset` on, a batch at least, and where the next one goes on."""
    read = view.read(offset, bytes_max=bytes_max, limit_offset=view.written_end_offset)
    found: list[Row] = []
    for position, header in iter_headers(read.records):
        batch = _decoded(read.records[position : position + header.size])
        found += (
            batch
            if batch and batch[0].offset >= offset
            else [row for row in batch if row.offset >= offset]
        )
    return found, read.next_offset


@lru_cache(maxsize=4096)
def _decoded(batch: bytes) -> list[Row]:
    """The same few batches are looked at again and again."""
    return [Row(each.offset, each.key, each.value) for each in decode_batch(batch)]


def _committed_end(copy: Partition) -> int:
    """The mark that a start finds may be older than a delete that was committed and forgotten."""
    forgotten_end = min(copy.forgotten_end, copy.view.written_end_offset)
    return max(copy.high_watermark, forgotten_end)


def _has_deletes(found: Sequence[Row]) -> bool:
    return any(row.value is None for row in found)


def _difference(found: Sequence[Row], wanted: Sequence[Row]) -> str:
    changed = sorted({*found} ^ {*wanted})
    return f"{len(changed)} records, {changed[0]} first"


def _unreadable(view: LogView, found: Sequence[Row]) -> Iterator[str]:
    """Every offset, the end too, must be one to read on from: a read gets what comes next there,
    and names an offset beyond to go on at, of which the same is true."""
    offsets = [row.offset for row in found]
    for offset in range(view.start_offset, view.written_end_offset):
        try:
            there, next_offset = _read(view, offset, 1)
        except LogdError as error:
            yield f"compaction-unreadable: {offset}: {error}"
            return
        begin, end = bisect_left(offsets, offset), bisect_left(offsets, next_offset)
        if next_offset <= offset or there != list(found[begin:end]):
            yield f"compaction-unreadable: {offset}: not what comes next"
            return
