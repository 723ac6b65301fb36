"""Batches that wait for the high watermark: answered in order, once, and not before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import NotLeaderError

from logd.runtime.acknowledgements import Acknowledgements


def a_future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def test_what_the_high_watermark_has_passed_is_answered() -> None:
    waiting, futures = Acknowledgements(), [a_future() for _ in range(3)]
    for number, future in enumerate(futures):
        waiting.wait(10 * (number + 1), f"outcome {number}", future)
    waiting.release(19)
    assert [future.done() for future in futures] == [True, False, False]
    waiting.release(20)
    assert [future.done() for future in futures] == [True, True, False]
    waiting.release(19)
    waiting.release(30)
    assert [await future for future in futures] == ["outcome 0", "outcome 1", "outcome 2"]
    assert len(waiting) == 0


async def test_several_wait_for_one_offset_whatever_their_outcomes_are() -> None:
    waiting, futures = Acknowledgements(), [a_future() for _ in range(4)]
    for number, future in enumerate(futures):
        # A duplicate waits for the batch that it repeats; outcomes cannot be compared.
        waiting.wait(5, {"number": number}, future)
    waiting.release(5)
    assert [(await future)["number"] for future in futures] == [0, 1, 2, 3]


async def test_a_failure_ends_all_that_waits_and_nothing_later() -> None:
    waiting = Acknowledgements()
    early, late = a_future(), a_future()
    waiting.wait(5, "early", early)
    waiting.fail(NotLeaderError("led elsewhere"))
    assert len(waiting) == 0
    with pytest.raises(NotLeaderError):
        await early
    waiting.wait(6, "late", late)
    waiting.release(6)
    assert await late == "late"


async def test_callers_that_gave_up_are_passed_over() -> None:
    waiting, futures = Acknowledgements(), [a_future() for _ in range(4)]
    for number, future in enumerate(futures):
        waiting.wait(number, number, future)
    futures[0].cancel()
    futures[2].cancel()
    waiting.release(1)
    assert await futures[1] == 1
    waiting.fail(NotLeaderError("led elsewhere"))
    assert isinstance(futures[3].exception(), NotLeaderError)


@given(st.lists(st.integers(0, 20), max_size=20), st.lists(st.integers(0, 25), max_size=6))
def test_nobody_is_answered_early_and_nobody_forgotten(
    offsets: list[int], high_watermarks: list[int]
) -> None:
    async def play() -> None:
        waiting, futures = Acknowledgements(), [a_future() for _ in offsets]
        for offset, future in zip(offsets, futures, strict=True):
            waiting.wait(offset, offset, future)
        for passed in high_watermarks:
            waiting.release(passed)
        highest = max(high_watermarks, default=-1)
        for offset, future in zip(offsets, futures, strict=True):
            assert future.done() is (offset <= highest)
        assert len(waiting) == sum(offset > highest for offset in offsets)

    asyncio.run(play())
