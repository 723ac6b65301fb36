"""Gives the memory of large messages back to the operating system.

Left to itself, glibc answers the first large block that is freed by keeping all blocks up to that
size in its own heaps from then on. A few messages at the limit of 16 MiB then leave a node a
hundred megabytes larger for good.
"""

from __future__ import annotations

import ctypes
from typing import Final

from logd_wire.limits import MIB

#: From this size on a block is mapped by itself, and unmapped when it is freed. Batches and frames
#: of the usual sizes stay below: mapping costs a page fault for every 4 KiB.
MAPPED_BYTES_MIN: Final = 2 * MIB
#: Free memory at the top of a heap beyond this goes back.
KEPT_BYTES_MAX: Final = 8 * MIB

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def release_large_blocks() -> bool:
    """Tell the C library of this process; False where it is not glibc, and nothing was done."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mapped = mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
    kept = mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
    return bool(mapped and kept)
