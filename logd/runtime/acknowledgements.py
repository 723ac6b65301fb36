"""Batches that wait until the high watermark has passed them."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Any, NamedTuple

from logd_wire.errors import LogdError


class _Waiting(NamedTuple):
    next_offset: int
    #: Tells apart those that wait for the same offset.
    number: int
    outcome: Any
    future: asyncio.Future[Any]


class Acknowledgements:
    """Of one partition, in the order of their offsets."""

    def __init__(self) -> None:
        self._heap: list[_Waiting] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def wait(self, next_offset: int, outcome: Any, future: asyncio.Future[Any]) -> None:
        """Answer `future` with `outcome` once everything below `next_offset` is committed."""
        self._number += 1
        heappush(self._heap, _Waiting(next_offset, self._number, outcome, future))

    def release(self, high_watermark: int) -> None:
        """Answer what is committed."""
        heap = self._heap
        while heap and heap[0].next_offset <= high_watermark:
            waiting = heappop(heap)
            if not waiting.future.done():
                waiting.future.set_result(waiting.outcome)

    def fail(self, error: LogdError) -> None:
        """Answer everything that waits with `error`."""
        heap, self._heap = self._heap, []
        for waiting in heap:
            if not waiting.future.done():
                waiting.future.set_exception(error)
