"""Gives the memory of large messages back to the operating system.

Left to itself, glibc answers the first large block that is freed by keeping all blocks up to that
size in its own heaps from then on, and heaps that were full once shrink only from their end. A
few messages at the limit of 16 MiB then leave a node a hundred megabytes larger for good.

Requests of ordinary size leave holes too, between what is held for long: a full budget, and the
windows of clients that are not read from. While requests keep coming the holes are filled again,
so the heaps are only cleaned up once large requests have ceased for a while.

glibc gives every thread a heap of its own, up to eight for each processor, and each keeps holes of
its own. Python runs one thread at a time, so two heaps are as fast as many, and a node under
requests of every size stays some twenty megabytes smaller.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Final

from logd_wire.limits import KIB, MIB

#: From this size on a block is mapped by itself, and unmapped when it is freed. Batches and frames
#: of the usual sizes stay below: mapping costs a page fault for every 4 KiB.
MAPPED_BYTES_MIN: Final = 2 * MIB
#: Free memory at the end of a heap beyond this goes back.
KEPT_BYTES_MAX: Final = 8 * MIB
#: A request of this size is unusual enough to be cleaned up after.
LARGE_BYTES: Final = 4 * MIB
#: How long after a large request, and after those that come with it.
TRIM_DELAY_S: Final = 1.0
#: Requests from this size on leave holes worth a trim, when no more have come for `QUIET_S`.
NOTABLE_BYTES: Final = 64 * KIB
QUIET_S: Final = 0.5

#: Heaps that threads share.
HEAPS_MAX: Final = 2

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def share_heaps() -> None:
    """Let all threads of this process share few heaps; before it starts any."""
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, HEAPS_MAX)


class Memory:
    """The C library's memory of this process; does nothing where that is not glibc."""

    def __init__(self) -> None:
        self._library = _glibc()
        self._trimming = False
        #: Notable requests so far, and how many there were when the timer was set that waits for
        #: them to cease; None: it is not set.
        self._notable = 0
        self._notable_before: int | None = None
        if self._library is not None:
            self._library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
            self._library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)

    def requested(self, size: int) -> None:
        """A request of `size` bytes was received; called on the event loop."""
        if size < NOTABLE_BYTES or self._library is None:
            return
        self._notable += 1
        if size >= LARGE_BYTES and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(TRIM_DELAY_S, self._trim)
        if self._notable_before is None:
            self._wait_for_quiet()

    def _wait_for_quiet(self) -> None:
        self._notable_before = self._notable
        asyncio.get_running_loop().call_later(QUIET_S, self._trim_if_quiet)

    def _trim_if_quiet(self) -> None:
        if self._notable != self._notable_before:
            self._wait_for_quiet()
            return
        self._notable_before = None
        self._trim()

    def _trim(self) -> None:
        self._trimming = False
        # Walks all heaps: a few milliseconds, in which the lock of the interpreter is not held.
        asyncio.get_running_loop().run_in_executor(None, self._library.malloc_trim, 0)


def _glibc() -> Any:
    library = ctypes.CDLL(None)
    known = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if known else None
