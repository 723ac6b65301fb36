"""One pass in a process of its own: `python -m logd.storage.cleaner.worker ROOT RATE`.

    in    one line of JSON: the plan; then nothing. When the input ends, so does the pass.
    out   one line of JSON: {"result": ...}, or {"refused": "why"}

`ROOT` is the data directory, `RATE` bytes read and written a second, -1 for no limit. The lock of
the data directory is not this process's business: it reads segments that do not change any more and
writes files that nobody knows.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path

from logd.storage.cleaner.plan import CleaningPlan
from logd.storage.cleaner.result import CleaningAbortedError, CleaningError
from logd.storage.cleaner.rewrite import clean
from logd.storage.real_files import RealFiles

#: How much of other people's processor it leaves to them.
_NICENESS = 10
#: Whether the input has ended, and whether to wait, is asked each time so many bytes are through.
_STEP_BYTES = 1 << 20


class Throttle:
    """Keeps to a rate, and stops when nobody waits for the result any more."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._begin = time.monotonic()
        self._done = 0
        self._asked_at = 0

    def __call__(self, size: int) -> None:
        self._done += size
        if self._done - self._asked_at < _STEP_BYTES:
            return
        self._asked_at = self._done
        wait_s = 0.0
        if self._rate > 0:
            wait_s = max(self._begin + self._done / self._rate - time.monotonic(), 0.0)
        readable, _, _ = select.select([sys.stdin], [], [], wait_s)
        if readable:
            raise CleaningAbortedError("nobody waits for the result")


def main(root: str, bytes_per_second: int) -> int:
    """Run one pass; the exit code is 0 unless it was stopped."""
    os.nice(_NICENESS)
    plan = CleaningPlan.from_plain(json.loads(sys.stdin.readline()))
    try:
        result = clean(RealFiles(Path(root)), plan, pace=Throttle(bytes_per_second))
    except CleaningError as error:
        answer: dict[str, object] = {"refused": str(error)}
    except CleaningAbortedError:
        return 1
    else:
        answer = {"result": result.to_plain()}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
