"""Snapshots of the replicated state, as files in `raft/` of the data directory.

    raft/snapshot-<index>-<term>              whole and durable: the state below `index`
    raft/snapshot-<index>-<term>.tmp          being written
    raft/snapshot-<index>-<term>.received     coming from another node, part by part
    raft/snapshot-<index>-<term>.deleted      on its way out
    raft/snapshot-<index>-<term>.damaged      did not verify; kept for whoever looks into it

    file    magic 'logd-snp' · version u16 · 0 u16 · header length u32 · contents length u64
            · header (JSON: index, term, voters) · contents · crc32c u32 of all before

A file gets the name that counts by a rename, after its bytes were synced; the directory is synced
then. So a crash leaves the whole file or none, beside names that the next opening clears away. It
leaves the folder in two steps: a rename, so that it is not taken for the newest any more, and an
unlink when the next one comes, so that a transfer under way can go on reading it.
"""

from __future__ import annotations

import json
import logging
import struct
from dataclasses import dataclass
from typing import Final

from crc32c import crc32c
from logd_wire.errors import ConfigError, StorageFailedError

from logd.consensus.log_types import LogPoint, SnapshotMeta, Voter, Voters
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term
from logd.storage import Files, join, pwrite_all, read_all, write_synced

_logger = logging.getLogger("logd.consensus")

#: Snapshots that are kept: the newest, and the one to fall back to.
KEPT: Final = 2

