"""Messages on their way out, in two classes: after the save, or at once.

What a message may do before the save is decided when it is put in, by what is durable then: a
promise (a granted vote, an acknowledgement) always waits for the next save, and so does anything
said in a term, or with a vote, that is not durable yet. Durability only grows, so a message that
may go at once may still go when it is taken.

While a save takes long, nothing may pile up: of answers and heartbeats to one member only the last
is kept, which says all that those before it did.
"""

from __future__ import annotations

from logd.consensus.messages import (
    AppendRejected,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    TimeoutNow,
)

_LAST_COUNTS = (AppendResponse, AppendRejected, HeartbeatRequest, HeartbeatResponse, TimeoutNow)


class Outbox:
    def __init__(self) -> None:
        self._now: list[Message] = []
        self._saved: list[Message] = []

    def __bool__(self) -> bool:
        return bool(self._now or self._saved)

    def put(self, message: Message, *, after_save: bool) -> None:
        box = self._saved if after_save else self._now
        if isinstance(message.body, _LAST_COUNTS):
            older = _last_of_kind(box, message)
            if older is not None:
                message = _merged(box.pop(older), message)
        box.append(message)

    def forget_acknowledgements(self) -> None:
        """A new term began: what was to be acknowledged in the old one may be cut off before the
        save that the acknowledgement waits for."""
        self._saved = [item for item in self._saved if not isinstance(item.body, AppendResponse)]

    def take_now(self) -> tuple[Message, ...]:
        messages, self._now = tuple(self._now), []
        return messages

    def take_saved(self) -> tuple[Message, ...]:
        messages, self._saved = tuple(self._saved), []
        return messages


def _last_of_kind(box: list[Message], message: Message) -> int | None:
    kind = type(message.body)
    for number in range(len(box) - 1, -1, -1):
        if box[number].to == message.to and type(box[number].body) is kind:
            return number
    return None


def _merged(older: Message, newer: Message) -> Message:
    """Return the one that says more; acknowledgements here are all of one term."""
    match older.body, newer.body:
        case AppendResponse(match_index=index), AppendResponse(match_index=newer_index):
            return older if index > newer_index else newer
        case _:
            return newer
