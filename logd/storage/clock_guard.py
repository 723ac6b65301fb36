"""A clock that does not jump, and the brake for when the wall clock does.

Two clocks are compared: the wall clock, which may be set to anything at any time, and the time
since the machine was booted (it goes on while the machine sleeps), which only ever runs. From them
comes a third, the *steady* clock: it began as the wall clock and runs as the boot clock does.
Append times and ages are counted on it.

    close     |wall - steady| <= 1 h. The steady clock is led to the wall clock by a ten-thousandth
              of the time that passes. What it was led forward is taken off again where ages are
              counted, so that a small step of the wall clock makes nothing old.
    braked    They are further apart: one of the two is wrong. Nothing may go by age.
      -> close when the wall clock comes back,
      -> close when it has run 24 h without another jump: it is believed, the steady clock is set to
         it, and everything that is there counts as no older than this moment (`trusted_since`).

Across a restart: with the machine still up the steady clock goes on as if nothing had happened.
After a boot there is only the wall clock. Ahead of what was saved by up to 3 days it is believed;
back by more than 1 h it is wrong for certain, further ahead it may be: braked.

    clock    sidecar frame · boot id 36 B · boot ms i64 · steady ms i64 · led ms i64
             · trusted since ms i64 · braked u8 · braked for ms i64 · apart ms i64

Pure: every time comes from outside, in milliseconds.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from logd.storage.files import Files, is_no_space, write_atomic
from logd.storage.sidecar import encode_sidecar, read_sidecar

FILE_NAME = "clock"
HOUR_MS = 3_600_000
#: Wall clock and steady clock may be this far apart.
SKEW_MS_MAX = HOUR_MS
#: How long a wall clock that jumped must run on its own before it is believed.
SETTLE_MS = 24 * HOUR_MS
#: A node that was down longer, across a boot, cannot be told from a clock that is ahead.
DOWN_MS_MAX = 72 * HOUR_MS
#: The share of the time that passes by which the steady clock is led to the wall clock.
_LEAD_PARTS = 10_000

_MAGIC = b"logd-ck\0"
_STATE = struct.Struct(">36sqqqqBqq")


class SavedClock(NamedTuple):
    """What a restart needs to know. `boot_id` empty: unknown, never the same."""

    boot_id: str
    boot_ms: int
    steady_ms: int
    led_ms: int
    trusted_since_ms: int
    braked: bool
    braked_for_ms: int
    apart_ms: int


class ClockGuard:
    """See the module's text. `observe` moves it; `steady_ms` may be asked on any thread."""

    def __init__(
        self, *, wall_ms: int, boot_ms: int, boot_id: str, saved: SavedClock | None = None
    ) -> None:
        self._boot_id = boot_id
        self._boot_ms = boot_ms
        self._wall_ms = wall_ms
        # One object, replaced as a whole: (steady ms, boot ms) of one moment.
        self._base = (wall_ms, boot_ms)
        self._led_ms = 0
        self.trusted_since_ms = 0
        #: The boot time since which the wall clock has run without a jump; None: not braked.
        self._braked_from: int | None = None
        self._apart_ms = 0
        self._ahead_ms_max = SKEW_MS_MAX
        if saved is not None:
            self._resume(saved)
        self.observe(wall_ms, boot_ms)

    def _resume(self, saved: SavedClock) -> None:
        same_boot = bool(saved.boot_id) and saved.boot_id == self._boot_id
        went_on = same_boot and self._boot_ms >= saved.boot_ms
        passed_ms = self._boot_ms - saved.boot_ms if went_on else 0
        self._base = (saved.steady_ms + passed_ms, self._boot_ms)
        self._led_ms = saved.led_ms
        self.trusted_since_ms = saved.trusted_since_ms
        if saved.braked:
            self._braked_from = self._boot_ms - saved.braked_for_ms - passed_ms
            self._apart_ms = saved.apart_ms
        if not went_on:
            # Nobody knows how long the machine was down.
            self._ahead_ms_max = DOWN_MS_MAX
            ahead_ms = self._wall_ms - saved.steady_ms
            if not saved.braked and 0 <= ahead_ms <= DOWN_MS_MAX:
                self._base = (self._wall_ms, self._boot_ms)

    def steady_ms(self, boot_ms: int) -> int:
        """The steady clock when the machine has been up for `boot_ms`."""
        steady, since = self._base
        return steady + boot_ms - since

    @property
    def braked(self) -> bool:
        return self._braked_from is not None

    @property
    def apart_ms(self) -> int:
        """How far the wall clock is ahead of the steady clock (behind: negative), while braked."""
        return self._apart_ms

    def observe(self, wall_ms: int, boot_ms: int) -> None:
        """Compare the clocks; call it before every decision on ages."""
        passed_ms = boot_ms - self._boot_ms
        self._boot_ms, self._wall_ms = boot_ms, wall_ms
        steady_ms = self.steady_ms(boot_ms)
        apart_ms = wall_ms - steady_ms
        if self._braked_from is None:
            if abs(apart_ms) > SKEW_MS_MAX:
                self._braked_from, self._apart_ms = boot_ms, apart_ms
            else:
                self._ahead_ms_max = SKEW_MS_MAX
                self._lead(apart_ms, passed_ms)
        elif -SKEW_MS_MAX <= apart_ms <= self._ahead_ms_max:
            if apart_ms > SKEW_MS_MAX:
                self._base = (wall_ms, boot_ms)
            self._release()
        elif abs(apart_ms - self._apart_ms) > SKEW_MS_MAX:
            self._braked_from, self._apart_ms = boot_ms, apart_ms
        elif boot_ms - self._braked_from >= SETTLE_MS:
            self._base = (wall_ms, boot_ms)
            self._trust_from(wall_ms)
            self._release()

    def _lead(self, apart_ms: int, passed_ms: int) -> None:
        step_ms = min(abs(apart_ms), max(passed_ms, 0) // _LEAD_PARTS)
        steady, since = self._base
        if apart_ms > 0:
            self._base = (steady + step_ms, since)
            self._led_ms += step_ms
            if self._led_ms > SKEW_MS_MAX:
                self._trust_from(self.steady_ms(self._boot_ms))
        else:
            self._base = (steady - step_ms, since)

    def _trust_from(self, steady_ms: int) -> None:
        self.trusted_since_ms = steady_ms
        self._led_ms = 0

    def _release(self) -> None:
        self._braked_from, self._apart_ms = None, 0
        self._ahead_ms_max = SKEW_MS_MAX

    def now_ms(self) -> int:
        """What ages may be counted to: the clock that is behind, without what it was led."""
        return min(self.steady_ms(self._boot_ms), self._wall_ms) - self._led_ms

    def settles_in_ms(self) -> int:
        """How long until the wall clock is believed if it jumps no more."""
        assert self._braked_from is not None, "only while braked"
        return self._braked_from + SETTLE_MS - self._boot_ms

    def saved(self) -> SavedClock:
        """What the next start is to know."""
        braked_for_ms = 0 if self._braked_from is None else self._boot_ms - self._braked_from
        return SavedClock(
            self._boot_id,
            self._boot_ms,
            self.steady_ms(self._boot_ms),
            self._led_ms,
            self.trusted_since_ms,
            self.braked,
            braked_for_ms,
            self._apart_ms,
        )


def load_clock(files: Files) -> SavedClock | None:
    """Read the file; None: missing or damaged."""
    payload = read_sidecar(files, FILE_NAME, _MAGIC, identity=None, base_offset=0, covered=0)
    if payload is None or len(payload) != _STATE.size:
        return None
    boot_id, boot_ms, steady_ms, led_ms, since_ms, braked, for_ms, apart_ms = _STATE.unpack(payload)
    name = boot_id.rstrip(b"\0").decode("ascii", "replace")
    return SavedClock(name, boot_ms, steady_ms, led_ms, since_ms, bool(braked), for_ms, apart_ms)


def store_clock(files: Files, saved: SavedClock) -> None:
    """Write the file, durable on return; on a full disk the one before it stays."""
    payload = _STATE.pack(saved.boot_id.encode("ascii", "replace")[:36], *saved[1:])
    data = encode_sidecar(_MAGIC, payload, identity=0, base_offset=0, covered=0)
    try:
        write_atomic(files, FILE_NAME, data)
    except OSError as error:
        if not is_no_space(error):
            raise
