"""The data directory: identity, lock, layout, clean-stop marker, quarantine.

    meta.json      format version, cluster id, node id, directory id, who began the cluster
    lock           held while a node runs; the kernel frees it with the process
    clean-stop     there only between a clean stop and the next start
    ledger         durable end offsets (`ledger`)
    partitions/<topic id, 32 hex digits>-<partition>/     one partition log each
    raft/          the log of the metadata quorum
    quarantine/<unix ms>-<name>/                          what metadata does not know, for a day

Crash windows:

* First start: `meta.json` is written atomically after the folders; without it the directory holds
  no data, and the next start makes it anew. Folders without `meta.json` that hold data are refused.
* Joining: `meta.json` without a cluster id comes first, so that the directory id is there before
  any other node hears of it; once the cluster is known, the file is replaced atomically.
* `clean-stop` is removed and that is synced before anything is read or written, so that it can
  never tell of an earlier stop; it is written and synced last. It names the directory id.
* Deleting a partition renames it to `<name>-delete` (synced) first; a start finishes what it finds
  under such a name. Moving to quarantine is one rename.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from crc32c import crc32c
from logd_wire.errors import ConfigError

from logd.storage.files import (
    Files,
    Lock,
    is_no_space,
    join,
    read_all,
    remove_tree,
    write_atomic,
)
from logd.storage.ledger import LogKey, partition_label

FORMAT_VERSION = 1
PARTITIONS = "partitions"
RAFT = "raft"
QUARANTINE = "quarantine"
LEDGER = "ledger"
QUARANTINE_MS = 24 * 60 * 60 * 1000

_META = "meta.json"
_LOCK = "lock"
_CLEAN_STOP = "clean-stop"
_DELETE_SUFFIX = "-delete"
_TOPIC_ID_HEX = 32


@dataclass(frozen=True, slots=True)
class DirectoryMeta:
    """Who this directory belongs to. `cluster_id` and `directory_id` are 16 bytes.

    `cluster_id` None: to no cluster yet. `founder`: this node began its cluster with it.
    """

    cluster_id: bytes | None
    node_id: int
    directory_id: bytes
    founder: bool = True


def partition_name(key: LogKey) -> str:
    """Return the directory name of a partition; ids only, never a user's string."""
    return partition_label(key)


def parse_partition_name(name: str) -> LogKey | None:
    """Return the key a directory name stands for, None if it is not one of ours."""
    topic_hex, dash, partition = name.partition("-")
    if not dash or len(topic_hex) != _TOPIC_ID_HEX or not partition.isdecimal():
        return None
    try:
        key = (bytes.fromhex(topic_hex), int(partition))
    except ValueError:
        return None
    return key if partition_name(key) == name else None


def _encode_meta(meta: DirectoryMeta) -> bytes:
    document: dict[str, object] = {
        "format_version": FORMAT_VERSION,
        "cluster_id": (meta.cluster_id or b"").hex(),
        "node_id": meta.node_id,
        "directory_id": meta.directory_id.hex(),
    }
    if not meta.founder:
        document["founder"] = False
    return json.dumps(document, indent=2).encode() + b"\n"


def decode_meta(data: bytes) -> DirectoryMeta:
    """Parse `meta.json`; ConfigError says what is wrong with it."""
    try:
        document = json.loads(data)
        version = int(document["format_version"])
        if version > FORMAT_VERSION:
            raise ConfigError(
                f"the data directory has format version {version}; "
                f"this release reads up to {FORMAT_VERSION}",
                hint="start the release that wrote it, or a newer one",
            )
        meta = DirectoryMeta(
            bytes.fromhex(document["cluster_id"]) or None,
            int(document["node_id"]),
            bytes.fromhex(document["directory_id"]),
            # Releases before there was a choice began their cluster.
            bool(document.get("founder", True)),
        )
        if len(meta.cluster_id or bytes(16)) != 16 or len(meta.directory_id) != 16:
            raise ValueError("ids of 16 bytes are expected")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{_META} of the data directory cannot be read: {error!r}",
            hint="restore it from a copy, or start with another directory",
        ) from error
    return meta


