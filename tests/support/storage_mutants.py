"""Planted bugs in storage, and a run that shows that the tests see each of them.

`python -m tests.support.storage_mutants [NAME ...]` copies `logd/` aside, plants one bug at a time
and runs the tests of storage against the copy. A bug that no test sees is a failure. A unit test
checks that every anchor is still there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_TESTS = "tests/unit/storage"


class Mutant(NamedTuple):
    """In `logd/storage/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str


MUTANTS = (
    Mutant(
        "no-directory-sync-after-create",
        "sync",
        "            if self.names_version is not None:\n                self._state",
        "            if self.names_version is None:\n                self._state",
    ),
    Mutant(
        "ledger-ignored",
        "recovery",
        "ledger_end = max(start, durable_end or 0)",
        "ledger_end = start",
    ),
    Mutant(
        "cut-at-first-bad-crc-below-ledger",
        "recovery",
        "            resync=True,",
        "            resync=False,",
    ),
    Mutant(
        "index-off-by-one",
        "segment",
        "index = bisect_right(self.relative, relative) - 1",
        "index = bisect_right(self.relative, relative + 1) - 1",
    ),
    Mutant(
        "dedup-by-last-sequence-only",
        "producers",
        "batch.first_sequence == first and batch.last_sequence == last",
        "batch.last_sequence == last",
    ),
    Mutant(
        "producer-state-not-rebuilt",
        "recovery",
        "            header.producer_id >= 0\n",
        "            header.producer_id >= 1 << 60\n",
    ),
    Mutant(
        "sync-point-publishes-written-end",
        "partition_log",
        "            self._durable_end = point.end_offset\n",
        "            self._durable_end = self._end\n",
    ),
    Mutant(
        "trim-not-durable",
        "checkpoint",
        "            file.sync()\n",
        "            file.size()\n",
    ),
    Mutant(
        "tail-copy-not-synced",
        "tail",
        "            target.sync()\n",
        "            target.size()\n",
    ),
    Mutant(
        "full-disk-not-cut-back",
        "writing",
        "            handle.file.truncate(position)",
        "            handle.file.size()",
    ),
    Mutant(
        "producer-remembered-before-the-write",
        "partition_log",
        "        handle = self._writer or self._open_writer()\n",
        "        handle = self._writer or self._open_writer()\n"
        "        if is_sequenced:\n"
        "            self._producers.record(header, base_offset, now_ms)\n",
    ),
    Mutant(
        "epoch-not-checked-on-read",
        "reader",
        "                or leader_epoch != epoch\n",
        "",
    ),
    Mutant(
        "base-offset-not-checked-on-read",
        "reader",
        "                base != expected\n                or magic",
        "                magic",
    ),
    Mutant(
        "only-the-newest-file-is-synced",
        "sync",
        "handles = list(self.dirty.values())",
        "handles = list(self.dirty.values())[-1:]",
    ),
    Mutant(
        "clean-stop-removed-without-sync",
        "data_dir",
        '    files.unlink(_CLEAN_STOP)\n    files.sync_dir("")\n',
        "    files.unlink(_CLEAN_STOP)\n",
    ),
    Mutant(
        "retention-passes-the-high-watermark",
        "retention",
        "        if next_offset > bounds.limit_offset or",
        "        if segment.base_offset > bounds.limit_offset or",
    ),
    Mutant(
        "retention-a-millisecond-early",
        "retention",
        'return "retention.ms" if moment.now_ms - born_ms > config.retention_ms',
        'return "retention.ms" if moment.now_ms - born_ms >= config.retention_ms',
    ),
    Mutant(
        "writing-goes-on-after-a-failed-sync",
        "sync",
        "        except BaseException:\n            self._state.failed = True\n            raise\n",
        "        except BaseException:\n            raise\n",
    ),
    Mutant(
        "digest-not-checked",
        "access",
        "    if sealed_crc in (None, segment.header_crc):",
        "    if sealed_crc is None or sealed_crc >= 0:",
    ),
    Mutant(
        "ledger-lines-not-verified",
        "ledger",
        "    return len(line) == _LINE_BYTES and crc32c(line[:-4]) == ",
        "    return len(line) == _LINE_BYTES or crc32c(line[:-4]) == ",
    ),
    Mutant(
        "epochs-written-in-place",
        "epochs",
        "    write_atomic(files, join(directory, FILE_NAME), data)",
        "    write_plain(files, join(directory, FILE_NAME), data)",
    ),
    Mutant(
        "epochs-from-behind-the-end-kept",
        "recovery",
        "epochs = self._context.epochs.cut_behind(end)",
        "epochs = self._context.epochs",
    ),
    Mutant(
        "snapshots-from-behind-the-end-kept",
        "truncation",
        "    dropped = [offset for offset in snapshots if offset > end_offset]",
        "    dropped = [offset for offset in snapshots if offset > end_offset + 10**9]",
    ),
    Mutant(
        "search-takes-any-valid-batch",
        "walk",
        "self._may_follow(found) and self._is_followed(found)",
        "self._may_follow(found)",
    ),
)

_EXTRA_IMPORT = {
    "epochs-written-in-place": (
        "import Files, join, read_all, write_atomic",
        "import Files, join, read_all, write_plain",
    )
}


def source(module: str) -> Path:
    return Path("logd") / "storage" / f"{module}.py"


def plant(mutant: Mutant, root: Path) -> None:
    """Change the copy below `root`; ValueError if the anchor is not there exactly once."""
    path = root / source(mutant.module)
    text = path.read_text()
    if text.count(mutant.anchor) != 1:
        raise ValueError(f"{mutant.name}: the anchor is there {text.count(mutant.anchor)} times")
    text = text.replace(mutant.anchor, mutant.planted)
    if mutant.name in _EXTRA_IMPORT:
        text = text.replace(*_EXTRA_IMPORT[mutant.name])
    path.write_text(text)


def caught_by(mutant: Mutant) -> str:
    """Run the tests against the planted bug; return the first test that fails, '' if none does."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for folder in ("logd", "tests", "client"):
            shutil.copytree(
                ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(ROOT / "pyproject.toml", root)
        plant(mutant, root)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'client'}"}
        run = subprocess.run(
            [*command, "--tb=no", *_tests(root)],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    failures = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    return failures[0].split(" ")[1] if failures else ""


def _tests(root: Path) -> list[str]:
    """Every test of storage, the one that takes longest to shrink its failures last."""
    names = {file.name for file in (root / _TESTS).glob("test_*.py")}
    last = "test_log_machine.py"
    ordered = [*sorted(names - {last, "test_mutants.py"}), last]
    return [f"{_TESTS}/{name}" for name in ordered]


def main(names: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    missed = 0
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        test = caught_by(mutant)
        missed += not test
        print(f"{mutant.name:40} {test or 'NOT SEEN'}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