_FOLDER = "raft"
_PREFIX = "snapshot-"
_TEMPORARY, _RECEIVED, _DELETED, _DAMAGED = ".tmp", ".received", ".deleted", ".damaged"
_DIGITS = 20
_MAGIC = b"logd-snp"
_VERSION = 1
_HEAD = struct.Struct(">8sHHIQ")
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after everything below `meta.point.index`, in the state machine's own form."""

    meta: SnapshotMeta
    contents: bytes


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the bytes of the file."""
    header = _encode_header(snapshot.meta)
    head = _HEAD.pack(_MAGIC, _VERSION, 0, len(header), len(snapshot.contents))
    body = head + header + snapshot.contents
    return body + _CRC.pack(crc32c(body))


def decode_snapshot(data: bytes) -> Snapshot:
    """Parse the bytes of a file.

    Raises StorageFailedError when they are damaged, ConfigError for a newer format.
    """
    if len(data) < _HEAD.size + _CRC.size or crc32c(data[:-4]) != _CRC.unpack(data[-4:])[0]:
        raise _damaged("its checksum is wrong")
    magic, version, _, header_bytes, contents_bytes = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise _damaged("it is something else")
    if version > _VERSION:
        raise ConfigError(
            f"the snapshot has format version {version}, this release reads {_VERSION}",
            hint="start the release that wrote it, or a newer one",
        )
    if len(data) != _HEAD.size + header_bytes + contents_bytes + _CRC.size:
        raise _damaged("its length is wrong")
    contents_at = _HEAD.size + header_bytes
    meta = _decode_header(data[_HEAD.size : contents_at])
    return Snapshot(meta, data[contents_at : contents_at + contents_bytes])


def _encode_header(meta: SnapshotMeta) -> bytes:
    voters = [
        {
            "node_id": voter.node_id,
            "directory_id": voter.directory_id.hex(),
            "address": voter.address,
        }
        for voter in meta.voters
    ]
    document = {"index": meta.point.index, "term": meta.point.term, "voters": voters}
    return json.dumps(document, sort_keys=True).encode()


def _decode_header(data: bytes) -> SnapshotMeta:
    document = json.loads(data)
    voters: Voters = tuple(
        Voter(
            NodeId(each["node_id"]),
            DirectoryId(bytes.fromhex(each["directory_id"])),
            each["address"],
        )
        for each in document["voters"]
    )
    return SnapshotMeta(LogPoint(Term(document["term"]), LogIndex(document["index"])), voters)


def _damaged(why: str) -> StorageFailedError:
    return StorageFailedError(f"the snapshot is damaged: {why}", retriable=False)


class SnapshotFolder:
    """The snapshots of one node. Synchronous; one caller at a time, `read_part` any number."""

    def __init__(self, files: Files) -> None:
        """Clear away what an earlier process left half-way. Raises OSError."""
        self._files = files
        #: Points of the snapshots that are there, oldest first.
        self.points: list[LogPoint] = []
        leftovers = []
        for entry in files.list_dir(_FOLDER):
            if not entry.name.startswith(_PREFIX):
                continue
            point = _point_in(entry.name)
            if point is not None:
                self.points.append(point)
            elif not entry.name.endswith(_DAMAGED):
                leftovers.append(entry.name)
        self.points.sort()
        for name in leftovers:
            files.unlink(join(_FOLDER, name))
        if self.points:
            # Seen by this process, a name need not be durable yet.
            files.sync_dir(_FOLDER)
        self._doomed: list[str] = []
        #: The transfer that is coming in: its point and how many bytes are here.
        self._incoming: tuple[LogPoint, int] | None = None

    def newest(self) -> Snapshot | None:
        """The newest snapshot that verifies; those that do not are set aside.

        Raises ConfigError for one of a newer format, OSError.
        """
        while self.points:
            point = self.points[-1]
            try:
                return self._read(point)
            except StorageFailedError as error:
                name = _name(point)
                _logger.error("%s/%s is set aside: %s", _FOLDER, name, error.message)
                self._rename(name, name + _DAMAGED)
                self.points.pop()
        return None

    def _read(self, point: LogPoint) -> Snapshot:
        snapshot = decode_snapshot(read_all(self._files, _path(point)))
        if snapshot.meta.point != point:
            raise _damaged("it stands for another point than its name")
        return snapshot

    def write(self, snapshot: Snapshot) -> str:
        """Write one under its temporary name, synced; `publish` makes it count.

        Any thread. Raises OSError; then nothing of it is left.
        """
        temporary = _name(snapshot.meta.point) + _TEMPORARY
        try:
            write_synced(self._files, join(_FOLDER, temporary), encode_snapshot(snapshot))
        except OSError:
            if self._files.exists(join(_FOLDER, temporary)):
                self._files.unlink(join(_FOLDER, temporary))
            raise
        return temporary

    def publish(self, point: LogPoint, temporary: str) -> None:
        """Let a written or received file count as the snapshot at `point`; durable on return."""
        self._rename(temporary, _name(point))
        if point not in self.points:
            self.points.append(point)
            self.points.sort()

    def remove_old(self) -> None:
        """Take all but the newest few out of use; unlink what was taken out before."""
        for name in self._doomed:
            self._files.unlink(join(_FOLDER, name))
        self._doomed.clear()
        while len(self.points) > KEPT:
            name = _name(self.points[0])
            self._rename(name, name + _DELETED)
            self._doomed.append(name + _DELETED)
            del self.points[0]

    def size_of(self, point: LogPoint) -> int:
        """The bytes of the snapshot's file. FileNotFoundError: there is none any more."""
        return self._files.size(self._readable(point))

    def read_part(self, point: LogPoint, position: int, bytes_max: int) -> bytes:
        """Bytes of the snapshot's file, for a transfer. Any thread."""
        file = self._files.open(self._readable(point), read_only=True)
        try:
            return file.pread(bytes_max, position)
        finally:
            file.close()

    def _readable(self, point: LogPoint) -> str:
        path = _path(point)
        return path if self._files.exists(path) else path + _DELETED

    # --- coming in ---------------------------------------------------------------------------

    def receive(self, point: LogPoint, position: int, data: bytes) -> int:
        """Keep a part that follows what is here; returns the position wanted next.

        A part from elsewhere is passed over. Not durable; a transfer of another snapshot takes
        the place of the one before. Raises OSError.
        """
        if self._incoming is None or self._incoming[0] != point:
            self.drop_received()
            self._incoming = (point, 0)
        here = self._incoming[1]
        if position != here or not data:
            return here
        path = _path(point) + _RECEIVED
        file = self._files.open(path, create=True)
        try:
            if position == 0:
                file.truncate(0)
            pwrite_all(file, data, position)
        finally:
            file.close()
        self._incoming = (point, here + len(data))
        return here + len(data)

    def finish_received(self, meta: SnapshotMeta) -> Snapshot:
        """Make what was received durable, and check it against what it was said to be.

        Raises StorageFailedError when it is not that; it is dropped then. Raises OSError.
        """
        path = _path(meta.point) + _RECEIVED
        file = self._files.open(path)
        try:
            file.sync()
        finally:
            file.close()
        self._files.sync_dir(_FOLDER)
        try:
            snapshot = decode_snapshot(read_all(self._files, path))
            if snapshot.meta != meta:
                raise _damaged("it stands for another point or other voters than was said")
        except StorageFailedError:
            self.drop_received()
            raise
        return snapshot

    def install_received(self, point: LogPoint) -> None:
        """Let the received snapshot count. May be repeated; StorageFailedError: it is not here."""
        name = _name(point)
        if self._files.exists(join(_FOLDER, name + _RECEIVED)):
            self.publish(point, name + _RECEIVED)
        elif point not in self.points:
            raise StorageFailedError(f"the snapshot at {point.index} is gone", retriable=False)
        self._incoming = None

    def drop_received(self) -> None:
        """Forget the transfer that was coming in."""
        if self._incoming is not None:
            path = _path(self._incoming[0]) + _RECEIVED
            if self._files.exists(path):
                self._files.unlink(path)
            self._incoming = None

    def _rename(self, source: str, target: str) -> None:
        self._files.rename(join(_FOLDER, source), join(_FOLDER, target))
        self._files.sync_dir(_FOLDER)


def _name(point: LogPoint) -> str:
    return f"{_PREFIX}{point.index:0{_DIGITS}}-{point.term}"


def _path(point: LogPoint) -> str:
    return join(_FOLDER, _name(point))


def _point_in(name: str) -> LogPoint | None:
    """Return the point that a name stands for, None for anything else."""
    index, dash, term = name.removeprefix(_PREFIX).partition("-")
    if not dash or not (index.isdecimal() and term.isdecimal()):
        return None
    point = LogPoint(Term(int(term)), LogIndex(int(index)))
    return point if _name(point) == name else None