class DataDirectory:
    """An open, locked data directory.

    `was_clean` says whether the last process stopped cleanly; `is_new`, that this start made it.
    """

    def __init__(
        self, files: Files, lock: Lock, meta: DirectoryMeta, *, was_clean: bool, is_new: bool
    ) -> None:
        self.files = files
        self.meta = meta
        self.was_clean = was_clean
        self.is_new = is_new
        self._lock = lock
        self._failed = False

    @classmethod
    def open_or_create(
        cls,
        files: Files,
        *,
        node_id: int,
        cluster_id: bytes | None,
        new_ids: Callable[[], bytes],
        founds: bool = True,
    ) -> DataDirectory:
        """Lock the directory and check that it is this node's; make it where there is none.

        `cluster_id` None takes the one that is there, or a new one. `new_ids` yields 16 random
        bytes. `founds` false: a new directory belongs to no cluster until `join`. ConfigError:
        held by another process, another node's, another cluster's, of a newer format, or not
        readable.
        """
        try:
            lock = files.lock(_LOCK)
        except BlockingIOError as error:
            raise ConfigError(
                "the data directory is in use by another process",
                hint="stop the other node, or give this one a directory of its own",
            ) from error
        try:
            return cls._open_locked(files, lock, node_id, cluster_id, new_ids, founds=founds)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_locked(
        cls,
        files: Files,
        lock: Lock,
        node_id: int,
        cluster_id: bytes | None,
        new_ids: Callable[[], bytes],
        *,
        founds: bool,
    ) -> DataDirectory:
        is_new = not files.exists(_META)
        if is_new:
            _refuse_orphans(files)
            founded_id = (cluster_id or new_ids()) if founds else None
            meta = DirectoryMeta(founded_id, node_id, new_ids(), founds)
        else:
            meta = decode_meta(read_all(files, _META))
            _check_owner(meta, node_id, cluster_id)
        for name in (PARTITIONS, RAFT, QUARANTINE):
            if not files.exists(name):
                files.make_dir(name)
            # A name made before a kill may not be durable although it is seen.
            files.sync_dir(name)
        files.sync_dir("")
        if is_new:
            write_atomic(files, _META, _encode_meta(meta))
        was_clean = not is_new and _take_clean_stop(files, meta)
        directory = cls(files, lock, meta, was_clean=was_clean, is_new=is_new)
        directory._finish_deletions()
        return directory

    def join(self, cluster_id: bytes, *, founder: bool) -> None:
        """Belong to a cluster from now on; durable on return."""
        meta = replace(self.meta, cluster_id=cluster_id, founder=founder)
        write_atomic(self.files, _META, _encode_meta(meta))
        self.meta = meta

    def partition_path(self, key: LogKey) -> str:
        """Return the directory of a partition log."""
        return join(PARTITIONS, partition_name(key))

    def partitions(self) -> dict[LogKey, str]:
        """Return the partition directories there are, with their paths."""
        found = {}
        for entry in self.files.list_dir(PARTITIONS):
            key = parse_partition_name(entry.name) if entry.is_dir else None
            if key is not None:
                found[key] = join(PARTITIONS, entry.name)
        return found

    def quarantine_unknown(self, known: Collection[LogKey], now_ms: int) -> list[str]:
        """Move what `known` does not name out of `partitions/`; return the moved names."""
        moved = []
        for entry in self.files.list_dir(PARTITIONS):
            if entry.is_dir and parse_partition_name(entry.name) in known:
                continue
            target = join(QUARANTINE, f"{now_ms}-{entry.name}")
            self.files.rename(join(PARTITIONS, entry.name), target)
            moved.append(entry.name)
        if moved:
            self.files.sync_dir(QUARANTINE)
            self.files.sync_dir(PARTITIONS)
        return moved

    def purge_quarantine(self, now_ms: int, trusted_since_ms: int = 0) -> list[str]:
        """Delete what has been in quarantine for a day; return its names.

        Nothing counts as set aside before `trusted_since_ms`.
        """
        purged = []
        for entry in self.files.list_dir(QUARANTINE):
            since = entry.name.partition("-")[0]
            path = join(QUARANTINE, entry.name)
            if not since.isdecimal():
                continue
            if now_ms - max(int(since), trusted_since_ms) > QUARANTINE_MS:
                if entry.is_dir:
                    remove_tree(self.files, path)
                else:
                    self.files.unlink(path)
                purged.append(entry.name)
        return purged

    def delete_partition(self, key: LogKey) -> None:
        """Delete a closed partition log for good; a crash in between is finished by a start."""
        path = self.partition_path(key)
        if not self.files.exists(path):
            return
        self.files.rename(path, path + _DELETE_SUFFIX)
        self.files.sync_dir(PARTITIONS)
        remove_tree(self.files, path + _DELETE_SUFFIX)

    def _finish_deletions(self) -> None:
        for entry in self.files.list_dir(PARTITIONS):
            name = entry.name.removesuffix(_DELETE_SUFFIX)
            if entry.is_dir and name != entry.name and parse_partition_name(name) is not None:
                remove_tree(self.files, join(PARTITIONS, entry.name))

    def mark_failed(self) -> None:
        """After an I/O error: the next start must not believe in a clean stop."""
        self._failed = True

    def close(self, *, clean: bool) -> None:
        """Release the lock; `clean` leaves the marker, unless `mark_failed` was called or the disk
        is full: then the next start looks at the logs as after a crash.

        Every log must be closed cleanly before.
        """
        try:
            if clean and not self._failed:
                write_atomic(self.files, _CLEAN_STOP, _clean_stop_bytes(self.meta))
        except OSError as error:
            if not is_no_space(error):
                raise
        finally:
            self._lock.release()


def _refuse_orphans(files: Files) -> None:
    for name in (PARTITIONS, RAFT):
        if files.exists(name) and files.list_dir(name):
            raise ConfigError(
                f"the data directory has {name}/ with data but no {_META}",
                hint=f"restore {_META} from a copy, or start with another directory",
            )


def _check_owner(meta: DirectoryMeta, node_id: int, cluster_id: bytes | None) -> None:
    if meta.node_id != node_id:
        raise ConfigError(
            f"the data directory belongs to node {meta.node_id}, this is node {node_id}",
            hint="set node.id to that of the directory, or use another directory",
        )
    if cluster_id is not None and meta.cluster_id not in (None, cluster_id):
        raise ConfigError(
            f"the data directory belongs to cluster {(meta.cluster_id or b'').hex()}, "
            f"configured is {cluster_id.hex()}",
            hint="correct cluster.id, or use another directory",
        )


def _clean_stop_bytes(meta: DirectoryMeta) -> bytes:
    return meta.directory_id.hex().encode() + b" %08x\n" % crc32c(meta.directory_id)


def _take_clean_stop(files: Files, meta: DirectoryMeta) -> bool:
    """Remove the marker durably; return whether it was there and ours."""
    if not files.exists(_CLEAN_STOP):
        return False
    ours = read_all(files, _CLEAN_STOP) == _clean_stop_bytes(meta)
    files.unlink(_CLEAN_STOP)
    files.sync_dir("")
    return ours
