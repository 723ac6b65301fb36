"""Planted bugs in what copies a log from another replica."""

from __future__ import annotations

from tests.support.storage_mutant import Mutant

COPYING_MUTANTS = (
    Mutant(
        "copied-without-a-look",
        "copying",
        "        return verify_batch(batches, position)\n",
        "        return read_header(batches, position)\n",
    ),
    Mutant(
        "copied-over-what-differs",
        "copying",
        "            elif header.base_offset < end and log.is_empty:\n",
        "            elif header.base_offset < end:\n",
    ),
    Mutant(
        "begins-inside-never",
        "copying",
        "            elif header.base_offset < end and log.is_empty:\n",
        "            elif header.base_offset < 0:\n",
    ),
    Mutant(
        "copied-under-an-epoch-that-is-over",
        "partition_log",
        "        if leader_epoch < latest:\n",
        "        if leader_epoch < 0:\n",
    ),
    Mutant(
        "epochs-without-a-batch-stay",
        "partition_log",
        "        self._forget_empty_epochs()\n        self.begin_epoch(leader_epoch)\n",
        "        self.begin_epoch(leader_epoch)\n",
    ),
    Mutant(
        "an-epoch-begins-where-its-batch-is-not",
        "copying",
        "    if header.base_offset == end and header.leader_epoch != log.leader_epoch:\n",
        "    if header.leader_epoch != log.leader_epoch:\n",
    ),
    Mutant(
        "copied-producers-forgotten",
        "partition_log",
        "        self._store(batch, header, header.leader_epoch, append_ms)\n",
        "        bare = header._replace(producer_id=-1)\n"
        "        self._store(batch, bare, header.leader_epoch, append_ms)\n",
    ),
    Mutant(
        "epoch-begins-at-the-start-not-at-the-batch",
        "partition_log",
        "LeaderEpochs().begin(header.leader_epoch, header.base_offset)",
        "LeaderEpochs().begin(header.leader_epoch, self._end)",
    ),
    Mutant(
        "name-of-the-first-batch-not-synced",
        "partition_log",
        "        self._end = segment.next_offset\n        self._sync.names_changed()\n",
        "        self._end = segment.next_offset\n",
    ),
    Mutant(
        "first-batch-not-synced",
        "inside",
        "    write_synced(files, segment.path + COPY_SUFFIX, batch)\n",
        "    write_plain(files, segment.path + COPY_SUFFIX, batch)\n",
    ),
    Mutant(
        "log-deleted-before-the-ledger-knows",
        "fresh",
        "    ledger.append({key: FORGOTTEN})\n    ledger.sync()\n"
        "    directory.delete_partition(key)\n",
        "    directory.delete_partition(key)\n"
        "    ledger.append({key: FORGOTTEN})\n    ledger.sync()\n",
    ),
    Mutant(
        "ledger-forgets-a-log-unsynced",
        "fresh",
        "    ledger.append({key: FORGOTTEN})\n    ledger.sync()\n",
        "    ledger.append({key: FORGOTTEN})\n",
    ),
    Mutant(
        "readers-of-a-cut-log-mark-what-comes-after",
        "partition_log",
        "            replace(self._context),\n",
        "            self._context,\n",
    ),
    Mutant(
        "damage-below-the-cut-forgotten",
        "partition_log",
        "self._context.damage.below(self._end)",
        "self._context.damage.below(0)",
    ),
    Mutant(
        "batch-border-is-the-offset",
        "reader",
        "        return read_header(found.records).base_offset\n",
        "        return offset\n",
    ),
    Mutant(
        "append-time-of-the-entry-before",
        "segment",
        "        index = bisect_right(self.relative, relative)\n",
        "        index = bisect_right(self.relative, relative) - 1\n",
    ),
    Mutant(
        "high-watermarks-written-in-place",
        "high_watermarks",
        "    write_atomic(files, FILE_NAME, data)\n",
        "    write_synced(files, FILE_NAME, data)\n",
    ),
)
