"""The node's clock for append times and ages: it does not jump when the wall clock does."""

from __future__ import annotations

import logging
from typing import NamedTuple

from logd.model.units import rough_duration
from logd.runtime.ports import Clock
from logd.storage import ClockGuard, Files, Moment, load_clock, store_clock

_logger = logging.getLogger("logd.clock")


class _Span(NamedTuple):
    """A time in words, and which way."""

    length: str
    way: str


class SteadyClock:
    """Implements `ClockNow`; `logd.storage.clock_guard` has the rules."""

    def __init__(self, clock: Clock, files: Files) -> None:
        self._clock = clock
        self._files = files
        boot = clock.boot_time()
        self._guard = ClockGuard(
            wall_ms=clock.wall_ms(), boot_ms=boot.ms, boot_id=boot.boot_id, saved=load_clock(files)
        )
        if self._guard.braked:
            self._report_brake()

    def wall_ms(self) -> int:
        """The time as far as it is believed. Any thread."""
        return self._guard.steady_ms(self._clock.boot_time().ms)

    def monotonic_ms(self) -> int:
        """As of the node's clock."""
        return self._clock.monotonic_ms()

    def check(self) -> Moment:
        """Compare the clocks and return what ages are counted with; say it when they part."""
        guard = self._guard
        before, since = guard.braked, guard.trusted_since_ms
        guard.observe(self._clock.wall_ms(), self._clock.boot_time().ms)
        if guard.braked and not before:
            self._report_brake()
        elif before and not guard.braked:
            _logger.warning(
                "the wall clock %s: retention by age goes on",
                "came back" if guard.trusted_since_ms == since else "is believed from now on",
            )
        return self.moment()

    def moment(self) -> Moment:
        """What the last check found."""
        brake = self.brake_in_words() if self._guard.braked else ""
        return Moment(self._guard.now_ms(), brake, self._guard.trusted_since_ms)

    def brake_in_words(self) -> str:
        """Why nothing goes by age, and what ends it."""
        span = self._apart()
        settles = rough_duration(max(self._guard.settles_in_ms(), 0))
        return (
            f"nothing is deleted by age: the wall clock is {span.length} {span.way} what it should"
            f" be; ends when it comes back, or in {settles} if it jumps no more"
        )

    def _apart(self) -> _Span:
        apart_ms = self._guard.apart_ms
        length = rough_duration(abs(apart_ms))
        return _Span(length, "ahead of" if apart_ms > 0 else "behind")

    def _report_brake(self) -> None:
        _logger.error("%s", self.brake_in_words())

    def save(self) -> None:
        """Keep it for the next start; on the writer, or before anything writes."""
        store_clock(self._files, self._guard.saved())
