"""Where a local cluster lives, and what is written down about it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from logd_wire.errors import ConfigError, LogdError

HOST = "127.0.0.1"
BASE_PORT_DEFAULT = 7171
NODES_DEFAULT = 3
NODES_MAX = 9
PORT_MAX = 65535
_VERSION = 1


@dataclass(frozen=True)
class LocalNode:
    """One node: its number, its ports for clients and for other nodes, its files."""

    id: int
    port: int
    peer_port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def peer_address(self) -> str:
        return f"{HOST}:{self.peer_port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / f"node-{self.id}"

    @property
    def config(self) -> Path:
        return self.folder / f"node-{self.id}.toml"

    @property
    def log(self) -> Path:
        return self.folder / f"node-{self.id}.log"


@dataclass(frozen=True)
class LocalCluster:
    """Nodes 1 to `count`: client ports from `base_port` on, then those between the nodes."""

    folder: Path
    base_port: int
    count: int

    @property
    def nodes(self) -> list[LocalNode]:
        return [
            LocalNode(
                id=number,
                port=self.base_port + number - 1,
                peer_port=self.base_port + self.count + number - 1,
                folder=self.folder,
            )
            for number in range(1, self.count + 1)
        ]

    def node(self, number: int) -> LocalNode:
        """Raises ConfigError that lists the numbers there are."""
        for node in self.nodes:
            if node.id == number:
                return node
        known = ", ".join(str(node.id) for node in self.nodes)
        raise ConfigError(f"there is no node {number}", hint=f"the nodes are {known}")

    @property
    def last_port(self) -> int:
        return self.base_port + 2 * self.count - 1


def state_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/logd/dev`, else `~/.local/state/logd/dev`."""
    base = environ.get("XDG_STATE_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".local", "state"
    )
    return Path(base).absolute() / "logd" / "dev"


def load(folder: Path) -> LocalCluster | None:
    """What `save` wrote; None: there is no cluster. Raises ConfigError that names the file."""
    path = _path(folder)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version, base, count = (document[key] for key in ("version", "base_port", "nodes"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be understood: {error!r}", hint=_DELETE) from None
    if version != _VERSION or not isinstance(base, int) or not isinstance(count, int):
        raise ConfigError(f"{path} was written by another version of logd", hint=_DELETE)
    return LocalCluster(folder, base, count)


_DELETE = "to begin anew: logd dev down --delete"


def save(cluster: LocalCluster) -> None:
    """Write the cluster down in one step, and every node's configuration."""
    cluster.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for node in cluster.nodes:
        node.config.write_text(_config_text(cluster, node), encoding="utf-8")
    document = {"version": _VERSION, "base_port": cluster.base_port, "nodes": cluster.count}
    path = _path(cluster.folder)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _config_text(cluster: LocalCluster, node: LocalNode) -> str:
    peers = ", ".join(f'"{each.id}@{each.peer_address}"' for each in cluster.nodes)
    return f"""\
# Written by `logd dev`, again at every `up`.
"auto.create.topics.enable" = true

[node]
id = {node.id}
data_dir = {json.dumps(str(node.data_dir))}

[listeners]
grpc = "{node.address}"
peer = "{node.peer_address}"

[cluster]
peers = [{peers}]
"""


def delete(folder: Path) -> None:
    """Remove everything in the folder but its lock."""
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One command at a time changes the cluster; another one waits. The kernel lets go when the
    command ends, however it ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise LogdError(f"cannot lock {folder}: {error.strerror}") from None
        yield


_LOCK = "lock"


def _path(folder: Path) -> Path:
    return folder / "cluster.json"
