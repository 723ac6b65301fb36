"""What a measurement was made on: machine and versions."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from typing import Any

_PACKAGES = ("logd-client", "grpcio", "protobuf", "crc32c", "zstandard", "uvloop")


def versions() -> dict[str, str]:
    """Python, the batch codec in use, and the installed packages that the data path stands on."""
    from importlib import metadata

    from logd_wire import CODEC

    found = {"python": platform.python_version(), "codec": CODEC}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory and kernel."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
