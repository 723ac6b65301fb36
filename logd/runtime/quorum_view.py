"""What tools see of the metadata log, and changes of the members that take several steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from logd_wire.errors import InvalidRequestError

from logd.consensus.log_types import Entry
from logd.metadata import Command, NodeRemoval, RemoveNode, ReplaceNode, Reply

#: Steps after which a removal that is not done is given back to the caller.
REMOVAL_STEPS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry of this node's raft log, and the wall-clock time at which it was stored here."""

    entry: Entry
    time_ms: int


async def submit_in_steps(
    submit: Callable[[Command], Awaitable[Reply]], command: RemoveNode | ReplaceNode
) -> None:
    """Send a command that takes one step at a time until it is done.

    May be repeated, as long as the command names the directory that it means.
    """
    for _ in range(REMOVAL_STEPS_MAX):
        reply = await submit(command)
        if not isinstance(reply, NodeRemoval):
            raise TypeError(f"{type(command).__name__} was answered by {type(reply).__name__}")
        if reply.done:
            return
    raise InvalidRequestError(
        f"node {command.node_id} is not gone yet: its removal takes more steps",
        hint="ask again",
        retriable=True,
    )
