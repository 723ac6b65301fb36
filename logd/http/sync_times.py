"""How long syncs take, reported by whichever thread did one."""

from __future__ import annotations

import threading
from typing import Final

from logd.observe import Histogram

#: First component of a path in the data directory -> whose sync that is.
_LOGS: Final = {"partitions": "partitions", "raft": "metadata"}
_OTHER: Final = "other"


class SyncTimes:
    """A histogram for each kind of file. `record` may be called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histograms = {log: Histogram() for log in (*_LOGS.values(), _OTHER)}

    def record(self, path: str, duration_ns: int) -> None:
        """A file at `path` in the data directory was synced."""
        histogram = self._histograms[_LOGS.get(path.partition("/")[0], _OTHER)]
        with self._lock:
            histogram.observe(duration_ns)

    def all(self) -> list[tuple[str, Histogram]]:
        """Copies of the histograms, by what they are of."""
        with self._lock:
            return [(log, histogram.copy()) for log, histogram in self._histograms.items()]
