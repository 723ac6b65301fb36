"""Damage at or below the ledger and in sealed segments: found, never served, the rest readable."""

from __future__ import annotations

import errno
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import DataLossError, StorageFailedError
from logd_wire.limits import BATCH_HEADER_BYTES

from logd.storage import LogView, MemoryFiles, PartitionLog
from tests.unit.storage.kit import (
    DIRECTORY,
    Stored,
    append,
    content_of,
    create,
    fill,
    flip,
    headers_of,
    make_batch,
    overwrite,
    path_of,
    read_from,
    reopen,
    sync,
)

#: Bytes of a batch header that its CRC does not cover: base offset, length, epoch, magic, CRC.
OUTSIDE_CRC = range(21)


def served(view: LogView) -> tuple[list[Stored], list[tuple[int, int]]]:
    """Read everything that can be read; return it and the ranges that were refused."""
    stored: list[Stored] = []
    lost: list[tuple[int, int]] = []
    offset = view.start_offset
    while offset < view.written_end_offset:
        try:
            read = view.read(offset, bytes_max=700, limit_offset=view.written_end_offset)
        except DataLossError as error:
            assert error.next_offset > offset
            lost.append((offset, error.next_offset))
            offset = error.next_offset
            continue
        data = read.records
        for position, size in headers_of(data):
            base = int.from_bytes(data[position : position + 8], "big")
            delta = int.from_bytes(data[position + 23 : position + 27], "big")
            stored.append(Stored(base, base + delta + 1, data[position : position + size]))
        offset = read.next_offset
    return stored, lost


def prepared(clean: bool, batches: int = 25) -> tuple[MemoryFiles, list[Stored], int]:
    """A stopped log of several segments; returns files, batches, base of the last segment."""
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, batches)
    log.close(clean=clean)
    return files, stored, bases_of(files)[-1]


def bases_of(files: MemoryFiles) -> list[int]:
    names = [entry.name for entry in files.list_dir(DIRECTORY)]
    return sorted(int(name.removesuffix(".log")) for name in names if name.endswith(".log"))


