"""What the clients of a partition are told that are refused, or cannot be answered."""

from __future__ import annotations

from logd_wire.errors import NotLeaderError, OutcomeUnknownError

from logd.metadata import PartitionImage
from logd.model.ids import NO_NODE


def appended_then(what: str) -> OutcomeUnknownError:
    """What a batch is answered that is in the log, and may or may not stay: whoever took it
    for refused would give its sequence to another one."""
    return OutcomeUnknownError(
        f"the batch was appended, but is not acknowledged: {what}",
        hint="send it again; a producer id makes that safe",
    )


def not_led_here(name: str, state: PartitionImage) -> NotLeaderError:
    """What a client is told that came to the wrong node, or at a bad time."""
    leader_id = state.leader_id
    where = f"by node {leader_id}" if leader_id != NO_NODE else "by nobody at the moment"
    error = NotLeaderError(f"{name} is led {where}", hint="refresh the metadata, then try again")
    error.leader_id = leader_id
    error.leader_epoch = state.leader_epoch
    return error


def not_open_yet(name: str) -> NotLeaderError:
    """What is said of a copy that belongs here, of a topic too young for this node to have it."""
    return NotLeaderError(f"{name} is not open on this node yet", hint="try again in a moment")
