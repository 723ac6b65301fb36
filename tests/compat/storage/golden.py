"""What the files of storage format 1 looked like when they were released.

`python -m tests.compat.storage.golden` writes `format_1.json` anew. Do so only for a format that no
release has written yet; a later format gets a file of its own beside this one.
"""

from __future__ import annotations

import json
from pathlib import Path

from logd_wire import WireRecord, encode_batch, verify_batch

from logd.storage import DataDirectory, Files, Ledger, LogConfig, MemoryFiles, PartitionLog
from logd.storage.files import join

PATH = Path(__file__).with_name("format_1.json")
KEY = (bytes(range(16)), 3)
CONFIG = LogConfig(segment_bytes=700, index_interval_bytes=200)
CLUSTER_ID = b"cluster-id-16-by"
DIRECTORY_ID = b"directory-id-16b"
END_OFFSET = 24
START_OFFSET = 7


def make_batch(number: int) -> bytes:
    """Two plain records, with a producer's stamp in every batch with an odd number."""
    odd = number % 2 == 1
    records = [
        WireRecord(0, 1_000 * number, b"key", b"value %d" % number, (("name", b"header"),)),
        WireRecord(1, 1_000 * number + 1, None, b"x" * 40, ()),
    ]
    return encode_batch(
        records,
        producer_id=77 if odd else -1,
        producer_epoch=1 if odd else -1,
        base_sequence=number - 1 if odd else -1,
    )


def write_directory(files: Files) -> None:
    """Make a data directory with every kind of file, cleanly stopped."""
    directory = DataDirectory.open_or_create(
        files, node_id=5, cluster_id=CLUSTER_ID, new_ids=lambda: DIRECTORY_ID
    )
    log = PartitionLog.create(files, directory.partition_path(KEY), CONFIG)
    for number in range(END_OFFSET // 2):
        batch = make_batch(number)
        epoch = 2 + number // 5
        log.append(batch, verify_batch(batch), leader_epoch=epoch, now_ms=50_000 + number)
    log.trim(START_OFFSET)
    log.close(clean=True)
    ledger = Ledger.open(files, "ledger")
    ledger.append({KEY: END_OFFSET})
    ledger.sync()
    directory.close(clean=True)


def contents(files: Files, path: str = "") -> dict[str, str]:
    """Every file below `path`, as hex; the zeros at the end of the ledger are left out."""
    found: dict[str, str] = {}
    for entry in files.list_dir(path):
        child = join(path, entry.name)
        if entry.is_dir:
            found.update(contents(files, child))
            continue
        data = files.open(child, read_only=True).pread(entry.size, 0)
        found[child] = (data.rstrip(b"\0") if child == "ledger" else data).hex()
    return found


def load() -> dict[str, bytes]:
    """Return the released files by path."""
    return {path: bytes.fromhex(data) for path, data in json.loads(PATH.read_text()).items()}


def main() -> None:
    files = MemoryFiles()
    write_directory(files)
    PATH.write_text(json.dumps(contents(files), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