def check(files: MemoryFiles, stored: list[Stored], clean: bool, hit: list[Stored]) -> None:
    """All but `hit` is served byte for byte, exactly `hit` is refused; appending goes on."""
    end = stored[-1].next_offset
    log = reopen(files, durable_end=end, clean=clean)
    found, lost = served(log.view)
    assert found == [batch for batch in stored if batch not in hit]
    assert lost == [(hit[0].base_offset, hit[-1].next_offset)]
    assert any(d.start_offset == hit[0].base_offset for d in log.view.damage)
    assert served(log.view) == (found, lost), "and again, from what is known now"
    assert append(log, make_batch()).base_offset == end
    sync(log)
    assert served(log.view)[0][:-1] == found


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("at", [*range(BATCH_HEADER_BYTES), 70, -1])
def test_one_damaged_byte_of_any_field(clean: bool, place: str, at: int) -> None:
    files, stored, last_base = prepared(clean)
    sealed = [batch for batch in stored if batch.base_offset < last_base]
    batch = {"first": sealed[0], "middle": sealed[len(sealed) // 2], "last": sealed[-1]}[place]
    damage_batch(files, stored, batch, at)
    check(files, stored, clean, [batch])


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("number", [-1, -2, -3])
@pytest.mark.parametrize("at", [*OUTSIDE_CRC, 25, 70])
def test_one_damaged_byte_of_the_last_segment_below_the_ledger(
    clean: bool, number: int, at: int
) -> None:
    files, stored, last_base = prepared(clean)
    batch = stored[number]
    assert batch.base_offset >= last_base
    damage_batch(files, stored, batch, at)
    check(files, stored, clean, [batch])


def damage_batch(files: MemoryFiles, stored: list[Stored], batch: Stored, at: int) -> None:
    base = max(base for base in bases_of(files) if base <= batch.base_offset)
    data = content_of(files, path_of(base))
    position = data.index(batch.data) + (at if at >= 0 else len(batch.data) + at)
    overwrite(files, path_of(base), flip(data, position, 0x11))


def test_a_damaged_epoch_outside_the_crc_is_found() -> None:
    files, stored, _ = prepared(clean=False)
    data = content_of(files, path_of(0))
    overwrite(files, path_of(0), data[:12] + (1).to_bytes(4, "big") + data[16:])
    check(files, stored, False, [stored[0]])


@given(seed=st.integers(0, 2**32), clean=st.booleans(), size=st.integers(1, 900))
def test_random_damage_anywhere_is_never_served(seed: int, clean: bool, size: int) -> None:
    rng = random.Random(seed)
    files, stored, _ = prepared(clean)
    name = rng.choice([e.name for e in files.list_dir(DIRECTORY) if e.name.endswith(".log")])
    path = f"{DIRECTORY}/{name}"
    data = content_of(files, path)
    position = rng.randrange(len(data))
    garbage = rng.choice((rng.randbytes(size), bytes(size)))
    overwrite(files, path, (data[:position] + garbage + data[position + size :])[: len(data)])
    log = reopen(files, durable_end=stored[-1].next_offset, clean=clean)
    found, lost = served(log.view)
    assert set(found) <= set(stored)
    refused = [b for b in stored if any(s <= b.base_offset < e for s, e in lost)]
    assert sorted(found + refused) == stored, "each batch is served or refused, none is skipped"
    bad = content_of(files, path)
    spoilt = [b for b in stored if b.data in data and b.data not in bad]
    assert set(spoilt) <= set(refused)
    assert len(refused) <= len(spoilt) + 1, "little more than what was hit"


def test_a_batch_inside_of_a_damaged_record_is_not_taken_for_one_of_the_log() -> None:
    files = MemoryFiles()
    log = create(files)
    inner = bytearray(make_batch())
    inner[0:8] = (1).to_bytes(8, "big")
    inner[12:16] = bytes(4)
    batch = make_batch()
    nest = make_batch_of(bytes(inner))
    for data in (batch, nest, batch):
        append(log, data)
    sync(log)
    log.close(clean=False)
    data = content_of(files, path_of(0))
    # The length of the nest: the walk must search, and the inner batch is the first it meets.
    overwrite(files, path_of(0), flip(data, len(batch) + 11, 0x40))
    log = reopen(files, durable_end=3)
    found, lost = served(log.view)
    assert [b.base_offset for b in found] == [0, 2]
    assert lost == [(1, 2)]


def make_batch_of(value: bytes) -> bytes:
    return encode_batch([WireRecord(0, 1000, None, value, ())])


@pytest.mark.parametrize("clean", [True, False])
def test_a_sealed_segment_that_is_missing(clean: bool) -> None:
    _, stored, _ = prepared(clean, batches=60)
    bases = bases_of(prepared(clean, batches=60)[0])
    assert len(bases) > 4
    for base, following in ((bases[0], bases[1]), (bases[2], bases[3])):
        files, _, _ = prepared(clean, batches=60)
        files.unlink(path_of(base))
        hit = [b for b in stored if base <= b.base_offset < following]
        check(files, stored, clean, hit)


@pytest.mark.parametrize("clean", [True, False])
def test_the_last_segment_is_missing(clean: bool) -> None:
    files, stored, last_base = prepared(clean)
    files.unlink(path_of(last_base))
    check(files, stored, clean, [b for b in stored if b.base_offset >= last_base])


def test_every_segment_is_missing() -> None:
    files, stored, _ = prepared(clean=False)
    for entry in files.list_dir(DIRECTORY):
        if entry.name.endswith(".log"):
            files.unlink(f"{DIRECTORY}/{entry.name}")
    check(files, stored, False, stored)


@pytest.mark.parametrize("clean", [True, False])
def test_a_sealed_segment_that_is_cut(clean: bool) -> None:
    files, stored, _ = prepared(clean)
    data = content_of(files, path_of(0))
    last_position, _ = headers_of(data)[-1]
    overwrite(files, path_of(0), data[: last_position + 30])
    batch = next(b for b in stored if b.data == data[last_position:])
    check(files, stored, clean, [batch])


@pytest.mark.parametrize("clean", [True, False])
def test_a_segment_of_another_partition(clean: bool) -> None:
    """Same offsets, epochs and sizes, each batch valid: only the digest can tell."""
    files, stored, _ = prepared(clean)
    foreign = MemoryFiles()
    log = create(foreign)
    for number in range(25):
        append(log, make_batch(1 + number % 3, fill=number + 100, timestamp=1000 * number))
    sync(log)
    log.close(clean=True)
    data = content_of(foreign, path_of(0))
    assert len(data) == len(content_of(files, path_of(0)))
    overwrite(files, path_of(0), data)
    hit = [b for b in stored if b.base_offset < stored_in(data)]
    check(files, stored, clean, hit)


def stored_in(data: bytes) -> int:
    return sum(
        int.from_bytes(data[position + 57 : position + 61], "big")
        for position, _ in headers_of(data)
    )


def test_a_damaged_batch_before_an_unledgered_tail_does_not_lose_the_tail() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 6)
    ledger_end = stored[3].next_offset
    log.close(clean=False)
    damage_batch(files, stored, stored[3], 65)
    log = reopen(files, durable_end=ledger_end)
    found, lost = served(log.view)
    assert lost == [(stored[3].base_offset, ledger_end)]
    assert found == [*stored[:3], *stored[4:]]
    assert log.recovery.copied_bytes == sum(len(b.data) for b in stored[4:])


def test_damage_below_the_start_is_no_damage() -> None:
    files, stored, _ = prepared(clean=False)
    damage_batch(files, stored, stored[0], 70)
    log = reopen(files, durable_end=stored[-1].next_offset)
    served(log.view)
    assert log.view.damage
    log.trim(stored[1].base_offset)
    assert not log.view.damage
    assert read_from(log.view, log.view.start_offset) == stored[1:]


def test_both_copies_of_the_start_are_damaged() -> None:
    files, stored, _ = prepared(clean=False)
    log = reopen(files, durable_end=stored[-1].next_offset)
    log.trim(stored[-1].base_offset)
    log.close(clean=False)
    overwrite(files, f"{DIRECTORY}/log-start", bytes(1024))
    log = reopen(files, durable_end=stored[-1].next_offset)
    assert "log-start" in log.recovery.rebuilt
    assert read_from(log.view, log.view.start_offset)[-1] == stored[-1]


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 20])
@pytest.mark.parametrize("clean", [True, False])
def test_a_damaged_epoch_file_is_made_anew(content: bytes | None, clean: bool) -> None:
    files = MemoryFiles()
    log = create(files)
    stored = [*fill(log, 15, leader_epoch=3), *fill(log, 15, leader_epoch=8)]
    log.close(clean=clean)
    path = f"{DIRECTORY}/leader-epochs"
    if content is None:
        files.unlink(path)
    else:
        overwrite(files, path, content)
    log = reopen(files, durable_end=stored[-1].next_offset, clean=clean)
    assert "leader-epochs" in log.recovery.rebuilt
    assert log.end_offset_for_epoch(3) == (3, stored[15].base_offset)
    assert log.leader_epoch == 8
    assert read_from(log.view, 0) == stored
    again = reopen(files, durable_end=stored[-1].next_offset)
    assert "leader-epochs" not in again.recovery.rebuilt


def test_seeking_by_time_passes_over_damage() -> None:
    files, stored, _ = prepared(clean=False)
    damage_batch(files, stored, stored[5], 65)
    log: PartitionLog = reopen(files, durable_end=stored[-1].next_offset)
    end = log.view.written_end_offset
    hit = log.view.offset_for_time(5000, end)
    assert hit == (stored[6].base_offset, 6000)


def test_an_error_of_a_read_is_typed_and_passes() -> None:
    files, stored, _ = prepared(clean=False)
    log = reopen(files, durable_end=stored[-1].next_offset)

    def before(operation: str, path: str) -> None:
        if operation == "pread":
            raise OSError(errno.EIO, "unreadable sector")

    files.before = before
    with pytest.raises(StorageFailedError, match="unreadable sector"):
        log.view.read(0, bytes_max=1, limit_offset=1)
    files.before = None
    assert read_from(log.view, 0) == stored
