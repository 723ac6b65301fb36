"""A line on stderr that says how far something is."""

from __future__ import annotations

import sys
import time

from logd.cli.options import Invocation

#: Where stderr is no terminal, progress is told so often.
TELL_SECONDS = 10.0


class StatusLine:
    """Rewritten in place, only where stderr is a terminal; `tells` elsewhere too, now and then."""

    def __init__(self, invocation: Invocation, *, tells: bool = False) -> None:
        self._invocation = invocation
        self._shown = not invocation.quiet and sys.stderr.isatty()
        self._tells = tells and not self._shown
        self._told_at = time.monotonic()

    def write(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif self._tells and time.monotonic() >= self._told_at + TELL_SECONDS:
            self._told_at = time.monotonic()
            self._invocation.say(text)

    def clear(self) -> None:
        if self._shown:
            self.write("")
