"""Showing what is in one file of a data directory, offline: `logd log dump FILE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from logd_wire import BatchHeader, read_header
from logd_wire.errors import ConfigError, CorruptBatchError
from logd_wire.limits import BATCH_HEADER_BYTES

from logd.storage.cleaner.state import FILE_NAME as STATE_FILE
from logd.storage.cleaner.state import decode_state
from logd.storage.damage import Damage
from logd.storage.epochs import FILE_NAME as EPOCHS_FILE
from logd.storage.epochs import decode_epochs
from logd.storage.files import read_all
from logd.storage.layout import COPY_SUFFIX, DELETED_SUFFIX, SNAPSHOT_SUFFIX, offset_in_name
from logd.storage.ledger import Ledger, partition_label
from logd.storage.producers import decode_snapshot
from logd.storage.real_files import RealFiles
from logd.storage.segment import (
    DIGEST_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    decode_digest,
    decode_index,
    decode_time_index,
)
from logd.storage.walk import Walker


class DumpEntry(NamedTuple):
    """One thing in a file: its kind, the byte it lies at, and its fields by name.

    Kinds: batch, damage, index, time, digest, producer, epoch, ledger.
    """

    kind: str
    position: int
    fields: dict[str, int | str | bool]


def dump_file(path: str | Path, *, verify: bool = False) -> Iterator[DumpEntry]:
    """Yield what a file of a partition directory, or a ledger, holds.

    Batches: every header; with `verify` CRCs and the chain of offsets are checked too and what
    does not hold is yielded as `damage`. ConfigError: not a file of ours, or damaged as a whole.
    """
    target = Path(path)
    if not target.is_file():
        raise ConfigError(f"{target} is not a file", hint="name a .log, .index or ledger file")
    name = target.name
    for suffix in (DELETED_SUFFIX, COPY_SUFFIX):
        name = name.removesuffix(suffix)
    if name.endswith(LOG_SUFFIX):
        base = offset_in_name(name, LOG_SUFFIX)
        return _verified(target, base or 0) if verify else _headers(target)
    if name == "ledger":
        return _ledger(target)
    return _sidecar(target, name)


def _batch_entry(position: int, header: BatchHeader) -> DumpEntry:
    fields: dict[str, int | str | bool] = {
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "records": header.records_count,
        "size": header.size,
        "leader_epoch": header.leader_epoch,
        "compression": header.compression.name.lower(),
        "base_timestamp": header.base_timestamp,
        "max_timestamp": header.max_timestamp,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "crc": f"{header.crc:#010x}",
    }
    return DumpEntry("batch", position, fields)


def _headers(path: Path) -> Iterator[DumpEntry]:
    file = RealFiles(path.parent).open(path.name, read_only=True)
    try:
        size = file.size()
        position = 0
        while position < size:
            try:
                header = read_header(file.pread(BATCH_HEADER_BYTES, position))
                if position + header.size > size:
                    raise CorruptBatchError(f"the batch is cut at the end of the file ({size})")
            except CorruptBatchError as error:
                yield DumpEntry("damage", position, {"reason": error.message})
                return
            yield _batch_entry(position, header)
            position += header.size
    finally:
        file.close()


def _verified(path: Path, base: int) -> Iterator[DumpEntry]:
    files = RealFiles(path.parent)
    size = files.size(path.name)
    with Walker.over(
        files,
        path.name,
        segment_base=base,
        end_position=size,
        expected=base,
        epochs=None,
        resync=True,
    ) as walker:
        for item in walker:
            if isinstance(item, Damage):
                yield _damage_entry(item)
            else:
                yield _batch_entry(item.position, item.header)
        if walker.position < size:
            reason = f"{size - walker.position} bytes at the end are not batches"
            yield DumpEntry("damage", walker.position, {"reason": reason})


def _damage_entry(damage: Damage) -> DumpEntry:
    fields: dict[str, int | str | bool] = {
        "start_offset": damage.start_offset,
        "end_offset": damage.end_offset,
        "reason": damage.reason,
    }
    return DumpEntry("damage", damage.position, fields)


def _ledger(path: Path) -> Iterator[DumpEntry]:
    ends = Ledger.peek(RealFiles(path.parent), path.name)
    for key, end_offset in sorted(ends.items()):
        yield DumpEntry(
            "ledger", 0, {"partition": partition_label(key), "durable_end_offset": end_offset}
        )


def _sidecar(path: Path, name: str) -> Iterator[DumpEntry]:
    data = read_all(RealFiles(path.parent), path.name)
    entries: list[DumpEntry] | None = None
    for suffix, decode in _DECODERS.items():
        base = offset_in_name(name, suffix)
        if base is not None:
            rows = decode(data, base)
            entries = None if rows is None else _entries(_KINDS[suffix], rows)
            break
    else:
        if name not in (EPOCHS_FILE, STATE_FILE):
            raise ConfigError(
                f"{path} is not a file that can be shown",
                hint="name a segment, one of the files beside it, leader-epochs, cleaned or a"
                " ledger",
            )
        entries = _epochs(data) if name == EPOCHS_FILE else _clean_state(data)
    if entries is None:
        raise ConfigError(
            f"{path} is damaged: it does not verify",
            hint="it is made anew from the segment when the node needs it",
        )
    return iter(entries)


def _epochs(data: bytes) -> list[DumpEntry] | None:
    epochs = decode_epochs(data)
    if epochs is None:
        return None
    pairs = zip(epochs.epochs, epochs.starts, strict=True)
    return _entries("epoch", [{"epoch": epoch, "start_offset": start} for epoch, start in pairs])


def _clean_state(data: bytes) -> list[DumpEntry] | None:
    state = decode_state(data)
    return None if state is None else _entries("cleaned", [state._asdict()])


def _entries(kind: str, rows: list[dict[str, int]]) -> list[DumpEntry]:
    return [DumpEntry(kind, index, dict(row)) for index, row in enumerate(rows)]


_DECODERS = {
    INDEX_SUFFIX: decode_index,
    TIME_INDEX_SUFFIX: decode_time_index,
    DIGEST_SUFFIX: decode_digest,
    SNAPSHOT_SUFFIX: decode_snapshot,
}
_KINDS = {
    INDEX_SUFFIX: "index",
    TIME_INDEX_SUFFIX: "time",
    DIGEST_SUFFIX: "digest",
    SNAPSHOT_SUFFIX: "producer",
}
