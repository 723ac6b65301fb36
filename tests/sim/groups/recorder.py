"""The whole log of a group: what lies on the disks in the end, and what was compacted away before.

A segment is noted when a cleaner is about to write another one in its place: what it cleans is
committed. Of a batch that is met again, by then perhaps with fewer records, the first one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from logd_wire import WireRecord, decode_records, iter_headers

from logd.groups import GroupRecord
from logd.model.names import GROUP_TOPIC
from logd.runtime.group_codec import decode_group_record
from logd.runtime.group_coordinator import partition_of
from logd.testing.process import SimProcess
from tests.sim.groups.world import wall_to_virtual_ms
from tests.sim.watch import read_segments


class GroupRecorder:
    """See the module. Listens to the file operations of all nodes."""

    def __init__(self, processes: Mapping[int, SimProcess], group_id: str) -> None:
        self._processes = processes
        self._number = partition_of(group_id)
        self._topic_id = b""
        #: Base offset -> when it was appended, and its records.
        self._batches: dict[int, tuple[int, list[GroupRecord]]] = {}
        for process in processes.values():
            process.on_file_operation = partial(self._on_file_operation, process)

    def _on_file_operation(self, process: SimProcess, operation: str, path: str) -> None:
        if operation != "create" or not path.endswith(".cleaned"):
            return
        if not self._knows_topic(process):
            return
        if path.startswith(f"partitions/{self._topic_id.hex()}-{self._number}/"):
            # It says what it takes the place of: first and end offset.
            first, end, _ = path.rpartition("/")[2].split("-")
            self._read(process, int(first), int(end))

    def _knows_topic(self, process: SimProcess) -> bool:
        if not self._topic_id:
            image = process.node.broker.image
            self._topic_id = image.topic_ids.get(GROUP_TOPIC, b"")
        return bool(self._topic_id)

    def _read(self, process: SimProcess, first: int, end: float) -> None:
        files = process.files
        hook, files.before = files.before, None
        try:
            segments = read_segments(files, self._topic_id, self._number)
        finally:
            files.before = hook
        for segment in segments:
            for position, header in iter_headers(segment):
                if first <= header.base_offset < end and header.records_count:
                    self._batches.setdefault(
                        header.base_offset,
                        (
                            wall_to_virtual_ms(header.base_timestamp),
                            [
                                decode_group_record(each.key, each.value)
                                for each in decode_records(segment, position, WireRecord)
                            ],
                        ),
                    )

    def decisions(self) -> Iterator[tuple[int, list[GroupRecord]]]:
        """All of the log, when every node has all of it: when each batch was appended, and what it
        says."""
        for process in self._processes.values():
            if self._knows_topic(process):
                self._read(process, 0, float("inf"))
        for offset in sorted(self._batches):
            yield self._batches[offset]
