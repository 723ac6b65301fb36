"""Whether a node can do its work, and in words why not.

The words name no path, no topic and nothing that a client sent: whoever may ask for a node's
health need not be allowed to read its data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from logd.observe.status import QuorumStatus

#: A write or sync that takes longer than this is a disk that hangs.
WRITE_STALLED_MS: Final = 5_000


class Phase(Enum):
    """Where a node is between its start and its end."""

    STARTING = "starting"
    #: What is on its disk is there; it comes to its cluster, registers and catches up.
    JOINING = "joining"
    SERVING = "serving"
    STOPPING = "stopping"
    #: After an error that ends the node.
    FAILED = "failed"


class Reason(NamedTuple):
    """One thing that is wrong: a stable name for programs, words for people."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What readiness depends on. Until the node serves only the first three count."""

    phase: Phase
    #: What a node that is joining waits for, in words; empty: no other node.
    waits_for: str = ""
    #: Whether it has waited for so long that something is wrong.
    is_overdue: bool = False
    status: QuorumStatus | None = None
    #: Whether the committed metadata lists this node.
    registered: bool = False
    #: Whether the committed metadata says that the controller does not count on this node.
    fenced: bool = False
    #: Whether the node's session with the controller lasts.
    in_session: bool = False
    #: None: the disk does not answer.
    free_bytes: int | None = None
    free_bytes_min: int = 0
    #: For how long the writer has been waiting for the disk; 0 when it is not.
    write_waiting_ms: int = 0


_PHASES: Final = {
    Phase.STARTING: Reason("starting", "the node is starting: it recovers what is on its disk"),
    Phase.JOINING: Reason(
        "joining",
        "the node waits for the cluster to take it in, catches up with the metadata log, or opens"
        " its partitions",
    ),
    Phase.STOPPING: Reason("stopping", "the node is stopping"),
    Phase.FAILED: Reason("failed", "the node stops after a storage error; its log says which"),
}


def find_reasons(facts: NodeFacts) -> list[Reason]:
    """Return everything that keeps the node from its work; empty: it is ready."""
    if facts.phase is Phase.JOINING and facts.waits_for:
        return [Reason("no_cluster" if facts.is_overdue else "joining", facts.waits_for)]
    if facts.phase is not Phase.SERVING:
        return [_PHASES[facts.phase]]
    return [*_of_quorum(facts), *_of_disk(facts)]


def _of_quorum(facts: NodeFacts) -> list[Reason]:
    reasons = []
    status = facts.status
    if status is None or status.leader_id is None:
        reasons.append(Reason("no_leader", "no leader of the metadata quorum is known"))
    if status is None or not status.caught_up:
        reasons.append(Reason("not_caught_up", "the metadata log is not applied to its end yet"))
    if not facts.registered:
        reasons.append(Reason("not_registered", "the cluster does not list this node"))
    elif facts.fenced:
        reasons.append(Reason("fenced", "the controller has fenced this node: it leads nothing"))
    elif not facts.in_session:
        reasons.append(
            Reason("no_session", "the controller does not answer: the node has fenced itself")
        )
    return reasons


def _of_disk(facts: NodeFacts) -> list[Reason]:
    if facts.free_bytes is None:
        return [Reason("disk_silent", "the disk does not answer")]
    if facts.write_waiting_ms > WRITE_STALLED_MS:
        waiting_s = facts.write_waiting_ms // 1000
        return [Reason("disk_stalled", f"the disk has not finished a write for {waiting_s} s")]
    if facts.free_bytes < facts.free_bytes_min:
        return [
            Reason(
                "disk_full",
                f"the disk is nearly full: {facts.free_bytes} bytes free, {facts.free_bytes_min}"
                " are kept free; writing is refused",
            )
        ]
    return []
