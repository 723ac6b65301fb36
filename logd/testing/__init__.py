"""A whole node inside one test: memory files, an in-memory network and a virtual clock.

`MemoryCluster` and `run` are for tests of applications; see `logd.testing.cluster`.
"""

from __future__ import annotations

from logd.testing.cluster import MemoryCluster, run

__all__ = ["MemoryCluster", "run"]
