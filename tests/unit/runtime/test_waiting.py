"""What a start that waits says: soon, again with growing pauses, and what to do after a while."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from logd.runtime.waiting import FIRST_MS, PATIENCE_MS, PAUSE_MS, PAUSE_MS_MAX, Waiting

STEP_MS = 200


class World:
    """A node that asks every 200 ms; `said`: when the log heard of it, and what."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "logd.node")
        self._caplog = caplog
        self.now_ms = 50_000
        clock: Any = SimpleNamespace(monotonic_ms=lambda: self.now_ms)
        self.waiting = Waiting(clock)
        self.said: list[tuple[int, str]] = []

    def wait(self, for_ms: int) -> None:
        for _ in range(for_ms // STEP_MS):
            self._caplog.clear()
            self.waiting("no answer from: 2", remedy="start it", detail="reset")
            self.said += [(self.now_ms, record.getMessage()) for record in self._caplog.records]
            self.now_ms += STEP_MS


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    return World(caplog)


def test_a_short_wait_is_said_to_nobody_but_who_asks(world: World) -> None:
    world.wait(FIRST_MS)
    assert world.said == []
    assert (world.waiting.words, world.waiting.is_overdue) == ("no answer from: 2", False)


def test_what_takes_too_long_comes_with_a_remedy(world: World) -> None:
    world.wait(PATIENCE_MS)
    assert (world.waiting.words, world.waiting.is_overdue) == ("no answer from: 2", False)
    assert [text for _, text in world.said] == ["no answer from: 2 (reset)"] * 2
    world.wait(STEP_MS)
    assert world.waiting.words == "no answer from: 2, for 30 s by now; start it"
    assert world.said[-1][1] == "no answer from: 2, for 30 s by now; start it (reset)", "at once"
    assert world.waiting.is_overdue


def test_the_log_hears_of_it_less_and_less_often_and_never_stops(world: World) -> None:
    world.wait(3_600_000)
    at = [when for when, _ in world.said if when >= 50_000 + PATIENCE_MS]
    pauses = [after - before for before, after in itertools.pairwise(at)]
    assert pauses[0] == 4 * PAUSE_MS
    assert pauses == sorted(pauses)
    assert set(pauses[-5:]) == {PAUSE_MS_MAX}


def test_another_wait_begins_anew(world: World) -> None:
    world.wait(PATIENCE_MS + STEP_MS)
    world.waiting.over()
    assert (world.waiting.words, world.waiting.is_overdue) == ("", False)
    world.said.clear()
    world.wait(FIRST_MS + PAUSE_MS + STEP_MS)
    assert len(world.said) == 2
    assert not world.waiting.is_overdue
