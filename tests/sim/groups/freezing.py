"""A virtual loop on which simulated processes can be frozen, as by SIGSTOP.

Whatever the loop would run of a frozen process, steps of its tasks and its timers, waits in the
order in which it came due; messages to it wait with it, and its clock goes on. A process that is
never thawed is one that was killed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

from logd.testing.loop import OWNER, VirtualLoop

Ts = TypeVarTuple("Ts")


class FreezingLoop(VirtualLoop):
    """See the module. A process is whatever OWNER says."""

    # What asyncio's loop calls so.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        #: By process: what came due since it was frozen.
        self._frozen: dict[object, list[asyncio.Handle]] = {}

    def freeze(self, owner: object) -> None:
        """Run nothing of it from now on."""
        self._frozen.setdefault(owner, [])

    def thaw(self, owner: object) -> None:
        """Let it go on."""
        self._ready.extend(self._frozen.pop(owner, ()))

    def thaw_all(self) -> None:
        """Let every process go on, so that it can be ended."""
        for owner in list(self._frozen):
            self.thaw(owner)

    def is_frozen(self, owner: object) -> bool:
        return owner in self._frozen

    def defers(self, handle: asyncio.Handle, context: Context) -> bool:
        """Whether `handle` has to wait; it is kept then."""
        if not self._frozen:
            return False
        waiting = self._frozen.get(context.get(OWNER))
        if waiting is None:
            return False
        waiting.append(handle)
        return True

    # The two ways by which anything comes onto a loop: `call_soon` and `call_later` end here.

    def _call_soon(
        self, callback: Callable[..., object], args: Any, context: Context | None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer


class _Handle(asyncio.Handle):
    _loop: FreezingLoop
    _context: Context

    def _run(self) -> None:
        if not self._loop.defers(self, self._context):
            super()._run()


class _Timer(asyncio.TimerHandle):
    _loop: FreezingLoop
    _context: Context
    _scheduled: bool

    def _run(self) -> None:
        if not self._loop.defers(self, self._context):
            super()._run()
