"""What a node needs of its world, and where in its work it may die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import TYPE_CHECKING, Protocol

from logd.consensus import RaftCore
from logd.model.ids import NodeId
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.network import Network
from tests.sim.raft.oracle import Oracle
from tests.sim.raft.profile import Profile

if TYPE_CHECKING:
    from tests.sim.raft.node import SimNode


class Death(IntEnum):
    """Where in its work a node dies."""

    BEFORE_SENDING = 0
    WITHIN_SAVE = 1
    BEFORE_MESSAGES = 2
    WITHIN_MESSAGES = 3
    BEFORE_APPLY = 4
    BEFORE_ADVANCE = 5


DEATHS_IN_WORDS = {
    Death.WITHIN_SAVE: "crash within a save",
    Death.BEFORE_MESSAGES: "crash between save and send",
    Death.WITHIN_MESSAGES: "crash within sending",
    Death.BEFORE_APPLY: "crash between send and apply",
    Death.BEFORE_ADVANCE: "crash between apply and advance",
}


@dataclass(slots=True)
class Pending:
    """A proposal that a client waits for."""

    payloads: tuple[bytes, ...]
    term: int
    deadline_ms: float


class World(Protocol):
    """What a node needs of the run."""

    now_ms: float
    rng: Random
    profile: Profile
    network: Network
    oracle: Oracle
    sometimes: Sometimes
    faulty: bool

    def schedule(self, at_ms: float, event: Callable[[], None], /) -> None: ...
    def trace(self, kind: str, node_id: int, *values: object) -> None: ...
    def make_core(self, node: SimNode) -> RaftCore: ...
    def observers_of(self, node: SimNode) -> tuple[NodeId, ...]: ...
    def on_leader(self, node: SimNode) -> None: ...
    def restart_later(self, node: SimNode) -> None: ...
