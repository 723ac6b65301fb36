"""Checking a data directory offline, without changing a byte: `logd log verify DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logd_wire.errors import ConfigError

from logd.storage.checkpoint import OffsetCheckpoint
from logd.storage.damage import Damage
from logd.storage.data_dir import LEDGER, PARTITIONS, QUARANTINE, RAFT, parse_partition_name
from logd.storage.dump import DumpEntry, dump_file
from logd.storage.epochs import LeaderEpochs, load_epochs
from logd.storage.files import join
from logd.storage.layout import LOG_START, Layout, read_layout, swap_name
from logd.storage.ledger import Ledger
from logd.storage.real_files import RealFiles
from logd.storage.segment import Segment, SegmentIndex
from logd.storage.sidecar import identity_of
from logd.storage.walk import Walker

__all__ = ["DumpEntry", "PartitionReport", "VerifyReport", "dump_file", "verify_directory"]

_RAFT_KEY = (bytes(16), 0)


@dataclass(slots=True)
class PartitionReport:
    """What one partition log holds. `problems` are damage; `notes` are harmless."""

    path: str
    segments: int = 0
    batches: int = 0
    size_bytes: int = 0
    start_offset: int = 0
    end_offset: int = 0
    durable_end_offset: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class VerifyReport:
    """All partition logs found below a directory."""

    path: str
    partitions: list[PartitionReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(partition.problems for partition in self.partitions)


def verify_directory(path: str | Path) -> VerifyReport:
    """Check every byte of a data directory or of one partition directory.

    What lies beyond the ledger may be torn: that is noted. The node should be stopped; of a
    running one the newest batches may be missed. ConfigError: nothing of ours is there.
    """
    root = Path(path).resolve()
    if not root.is_dir():
        raise ConfigError(f"{root} is not a directory", hint="name a data or partition directory")
    report = VerifyReport(str(root))
    found = list(_logs_below(root))
    if not found:
        raise ConfigError(
            f"{root} holds no partition logs",
            hint="name a data directory (with meta.json) or a directory below partitions/",
        )
    for files, directory, durable_end in found:
        report.partitions.append(_verify_log(files, directory, durable_end))
    return report


def _logs_below(root: Path) -> Iterator[tuple[RealFiles, str, int | None]]:
    """Yield (files, directory, ledger's end) of each partition log."""
    if (root / PARTITIONS).is_dir():
        files = RealFiles(root)
        ends = Ledger.peek(files, LEDGER)
        for parent in (PARTITIONS, QUARANTINE):
            for entry in files.list_dir(parent) if files.exists(parent) else ():
                key = parse_partition_name(entry.name)
                end = ends.get(key) if key is not None else None
                if entry.is_dir:
                    yield files, join(parent, entry.name), end
        if files.exists(f"{RAFT}/log"):
            end = Ledger.peek(files, f"{RAFT}/{LEDGER}").get(_RAFT_KEY)
            yield files, f"{RAFT}/log", end
    elif any(root.glob("*.log")):
        key = parse_partition_name(root.name)
        data_directory = root.parent.parent
        end = None
        if key is not None and (data_directory / LEDGER).is_file():
            end = Ledger.peek(RealFiles(data_directory), LEDGER).get(key)
        yield RealFiles(root.parent), root.name, end


def _verify_log(files: RealFiles, directory: str, durable_end: int | None) -> PartitionReport:
    report = PartitionReport(directory, durable_end_offset=durable_end)
    layout = read_layout(files.list_dir(directory))
    _see_swaps(files, layout, report)
    start = OffsetCheckpoint(files, join(directory, LOG_START)).offset
    if start is None:
        report.problems.append(f"{LOG_START} is missing or damaged")
    epochs = load_epochs(files, directory, _identity(directory))
    if epochs is None:
        report.problems.append("leader-epochs is missing or damaged")
    bases = sorted(layout.segments)
    report.start_offset = max(start or 0, bases[0] if bases else 0)
    if start is not None and bases and bases[0] > start:
        report.problems.append(f"offsets {start} to {bases[0] - 1}: the files are missing")
    report.segments = len(bases)
    for base, following in zip(bases, [*bases[1:], None], strict=True):
        if following is None or following > report.start_offset:
            _verify_segment(files, layout, epochs, report, base=base, following=following)
    if durable_end is not None and report.end_offset < durable_end:
        report.problems.append(
            f"offsets {report.end_offset} to {durable_end - 1}: in the ledger, but not there"
        )
    return report


def _see_swaps(files: RealFiles, layout: Layout, report: PartitionReport) -> None:
    """Look at cleaned files that are about to take the place of segments, not at those."""
    for base, next_offset in sorted(layout.swaps.items()):
        for source in [each for each in layout.segments if base <= each < next_offset]:
            del layout.segments[source]
        layout.segments[base] = files.size(join(report.path, swap_name(base, next_offset)))
        report.notes.append(
            f"offsets {base} to {next_offset - 1}: the next start finishes a cleaning"
        )


def _identity(directory: str) -> int:
    """A directory in quarantine is known by the name it had."""
    name = directory.rpartition("/")[2]
    since, _, rest = name.partition("-")
    moved = since.isdecimal() and parse_partition_name(rest) is not None
    return identity_of(rest if moved else name)


def _verify_segment(
    files: RealFiles,
    layout: Layout,
    epochs: LeaderEpochs | None,
    report: PartitionReport,
    *,
    base: int,
    following: int | None,
) -> None:
    directory = report.path
    segment = Segment(directory, base)
    segment.suffix = layout.suffix_of(base)
    segment.size = layout.segments[base]
    segment.index = SegmentIndex()
    bound = following
    if bound is None:
        bound = max(report.durable_end_offset or base, base)
    damaged = False
    with Walker.over(
        files,
        segment.path,
        segment_base=base,
        end_position=segment.size,
        expected=base,
        epochs=epochs,
        bound=bound,
        resync=True,
    ) as walker:
        fresh = Segment(directory, base)
        for item in walker:
            if isinstance(item, Damage):
                damaged = True
                report.problems.append(str(item))
            else:
                fresh.add_found(item, 0, 1)
        position, expected = walker.position, walker.expected
    if following is None:
        _verify_tail(files, fresh, epochs, (position, expected, segment.size), report)
    report.batches += fresh.batches
    report.size_bytes += segment.size
    report.end_offset = fresh.next_offset if not damaged else max(fresh.next_offset, expected)
    segment.sealed = following is not None
    segment.next_offset = fresh.next_offset
    known = segment.load_digest(files, _identity(directory))
    if known and not damaged and segment.header_crc != fresh.header_crc:
        report.problems.append(
            f"{segment.path} holds other batches than were sealed there (digest)"
        )
    if not known and following is not None:
        report.notes.append(f"{segment.path} has no digest; it is made when the node needs it")


def _verify_tail(
    files: RealFiles,
    fresh: Segment,
    epochs: LeaderEpochs | None,
    reached: tuple[int, int, int],
    report: PartitionReport,
) -> None:
    """Follow what lies beyond the ledger as the next start will."""
    position, expected, size = reached
    with Walker.over(
        files,
        fresh.path,
        segment_base=fresh.base_offset,
        position=position,
        end_position=size,
        expected=expected,
        epochs=epochs,
    ) as walker:
        for item in walker:
            if not isinstance(item, Damage):
                fresh.add_found(item, 0, 1)
        if walker.position < size:
            report.notes.append(
                f"{size - walker.position} bytes beyond the ledger are not whole batches; "
                "the next start cuts them"
            )
