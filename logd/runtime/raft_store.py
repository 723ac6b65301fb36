"""The durable half of consensus: raft log and hard state in `raft/` of the data directory.

    raft/hard-state     term, vote and identity, replaced atomically
    raft/log/           entries as record batches: LogIndex = offset, Term = leader epoch
    raft/ledger         durable end of the log, as for partition logs
    raft/reserve        space set aside, given up when the disk is full

Synchronous; called by the consensus driver on its own writer.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence

from crc32c import crc32c
from logd_wire import WireRecord, decode_batch, encode_batch, iter_headers, read_header
from logd_wire.errors import ConfigError, LogdError, StorageFailedError, StorageFullError

from logd.consensus.log_types import Entry, HardState, Identity
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.storage import (
    Files,
    Ledger,
    LogConfig,
    LogKey,
    PartitionLog,
    is_no_space,
    read_all,
    write_atomic,
)

#: The raft log's line in its ledger; no topic has this id.
LOG_KEY: LogKey = (bytes(16), 0)

_LOG = "raft/log"
_LEDGER = "raft/ledger"
_HARD_STATE = "raft/hard-state"
_RESERVE = "raft/reserve"
_RESERVE_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_SEGMENT_BYTES = 8 * 1024 * 1024


class RaftStore:
    """Opened by `open`; `hard_state` and `entries` are what was durable then."""

    def __init__(
        self,
        files: Files,
        log: PartitionLog,
        ledger: Ledger,
        hard_state: HardState | None,
    ) -> None:
        self._files = files
        self._log = log
        self._ledger = ledger
        self.hard_state = hard_state
        self.entries = self._read_entries()

    @classmethod
    def open(cls, files: Files, *, clean: bool, now_ms: int) -> RaftStore:
        """Open or make the store. ConfigError or StorageFailedError say why it cannot be used."""
        hard_state = None
        if files.exists(_HARD_STATE):
            hard_state = decode_hard_state(read_all(files, _HARD_STATE))
        ledger = Ledger.open(files, _LEDGER)
        config = LogConfig(segment_bytes=_SEGMENT_BYTES, retention_ms=-1)
        if files.exists(_LOG):
            log = PartitionLog.open(
                files,
                _LOG,
                config,
                durable_end=ledger.ends.get(LOG_KEY),
                clean=clean,
                now_ms=now_ms,
            )
        else:
            log = PartitionLog.create(files, _LOG, config)
        store = cls(files, log, ledger, hard_state)
        store._fill_reserve()
        return store

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], now_ms: int) -> None:
        """Make both durable. StorageFullError: nothing is lost, call again with the same.

        Any other OSError is fatal.
        """
        while True:
            try:
                self._save(hard_state, entries, now_ms)
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

    def _save(self, hard_state: HardState | None, entries: Sequence[Entry], now_ms: int) -> None:
        if hard_state is not None and hard_state != self.hard_state:
            write_atomic(self._files, _HARD_STATE, encode_hard_state(hard_state))
            self.hard_state = hard_state
        for entry in entries:
            # Written already by a call that then found the disk full.
            if entry.index >= self._log.view.written_end_offset:
                self._append(entry, now_ms)
        point = self._log.prepare_sync()
        if point is not None:
            point.run()
            self._log.complete_sync(point)
            # Told after the sync of what it tells, like every ledger.
            self._ledger.append({LOG_KEY: self._log.view.durable_end_offset})
            self._ledger.sync()

    def _append(self, entry: Entry, now_ms: int) -> None:
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

    def _read_entries(self) -> list[Entry]:
        entries: list[Entry] = []
        view = self._log.view
        offset, end = view.start_offset, view.durable_end_offset
        try:
            while offset < end:
                read = view.read(offset, bytes_max=_READ_BYTES, limit_offset=end)
                for position, header in iter_headers(read.records):
                    records = decode_batch(read.records, position, verify=False)
                    payloads = tuple(record.value or b"" for record in records)
                    entries.append(
                        Entry(LogIndex(header.base_offset), Term(header.leader_epoch), payloads)
                    )
                offset = read.next_offset
        except LogdError as error:
            raise StorageFailedError(
                f"the metadata log in {_LOG} cannot be read at {offset}: {error.message}",
                hint="restore the data directory from a copy",
                retriable=False,
            ) from error
        return entries

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


def encode_hard_state(state: HardState) -> bytes:
    """Return JSON and a line with its CRC."""
    document = {
        "format_version": 1,
        "term": state.term,
        "vote": state.vote,
        "cluster_id": state.identity.cluster_id.hex(),
        "node_id": state.identity.node_id,
        "directory_id": state.identity.directory_id.hex(),
    }
    body = json.dumps(document, sort_keys=True).encode() + b"\n"
    return body + b"%08x\n" % crc32c(body)


def decode_hard_state(data: bytes) -> HardState:
    """Parse the hard state; StorageFailedError when it is damaged: the vote in it is lost."""
    body, _, checksum = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    if checksum != b"%08x" % crc32c(body):
        raise StorageFailedError(
            f"{_HARD_STATE} of the data directory is damaged",
            hint="restore the data directory from a copy",
            retriable=False,
        )
    document = json.loads(body)
    if document["format_version"] != 1:
        raise ConfigError(
            f"{_HARD_STATE} has format version {document['format_version']}, this release reads 1",
            hint="start the release that wrote it, or a newer one",
        )
    identity = Identity(
        ClusterId(bytes.fromhex(document["cluster_id"])),
        NodeId(document["node_id"]),
        DirectoryId(bytes.fromhex(document["directory_id"])),
    )
    return HardState(Term(document["term"]), NodeId(document["vote"]), identity)
