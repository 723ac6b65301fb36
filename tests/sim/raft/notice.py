"""Names the states that show in a message and in who receives it."""

from __future__ import annotations

from collections.abc import Callable

from logd.consensus import RaftCore, Role
from logd.consensus.messages import (
    AppendRejected,
    AppendResponse,
    HeartbeatResponse,
    Message,
    VoteRequest,
    VoteResponse,
)
from tests.sim.raft.coverage import Sometimes

#: To be called after the message was stepped in.
Check = Callable[[], None]


def notice(core: RaftCore, message: Message, sometimes: Sometimes) -> Check | None:
    """Look at a message before `core` hears of it."""
    match message.body:
        case VoteRequest() as request:
            return _of_request(core, message, request, sometimes)
        case VoteResponse() as response:
            _of_response(core, message, response, sometimes)
        case AppendResponse() | AppendRejected() | HeartbeatResponse():
            if core.role is Role.LEADER:
                _of_answer(core, message, sometimes)
        case _:
            pass
    return None


def is_foreign(core: RaftCore, message: Message) -> bool:
    """Whether the sender has the id of a voter and another directory."""
    return any(
        voter.node_id == message.sender and voter.directory_id != message.sender_directory
        for voter in core.voters
    )


def _of_answer(core: RaftCore, message: Message, sometimes: Sometimes) -> None:
    if is_foreign(core, message):
        sometimes("answer of another directory")
    elif message.body.term > core.term:
        sometimes("stale leader answered")
    elif isinstance(message.body, AppendRejected):
        sometimes("append refused with a hint")


def _of_request(
    core: RaftCore, message: Message, request: VoteRequest, sometimes: Sometimes
) -> Check | None:
    if all(voter.node_id != message.sender for voter in core.voters):
        sometimes("vote asked by a stranger")
    term, leader = core.term, core.leader_id
    if request.transfer or request.term <= term or leader in (None, message.sender):
        return None

    def after() -> None:
        if (core.term, core.leader_id) == (term, leader):
            sometimes("vote request ignored while a leader lives")

    return after


def _of_response(
    core: RaftCore, message: Message, response: VoteResponse, sometimes: Sometimes
) -> None:
    if core.role not in (Role.CANDIDATE, Role.PRE_CANDIDATE):
        return
    if not response.granted:
        sometimes("vote refused for a stale log")
    elif is_foreign(core, message):
        sometimes("vote refused for wrong directory")
