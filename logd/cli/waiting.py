"""A line on stderr every few seconds while nothing is acknowledged: what waits, and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from logd_wire.errors import LogdError

#: Without an acknowledgement for so long, the user is told; and again and again.
FIRST_S = 3.0
AGAIN_S = 5.0


class WaitNotice:
    """Watches a count from a thread of its own, inside the block.

    `pending` says how many records wait for an answer and how many have one, `why` what the last
    try of the one that waits longest ended in.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        pending: Callable[[], tuple[int, int]],
        why: Callable[[], LogdError | None],
        *,
        first_s: float = FIRST_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._say = say
        self._pending = pending
        self._why = why
        self._first_s, self._again_s = first_s, again_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logd waiting", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        since, answered = time.monotonic(), -1
        due = since + self._first_s
        while not self._ended.wait(max(0.0, min(due - time.monotonic(), self._first_s))):
            waiting, now_answered = self._pending()
            now = time.monotonic()
            if not waiting or now_answered != answered:
                since, answered = now, now_answered
                due = now + self._first_s
            elif now >= due:
                self._say(_line(waiting, now - since, self._why()))
                due = now + self._again_s


def _line(waiting: int, seconds: float, error: LogdError | None) -> str:
    records = f"{waiting:,} record{'' if waiting == 1 else 's'}"
    said = f"logd: {records} not acknowledged for {seconds:.0f} s"
    if error is None:
        return f"{said}: no answer yet; `logd cluster health` says what is wrong; Ctrl-C gives up"
    where = f" [{error.broker}]" if error.broker else ""
    todo = error.hint or "`logd cluster health` says what is wrong; it is tried again"
    return f"{said}: {error.message}{where}; {todo}; Ctrl-C gives up"
