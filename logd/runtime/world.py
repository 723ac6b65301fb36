"""The ports of one node, together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from logd.runtime.peers import PeerTransport
from logd.runtime.ports import Cleaning, Clock, Disk, Rng, Spawn
from logd.storage import Files


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this node is given it. The metadata log has a disk of its own, so that a burst
    of records delays no metadata. `transport` None: there is no way to other nodes."""

    files: Files
    disk: Disk
    metadata_disk: Disk
    clock: Clock
    rng: Rng
    spawn: Callable[[Callable[[BaseException], None]], Spawn]
    transport: PeerTransport | None = None
    #: None: passes of the cleaner run on the threads of `disk`.
    cleaning: Cleaning | None = None
