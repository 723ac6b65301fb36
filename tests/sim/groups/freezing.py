"""A virtual loop on which simulated processes can be frozen, as by SIGSTOP.

Whatever the loop would run of a frozen process, steps of its tasks and its timers, waits in the
order in which it came due; messages to it wait with it, and its clock goes on. A process that is
never thawed is one that was killed.
"""

from __future__ import annotations

import asyncio
from contextvars import Context

from logd.testing.loop import OWNER, VirtualLoop


class _Handle(asyncio.Handle):
    _loop: FreezingLoop
    _context: Context

    def _run(self) -> None:
        if not self._loop.defers(self, self._context):
            super()._run()


class _Timer(asyncio.TimerHandle):
    _loop: FreezingLoop
    _context: Context

    def _run(self) -> None:
        if not self._loop.defers(self, self._context):
            super()._run()


class FreezingLoop(VirtualLoop):
    """See the module. A process is whatever OWNER says."""

    handle_type = _Handle
    timer_type = _Timer

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
