"""The line that `logd produce` writes while nothing is acknowledged."""

from __future__ import annotations

import threading

from logd_wire.errors import LogdError, NotEnoughReplicasError

from logd.cli.waiting import WaitNotice


class Watched:
    """Records that wait, and what was said of them; `moving`: one more is answered at each look."""

    def __init__(
        self, waiting: int, error: LogdError | None = None, *, moving: bool = False
    ) -> None:
        self._waiting = waiting
        self._error = error
        self._moving = moving
        self.said: list[str] = []
        self._looked = 0
        self._news = threading.Condition()

    def notice(self) -> WaitNotice:
        return WaitNotice(
            self._say, self._pending, lambda: self._error, first_s=0.005, again_s=0.005
        )

    def _say(self, line: str) -> None:
        with self._news:
            self.said.append(line)
            self._news.notify_all()

    def _pending(self) -> tuple[int, int]:
        with self._news:
            self._looked += 1
            self._news.notify_all()
            return self._waiting, self._looked if self._moving else 0

    def wait(self, *, said: int = 0, looked: int = 0) -> None:
        with self._news:
            assert self._news.wait_for(
                lambda: len(self.said) >= said and self._looked >= looked, timeout=10
            )


def test_it_says_what_waits_where_and_what_to_do_again_and_again() -> None:
    error = NotEnoughReplicasError(
        "t-0 has 1 replicas in sync, acks=all needs 2", hint="see why", broker="a:1"
    )
    watched = Watched(3, error)
    with watched.notice():
        watched.wait(said=3)
    assert watched.said[0] == (
        "logd: 3 records not acknowledged for 0 s: t-0 has 1 replicas in sync, acks=all needs 2 "
        "[a:1]; see why; Ctrl-C gives up"
    )


def test_without_a_cause_it_says_where_to_look() -> None:
    watched = Watched(1)
    with watched.notice():
        watched.wait(said=1)
    assert watched.said[0].startswith("logd: 1 record not acknowledged for ")
    assert "`logd cluster health`" in watched.said[0]


def test_it_is_silent_while_nothing_waits_or_answers_come() -> None:
    for watched in (Watched(0), Watched(10, moving=True)):
        with watched.notice():
            watched.wait(looked=5)
        assert watched.said == []
