"""Gives the memory of large messages back to the operating system.

Left to itself, glibc answers the first large block that is freed by keeping all blocks up to that
size in its own heaps from then on, and heaps that were full once shrink only from their end. A
few messages at the limit of 16 MiB then leave a node a hundred megabytes larger for good.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any, Final

from logd_wire.limits import MIB

#: From this size on a block is mapped by itself, and unmapped when it is freed. Batches and frames
#: of the usual sizes stay below: mapping costs a page fault for every 4 KiB.
MAPPED_BYTES_MIN: Final = 2 * MIB
#: Free memory at the end of a heap beyond this goes back.
KEPT_BYTES_MAX: Final = 8 * MIB
#: A request of this size is unusual enough to be cleaned up after.
LARGE_BYTES: Final = 4 * MIB
#: How long after a large request, and after those that come with it.
TRIM_DELAY_S: Final = 1.0

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


class Memory:
    """The C library's memory of this process; does nothing where that is not glibc."""

    def __init__(self) -> None:
        self._library = _glibc()
        self._trimming = False
        if self._library is not None:
            self._library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
            self._library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)

    def requested(self, size: int) -> None:
        """A request of `size` bytes was received; called on the event loop."""
        if size >= LARGE_BYTES and self._library is not None and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(TRIM_DELAY_S, self._trim)

    def _trim(self) -> None:
        self._trimming = False
        # Walks all heaps: a few milliseconds, in which the lock of the interpreter is not held.
        asyncio.get_running_loop().run_in_executor(None, self._library.malloc_trim, 0)


def _glibc() -> Any:
    library = ctypes.CDLL(None)
    known = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if known else None
