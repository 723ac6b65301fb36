"""The durable half of consensus: raft log, snapshots and hard state in `raft/`.

    raft/hard-state           term, vote and identity, replaced atomically
    raft/log/                 entries as record batches: LogIndex = offset, Term = leader epoch
    raft/log-replaced/        a log on its way out, see below
    raft/ledger               durable end of the log, as for partition logs
    raft/snapshot-*           the state below some index (`snapshots`)
    raft/reserve              space set aside, given up when the disk is full

Synchronous; called by the consensus driver on its own writer.

What a crash can leave, and why opening is right. S is the point of the newest snapshot.

* Hard state before entries: a term without its entries is a promise that was kept too early.
* Conflicting tail: the ledger is lowered and synced, then the log is cut (durable when that
  returns), then the new entries are written. Before the cut has begun the old tail is there, whole
  or in part, above the lowered ledger: an older log, nothing of which was denied to anybody. After
  it nothing of the old tail can come back.
* An epoch of the log that got no batch before the crash: the entry that comes to its place may be
  of an earlier term. It is taken back before that entry is appended.
* Snapshot of this node: durable, then the log below the one before it is trimmed. If the newest
  does not verify, the one before and the log behind it stand for it. If neither does, and the log
  does not begin at 0, the state is lost, and the node refuses to start.
* Snapshot of the leader: durable under its name, then the log is replaced: the ledger is lowered
  to S if it is above, `log` is renamed to `log-replaced` and removed, an empty log that begins at
  S is made. From the rename of the snapshot on, the log that was there is worth something only if
  it holds the entry before S in S's term (it is the same log then, and may go on). So an opening
  replaces a log that ends below S or differs there, whatever state the crash left it in; a missing
  one is made anew if the ledger is not above S. Otherwise it was lost, and the node refuses.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from logd_wire import BatchHeader, WireRecord, decode_batch, encode_batch, iter_headers, read_header
from logd_wire.errors import LogdError, StorageFailedError, StorageFullError

from logd.consensus.log_types import LOG_START, Entry, HardState, LogPoint, SnapshotMeta, Voters
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term
from logd.runtime.hard_state import HARD_STATE, decode_hard_state, encode_hard_state
from logd.runtime.snapshots import Snapshot, SnapshotFolder
from logd.storage import (
    Files,
    Ledger,
    LogConfig,
    LogKey,
    LogView,
    PartitionLog,
    create_log_at,
    is_no_space,
    read_all,
    remove_tree,
    write_atomic,
)

#: The raft log's line in its ledger; no topic has this id.
LOG_KEY: LogKey = (bytes(16), 0)

LOG_FOLDER = "raft/log"
LEDGER = "raft/ledger"

_FOLDER = "raft"
_REPLACED = "raft/log-replaced"
_RESERVE = "raft/reserve"
_RESERVE_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_CONFIG = LogConfig(segment_bytes=4 * 1024 * 1024, retention_ms=-1, file_delete_delay_ms=0)

#: The voters that an entry with these payloads puts in force; None: it is about something else.
VotersOf = Callable[[Sequence[bytes]], Voters | None]


@dataclass(frozen=True, slots=True)
class Found:
    """What was durable at the opening; `entries` follow the snapshot, or are the whole log."""

    hard_state: HardState | None
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]


class RaftStore:
    """Opened by `open`. `snapshots` may be read, and filled from another node, by the driver."""

    def __init__(
        self,
        files: Files,
        log: PartitionLog,
        ledger: Ledger,
        snapshots: SnapshotFolder,
        hard_state: HardState | None,
    ) -> None:
        self._files = files
        self._log = log
        self._ledger = ledger
        self._hard_state = hard_state
        self.snapshots = snapshots

    @classmethod
    def open(
        cls, files: Files, *, clean: bool, now_ms: int, voters_of: VotersOf
    ) -> tuple[RaftStore, Found]:
        """Open or make the store. ConfigError or StorageFailedError say why it cannot be used."""
        hard_state = None
        if files.exists(HARD_STATE):
            hard_state = decode_hard_state(read_all(files, HARD_STATE))
        snapshots = SnapshotFolder(files)
        snapshot = snapshots.newest()
        point = snapshot.meta.point if snapshot is not None else LOG_START
        ledger = Ledger.open(files, LEDGER)
        if files.exists(LOG_FOLDER):
            log = PartitionLog.open(
                files,
                LOG_FOLDER,
                _CONFIG,
                durable_end=ledger.ends.get(LOG_KEY),
                clean=clean,
                now_ms=now_ms,
            )
            if not _goes_on_from(log.view, point):
                log = _replace_log(files, log, ledger, point, now_ms)
        else:
            if hard_state is not None:
                _check_replaced(snapshot, ledger.ends.get(LOG_KEY, 0))
            log = _new_log(files, point, now_ms)
        store = cls(files, log, ledger, snapshots, hard_state)
        store._fill_reserve()
        with contextlib.suppress(OSError, StorageFullError):
            # What recovery kept from beyond the ledger is durable now. A save tells it otherwise.
            store._note_durable()
        return store, Found(hard_state, snapshot, _read_entries(log.view, point, voters_of))

    @property
    def view(self) -> LogView:
        """What is stored, for readers."""
        return self._log.view

    def vote_in(self, term: Term) -> NodeId:
        """Whom this node voted for in `term`, as far as it is durable; NO_NODE: nobody."""
        state = self._hard_state
        return state.vote if state is not None and state.term == term else NO_NODE

    def save(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        now_ms: int,
        *,
        install: SnapshotMeta | None = None,
    ) -> None:
        """Make everything durable; `install` names a received snapshot to begin from.

        Afterwards the log ends with `entries`: what was stored from their index on is cut.
        StorageFullError: nothing is lost, call again with the same. Any other OSError is fatal.
        """
        while True:
            try:
                self._save(hard_state, entries, now_ms, install)
                return
            except (OSError, StorageFullError) as error:
                if isinstance(error, OSError) and not is_no_space(error):
                    raise
                # Tried again with the room of the reserve: once, for it is gone then.
                if not self._give_up_reserve():
                    raise StorageFullError(
                        "the disk is full: the metadata log cannot be written",
                        hint="free space; the node goes on by itself",
                    ) from error

    def _save(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        now_ms: int,
        install: SnapshotMeta | None,
    ) -> None:
        if hard_state is not None and hard_state != self._hard_state:
            write_atomic(self._files, HARD_STATE, encode_hard_state(hard_state))
            self._hard_state = hard_state
        if install is not None:
            self._install(install.point, now_ms)
        for entry in entries:
            self._store(entry, now_ms)
        if entries:
            self._cut(entries[-1].next_index)
        point = self._log.prepare_sync()
        if point is not None:
            point.run()
            self._log.complete_sync(point)
        self._note_durable()

    def _note_durable(self) -> None:
        """Tell the ledger what was synced; after the sync that it tells of, like every ledger."""
        end = self._log.view.durable_end_offset
        if self._ledger.ends.get(LOG_KEY, 0) != end:
            self._ledger.append({LOG_KEY: end})
            self._ledger.sync()

    def _store(self, entry: Entry, now_ms: int) -> None:
        """Append an entry in its place, unless it is there: same term and index, same entry."""
        view = self._log.view
        if entry.index < view.written_end_offset:
            if _term_before(view, LogIndex(entry.index + 1)) == entry.term:
                return
            self._cut(entry.index)
        if entry.term < self._log.leader_epoch:
            # The newest epoch got no batch; see the module's text.
            self._log.truncate(entry.index)
        records = [
            WireRecord(entry.index + number, now_ms, None, payload, ())
            for number, payload in enumerate(entry.payloads)
        ]
        batch = encode_batch(records, base_offset=entry.index, leader_epoch=entry.term)
        appended = self._log.append(
            batch, read_header(batch), leader_epoch=entry.term, now_ms=now_ms
        )
        if appended.base_offset != entry.index:
            raise StorageFailedError(
                f"raft entry {entry.index} would be stored at {appended.base_offset}",
                retriable=False,
            )

    def _cut(self, index: LogIndex) -> None:
        """Take what is stored from `index` on out of the log, durably."""
        if index >= self._log.view.written_end_offset:
            return
        _lower(self._ledger, index)
        if self._log.truncate(index) != index:
            raise StorageFailedError(f"the raft log cannot be cut at {index}", retriable=False)

    def _install(self, point: LogPoint, now_ms: int) -> None:
        """Begin from a received snapshot. May be repeated after a full disk."""
        self.snapshots.install_received(point)
        view = self._log.view
        if (view.start_offset, view.written_end_offset) != (point.index, point.index):
            self._log = _replace_log(self._files, self._log, self._ledger, point, now_ms)

    def compact(self, temporary: str, point: LogPoint, now_ms: int) -> None:
        """Publish a snapshot that was written, and drop what it makes superfluous.

        Raises StorageFullError or OSError; the snapshot may count then, but less is dropped.
        """
        self.snapshots.publish(point, temporary)
        if len(self.snapshots.points) > 1:
            self._log.trim(self.snapshots.points[-2].index)
        self._log.unlink_deleted(now_ms)
        self.snapshots.remove_old()

    def close(self, *, clean: bool) -> None:
        self._log.close(clean=clean)
        self._ledger.close()

    def _fill_reserve(self) -> None:
        """Set space aside while there is some; a full disk only means that there is none."""
        try:
            file = self._files.open(_RESERVE, create=True)
            try:
                file.allocate(_RESERVE_BYTES)
            finally:
                file.close()
        except OSError as error:
            if not is_no_space(error) and error.errno != errno.EOPNOTSUPP:
                raise

    def _give_up_reserve(self) -> bool:
        if not self._files.exists(_RESERVE):
            return False
        self._files.unlink(_RESERVE)
        return True


def _goes_on_from(view: LogView, point: LogPoint) -> bool:
    """Whether the log holds what follows the snapshot at `point`; False: it is to be replaced.

    Raises StorageFailedError when entries between the snapshot and the log are missing.
    """
    if view.start_offset > point.index:
        raise StorageFailedError(
            f"the metadata log begins at {view.start_offset}, and there is no snapshot of what came"
            f" before that can be read{f' beyond {point.index}' if point.index else ''}",
            hint="restore the data directory from a copy; one node of several: replace the node",
            retriable=False,
        )
    if view.written_end_offset < point.index:
        return False
    return view.start_offset == point.index or _term_before(view, point.index) == point.term


def _term_before(view: LogView, index: LogIndex) -> int:
    """The term of the entry that holds `index` - 1."""
    return view.epoch_at(index - 1)


def _check_replaced(snapshot: Snapshot | None, ledger_end: int) -> None:
    """A missing log is a trace of its replacement, or it was lost."""
    if snapshot is None or ledger_end > snapshot.meta.point.index:
        raise StorageFailedError(
            f"{LOG_FOLDER} of the data directory is missing; it ended at {ledger_end}",
            hint="restore the data directory from a copy; one node of several: replace the node",
            retriable=False,
        )


def _lower(ledger: Ledger, index: int) -> None:
    """Have no line above `index` in the ledger, durably: bytes above it are about to go."""
    if ledger.ends.get(LOG_KEY, 0) > index:
        ledger.append({LOG_KEY: index})
        ledger.sync()


def _replace_log(
    files: Files, log: PartitionLog, ledger: Ledger, point: LogPoint, now_ms: int
) -> PartitionLog:
    """Put an empty log that begins at `point` in the place of `log`; durable on return."""
    log.close(clean=False)
    _lower(ledger, point.index)
    if files.exists(LOG_FOLDER):
        remove_tree(files, _REPLACED)
        files.rename(LOG_FOLDER, _REPLACED)
        files.sync_dir(_FOLDER)
    return _new_log(files, point, now_ms)


def _new_log(files: Files, point: LogPoint, now_ms: int) -> PartitionLog:
    remove_tree(files, _REPLACED)
    return create_log_at(files, LOG_FOLDER, _CONFIG, start_offset=point.index, now_ms=now_ms)


def _read_entries(view: LogView, point: LogPoint, voters_of: VotersOf) -> tuple[Entry, ...]:
    """Raises StorageFailedError for damage; what `voters_of` raises passes through."""
    stored: list[Entry] = []
    offset, end = point.index, view.durable_end_offset
    try:
        while offset < end:
            read = view.read(offset, bytes_max=_READ_BYTES, limit_offset=end)
            for position, header in iter_headers(read.records):
                stored.append(entry_in(header, decode_batch(read.records, position, verify=False)))
            offset = LogIndex(read.next_offset)
    except LogdError as error:
        raise StorageFailedError(
            f"the metadata log in {LOG_FOLDER} cannot be read at {offset}: {error.message}",
            hint="restore the data directory from a copy; one node of several: replace the node",
            retriable=False,
        ) from error
    return tuple(replace(entry, voters=voters_of(entry.payloads)) for entry in stored)


def entry_in(header: BatchHeader, records: Sequence[WireRecord]) -> Entry:
    """The entry that a batch is, without its voters."""
    payloads = tuple(record.value or b"" for record in records)
    return Entry(LogIndex(header.base_offset), Term(header.leader_epoch), payloads)
