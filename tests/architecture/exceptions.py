"""What is excused from a limit, each with its reason.

The lists may only shrink: an entry that is no longer needed, or that allows more than is used,
fails the check as much as a missing one.
"""

from __future__ import annotations

from typing import NamedTuple


class Allowed(NamedTuple):
    """An exception: no more than `most`, because of `reason`."""

    most: int
    reason: str


#: path -> lines
LONG_FILES: dict[str, Allowed] = {}

#: `path:function` -> lines
LONG_FUNCTIONS: dict[str, Allowed] = {}

#: Distributions that may be missing, so that importing them waits until they are asked for.
OPTIONAL_DISTRIBUTIONS = frozenset({"uvloop", "lz4", "cramjam"})

#: Modules that may open files by path; everything else goes through `logd.storage`.
OPENS_FILES: dict[str, str] = {
    "logd/runtime/adapters.py": "the kernel shows the boot's id as a file",
    "logd/storage/real_files.py": "the adapter that everything else uses",
}
