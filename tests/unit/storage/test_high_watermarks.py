"""The file of high watermarks: old, new or nothing, never something else."""

from __future__ import annotations

import random

import pytest

from logd.storage import MemoryFiles, load_high_watermarks, store_high_watermarks
from tests.unit.storage.kit import content_of, flip, overwrite

NAME = "high-watermarks"
MARKS = {(b"a" * 16, 0): 7, (b"a" * 16, 12): 0, (b"b" * 16, 3): 1 << 40}


class Crash(BaseException):
    """The process ends here."""


def test_marks_are_read_as_they_were_written() -> None:
    files = MemoryFiles()
    assert load_high_watermarks(files) == {}
    store_high_watermarks(files, MARKS)
    assert load_high_watermarks(files) == MARKS
    store_high_watermarks(files, {})
    assert load_high_watermarks(files) == {}


def test_a_damaged_file_says_nothing() -> None:
    files = MemoryFiles()
    store_high_watermarks(files, MARKS)
    data = content_of(files, NAME)
    for position in range(len(data)):
        overwrite(files, NAME, flip(data, position, 1 << position % 8))
        assert load_high_watermarks(files) == {}, position
        overwrite(files, NAME, data[:position])
        assert load_high_watermarks(files) == {}, position
    overwrite(files, NAME, data + bytes(28))
    assert load_high_watermarks(files) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_leaves_the_old_marks_or_the_new(seed: int) -> None:
    newer = {**MARKS, (b"c" * 16, 1): 5}
    seen: list[int] = []
    for operations in range(20):
        files = MemoryFiles()
        store_high_watermarks(files, MARKS)
        left = iter(range(operations))

        def count(_operation: str, _path: str, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Crash

        files.before = count
        try:
            store_high_watermarks(files, newer)
            done = True
        except Crash:
            done = False
        files.before = None
        files.crash(random.Random(seed)) if seed else files.kill()
        found = load_high_watermarks(files)
        assert found == newer if done else found in (MARKS, newer)
        seen.append(len(found))
        if done:
            break
    assert seen[0] == len(MARKS)
    assert seen[-1] == len(newer)
