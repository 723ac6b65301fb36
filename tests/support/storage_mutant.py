"""A planted bug in storage."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """In `logd/storage/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str
