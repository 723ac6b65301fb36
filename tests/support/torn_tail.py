"""Damage beyond the ledger at a given byte: what opening must make of it.

`make test` samples positions, `make proof` runs every byte of a 64 KiB tail.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from logd_wire import WireRecord, encode_batch, stamp, verify_batch

from logd.storage import LogConfig, MemoryFiles, PartitionLog
from logd.storage.files import File

KINDS = ("cut", "zeroed", "garbage")
TAIL_BYTES = 64 * 1024
_DIRECTORY = "partition"
_CONFIG = LogConfig(segment_bytes=1 << 20)


@dataclass(frozen=True)
class TailImage:
    """A segment whose ledger ends at byte `ledger_position`, offset `ledger_end`.

    `borders` are (position, offset) of each batch end from there on.
    """

    segment: bytes
    ledger_end: int
    ledger_position: int
    borders: tuple[tuple[int, int], ...]
    sidecars: dict[str, bytes]


def build_image(tail_bytes: int = TAIL_BYTES, seed: int = 1) -> TailImage:
    """Write a log of about 8 KiB below the ledger and exactly `tail_bytes` beyond."""
    rng = random.Random(seed)
    files = MemoryFiles()
    log = PartitionLog.create(files, _DIRECTORY, _CONFIG)
    borders: list[tuple[int, int]] = []
    position, ledger_end, ledger_position = 0, 0, 0
    while position < 8192 or position - ledger_position < tail_bytes:
        if not ledger_position and position >= 8192:
            ledger_position, ledger_end = position, log.view.written_end_offset
        left = ledger_position + tail_bytes - position if ledger_position else 4096
        batch = _batch(rng, left)
        log.append(batch, verify_batch(batch), leader_epoch=3, now_ms=1000)
        position += len(batch)
        if ledger_position:
            borders.append((position, log.view.written_end_offset))
    log.close(clean=False)
    contents = {
        entry.name: _read(files.open(f"{_DIRECTORY}/{entry.name}"))
        for entry in files.list_dir(_DIRECTORY)
    }
    segment = contents.pop(f"{0:020d}.log")
    return TailImage(segment, ledger_end, ledger_position, tuple(borders), contents)


def _batch(rng: random.Random, left: int) -> bytes:
    """Return a batch of at most `left` bytes that leaves nothing or room for another."""
    size = left if left < 500 else rng.choice((100, 200, min(900, left - 200)))
    for value in range(size, 0, -1):
        records = [WireRecord(0, 1000, None, rng.randbytes(value), ())]
        batch = encode_batch(records)
        if len(batch) <= size:
            break
    return batch


def _read(file: File) -> bytes:
    return file.pread(file.size(), 0)


def _write(files: MemoryFiles, name: str, data: bytes) -> None:
    file = files.open(f"{_DIRECTORY}/{name}", create=True)
    if data:
        file.pwrite([data], 0)
    file.sync()


def damaged(image: TailImage, position: int, kind: str, rng: random.Random) -> bytes:
    """Return the segment with everything from `position` on cut, zeroed or replaced."""
    rest = len(image.segment) - position
    tail = {"cut": b"", "zeroed": bytes(rest), "garbage": rng.randbytes(rest)}[kind]
    return image.segment[:position] + tail


def check(image: TailImage, position: int, kind: str, seed: int = 0) -> None:
    """Open the damaged log twice and append to it; AssertionError if anything is wrong."""
    rng = random.Random(f"{seed}/{position}/{kind}")
    files = MemoryFiles()
    files.make_dir(_DIRECTORY)
    for name, data in image.sidecars.items():
        _write(files, name, data)
    content = damaged(image, position, kind, rng)
    _write(files, f"{0:020d}.log", content)
    files.sync_dir(_DIRECTORY)
    files.sync_dir("")
    where = f"{kind} from byte {position} on"

    # By content, not by position: the last byte of a batch may have been zero before.
    whole = [
        (end, offset)
        for end, offset in image.borders
        if end <= position or (end <= position + 900 and content[:end] == image.segment[:end])
    ]
    end_position, end = whole[-1] if whole else (image.ledger_position, image.ledger_end)
    log = _open(files, image.ledger_end)
    view = log.view
    assert view.written_end_offset == view.durable_end_offset == end, where
    assert not view.damage, where
    assert _contents(log) == image.segment[:end_position], where

    batch = encode_batch([WireRecord(0, 1000, None, b"after", ())])
    appended = log.append(batch, verify_batch(batch), leader_epoch=3, now_ms=1000)
    assert appended.base_offset == end, where
    point = log.prepare_sync()
    assert point is not None, where
    point.run()
    log.complete_sync(point)
    log.close(clean=False)
    files.crash(rng)
    again = _open(files, end)
    assert _contents(again) == image.segment[:end_position] + stamp(batch, end, 3), where
    assert again.view.written_end_offset == end + 1, where


def _open(files: MemoryFiles, ledger_end: int) -> PartitionLog:
    return PartitionLog.open(
        files, _DIRECTORY, _CONFIG, durable_end=ledger_end, clean=False, now_ms=2000
    )


def _contents(log: PartitionLog) -> bytes:
    view = log.view
    offset, parts = view.start_offset, []
    while offset < view.written_end_offset:
        result = view.read(offset, bytes_max=1 << 20, limit_offset=view.written_end_offset)
        parts.append(result.records)
        offset = result.next_offset
    return b"".join(parts)


def run(
    image: TailImage,
    positions: Iterable[int] | None = None,
    kinds: Iterable[str] = KINDS,
) -> int:
    """Check positions (default: every byte of the tail) with each kind; return the cases run."""
    cases = 0
    if positions is None:
        positions = range(image.ledger_position, len(image.segment))
    for position in positions:
        for kind in kinds:
            check(image, position, kind)
            cases += 1
    return cases
