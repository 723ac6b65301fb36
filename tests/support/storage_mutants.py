"""Planted bugs in storage, and a run that shows that the tests see each of them.

`python -m tests.support.storage_mutants [NAME ...]` copies `logd/` aside, plants one bug at a time
and runs the tests of storage against the copy. A bug that no test sees is a failure. A unit test
checks that every anchor is still there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.copying_mutants import COPYING_MUTANTS
from tests.support.planting import first_failure, plant_in, report
from tests.support.storage_mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
_TESTS = "tests/unit/storage"


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
        "index = bisect_right(self.relative, relative) - 1\n        return (self.relative",
        "index = bisect_right(self.relative, relative + 1) - 1\n        return (self.relative",
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
        "        append_ms = max(now_ms, segment.last_append_ms)\n",
        "        append_ms = max(now_ms, segment.last_append_ms)\n"
        "        if header.producer_id >= 0 and header.base_sequence >= 0:\n"
        "            self._producers.record(header, base_offset, append_ms)\n",
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
    Mutant(
        "cleaner-drops-the-last-value",
        "cleaner/rewrite",
        "key is None or get(key) > offset:",
        "key is None or get(key) >= offset:",
    ),
    Mutant(
        "cleaner-keeps-every-value",
        "cleaner/rewrite",
        "key is None or get(key) > offset:",
        "key is None or get(key) > offset + 10**9:",
    ),
    Mutant(
        "tombstone-goes-before-its-horizon",
        "cleaner/rewrite",
        "        return plan.now_ms >= max(header.base_timestamp, plan.horizon_floor_ms)",
        "        return plan.now_ms >= plan.horizon_floor_ms",
    ),
    Mutant(
        "tombstone-goes-with-its-first-pass",
        "cleaner/rewrite",
        "if not header.has_delete_horizon or plan.tombstones_braked:\n            return False",
        "if not header.has_delete_horizon:\n            return True",
    ),
    Mutant(
        "tombstone-goes-while-the-clock-is-braked",
        "cleaner/rewrite",
        "not header.has_delete_horizon or plan.tombstones_braked",
        "not header.has_delete_horizon",
    ),
    Mutant(
        "tombstone-goes-before-all-replicas-have-it",
        "cleaner/rewrite",
        "not may_drop_tombstones or offset >= plan.tombstones_kept_from",
        "not may_drop_tombstones",
    ),
    Mutant(
        "tombstone-never-goes",
        "cleaner/rewrite",
        "keeps = not may_drop_tombstones or",
        "keeps = True or",
    ),
    Mutant(
        "horizon-begins-anew-with-each-pass",
        "cleaner/rewrite",
        "if not kept.has_tombstone or header.has_delete_horizon:",
        "if not kept.has_tombstone:",
    ),
    Mutant(
        "offsets-shifted",
        "cleaner/output",
        "        self._fill_up_to(header.base_offset, append_ms)\n",
        "        batch = stamp(batch, self._segment.next_offset, header.leader_epoch)\n"
        "        header = read_header(batch)\n",
    ),
    Mutant(
        "gap-crosses-a-leader-epoch",
        "cleaner/output",
        "            until = min(until, change)\n",
        "            until += 0\n",
    ),
    Mutant(
        "last-sequence-of-a-producer-lost",
        "cleaner/rewrite",
        "if not survivors and not self._is_in_a_window(header.base_offset):",
        "if not survivors:",
    ),
    Mutant(
        "only-the-newest-batch-of-a-window-kept",
        "producers",
        "in producer.window\n            if batch.base_offset < end_offset",
        "in producer.window[-1:]\n            if batch.base_offset < end_offset",
    ),
    Mutant(
        "cleaned-file-not-synced",
        "cleaner/output",
        "        self._file.sync()\n",
        "        self._file.size()\n",
    ),
    Mutant(
        "swap-not-synced-before-the-sources-go",
        "cleaner/swap",
        "    files.sync_dir(directory)\n    tag =",
        "    tag =",
    ),
    Mutant(
        "sources-removed-without-a-sync",
        "deletion",
        "        if segments:\n            files.sync_dir",
        "        if not segments:\n            files.sync_dir",
    ),
    Mutant(
        "swap-not-finished-by-a-start",
        "recovery",
        "        if not layout.swaps:\n            return layout, []\n",
        "        if not layout.segments or layout.segments:\n            return layout, []\n",
    ),
    Mutant(
        "start-forgets-the-sources-of-a-swap",
        "cleaner/swap",
        "            if base <= other < next_offset:",
        "            if base == other < next_offset:",
    ),
    Mutant(
        "cleaner-passes-the-high-watermark",
        "cleaner/plan",
        "        if segment.next_offset > limit_offset:",
        "        if segment.base_offset > limit_offset:",
    ),
    Mutant(
        "lag-counts-for-nothing",
        "cleaner/plan",
        "if config.min_compaction_lag_ms and moment.now_ms < old_enough_ms:",
        "if config.min_compaction_lag_ms < 0 and moment.now_ms < old_enough_ms:",
    ),
    Mutant(
        "the-mark-moves-though-the-map-was-full",
        "cleaner/control",
        "first_dirty=result.mapped_end,",
        "first_dirty=self._log.cleaning_inputs().segments[-1].base_offset,",
    ),
    Mutant(
        "deletes-are-forgotten-without-a-note",
        "cleaner/control",
        "        if not self._notes_forgotten(result.forgotten_end):\n            return False\n",
        "",
    ),
    Mutant(
        "a-cut-behind-the-last-swap-is-not-seen",
        "cleaner/control",
        "        if result.generation != self._log.cleaning_inputs().generation:\n",
        "        if result.generation < 0:\n",
    ),
    Mutant(
        "records-above-the-full-map-dropped",
        "cleaner/rewrite",
        "            if offset >= mapped_end:\n                keeps = True\n",
        "            if offset >= mapped_end:\n                keeps = False\n",
    ),
    Mutant(
        "a-pass-survives-a-truncation",
        "cleaner/control",
        "            result.generation != inputs.generation\n            or [one",
        "            [one",
    ),
    Mutant(
        "the-mark-survives-a-truncation",
        "partition_log",
        "        self._sync.guarded(lambda: self.cleaning.lower(border))\n",
        "",
    ),
    Mutant(
        "the-mark-is-lowered-into-a-batch-that-goes",
        "partition_log",
        "        border = self.view.batch_border(offset)\n",
        "        border = offset\n",
    ),
    Mutant(
        "old-files-share-a-name",
        "deletion",
        'suffix = f"{LOG_SUFFIX}.{tag}{DELETED_SUFFIX}" if tag else',
        'suffix = f"{LOG_SUFFIX}{DELETED_SUFFIX}" if tag else',
    ),
    Mutant(
        "damage-is-cleaned-over",
        "cleaner/rewrite",
        '                    raise CleaningError(f"it is damaged: {item}")',
        "                    continue",
    ),
    Mutant(
        "retention-by-the-wall-clock-alone",
        "clock_guard",
        "        return steady + boot_ms - since\n",
        "        return self._wall_ms\n",
    ),
    Mutant(
        "retention-does-not-heed-the-brake",
        "retention",
        "    if config.retention_ms < 0 or moment.brake:\n        return None",
        "    if config.retention_ms < 0:\n        return None",
    ),
    Mutant(
        "old-stamps-are-believed",
        "retention",
        "not segment.first_append_ms - retention_ms <= stamp_ms <= append_ms",
        "not stamp_ms <= append_ms",
    ),
    Mutant(
        "nothing-is-younger-for-a-clock-set-anew",
        "retention",
        "    return max(stamp_ms, moment.trusted_since_ms)\n",
        "    return stamp_ms\n",
    ),
    Mutant(
        "small-steps-of-the-clock-make-old",
        "clock_guard",
        "self._wall_ms) - self._led_ms\n",
        "self._wall_ms)\n",
    ),
    Mutant(
        "a-clock-is-believed-at-once-after-a-boot",
        "clock_guard",
        "if not saved.braked and 0 <= ahead_ms <= DOWN_MS_MAX:",
        "if not saved.braked:",
    ),
    Mutant(
        "retention-by-number-one-too-many",
        "retention",
        "    if 0 <= config.retention_records <= behind:",
        "    if 0 <= config.retention_records <= behind + 1:",
    ),
    *COPYING_MUTANTS,
)

_EXTRA_IMPORT = {
    "copied-without-a-look": (
        "import BatchHeader, verify_batch",
        "import BatchHeader, read_header",
    ),
    "first-batch-not-synced": ("import write_synced", "import write_plain"),
    "high-watermarks-written-in-place": (
        "import Files, read_all, write_atomic",
        "import Files, read_all, write_synced",
    ),
    "offsets-shifted": (
        "import BatchHeader, empty_batch, read_header",
        "import BatchHeader, empty_batch, read_header, stamp",
    ),
    "epochs-written-in-place": (
        "import Files, join, read_all, write_atomic",
        "import Files, join, read_all, write_plain",
    ),
}


def source(module: str) -> Path:
    return Path("logd") / "storage" / f"{module}.py"


def plant(mutant: Mutant, root: Path) -> None:
    """Change the copy below `root`; ValueError if the anchor is not there exactly once."""
    path = root / source(mutant.module)
    plant_in(path, mutant)
    if mutant.name in _EXTRA_IMPORT:
        path.write_text(path.read_text().replace(*_EXTRA_IMPORT[mutant.name]))


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
        return first_failure(root, _tests(root))


def _tests(root: Path) -> list[str]:
    """Every test of storage, the one that takes longest to shrink its failures last."""
    names = {file.name for file in (root / _TESTS).glob("test_*.py")}
    last = "test_log_machine.py"
    ordered = [*sorted(names - {last, "test_mutants.py"}), last]
    return [f"{_TESTS}/{name}" for name in ordered]


def main(names: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    return report(MUTANTS, names, caught_by)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
