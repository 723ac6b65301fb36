from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.runtime.budget import ByteBudget, ConnectionBudget
from tests.support.loops import settle


async def test_what_fits_is_taken_at_once() -> None:
    budget = ByteBudget(10)
    await budget.acquire(4)
    await budget.acquire(6)
    assert budget.held == 10
    assert not budget.try_acquire(1)


async def test_waiters_are_served_in_order_and_none_overtakes() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    served: list[str] = []

    async def take(name: str, count: int) -> None:
        await budget.acquire(count)
        served.append(name)

    large = asyncio.ensure_future(take("large", 8))
    small = asyncio.ensure_future(take("small", 1))
    await settle()
    budget.release(5)
    await settle()
    assert served == [], "the small one must not overtake the large one"
    assert not budget.try_acquire(1), "nor must anyone who did not wait"
    budget.release(5)
    await asyncio.gather(large, small)
    assert served == ["large", "small"]


async def test_more_than_the_whole_budget_passes_alone() -> None:
    budget = ByteBudget(10)
    await budget.acquire(1)
    huge = asyncio.ensure_future(budget.acquire(100))
    await settle()
    assert not huge.done()
    budget.release(1)
    await huge
    assert budget.held == 100
    assert not budget.try_acquire(1)


async def test_a_cancelled_waiter_lets_the_next_one_pass() -> None:
    budget = ByteBudget(10)
    await budget.acquire(9)
    first = asyncio.ensure_future(budget.acquire(5))
    second = asyncio.ensure_future(budget.acquire(1))
    await settle()
    first.cancel()
    await asyncio.gather(second)
    assert budget.held == 10


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_back() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    waiter = asyncio.ensure_future(budget.acquire(5))
    await settle()
    budget.release(10)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert budget.held == 0


async def test_a_greedy_connection_waits_for_itself() -> None:
    node = ByteBudget(100)
    greedy, modest = ConnectionBudget(node, 20), ConnectionBudget(node, 20)
    await greedy.acquire(20)
    waiting = asyncio.ensure_future(greedy.acquire(20))
    await settle()
    await modest.acquire(20)
    assert node.held == 40
    greedy.release(20)
    await waiting
    assert (node.held, greedy.held) == (40, 20)


@given(st.lists(st.integers(1, 15), max_size=30))
def test_never_above_the_bound_and_all_are_served(counts: list[int]) -> None:
    async def run() -> None:
        budget = ByteBudget(20)
        highest = 0

        async def hold(count: int) -> None:
            nonlocal highest
            await budget.acquire(count)
            highest = max(highest, budget.held)
            await settle(1)
            budget.release(count)

        await asyncio.gather(*(hold(count) for count in counts))
        assert budget.held == 0
        assert highest <= 20

    asyncio.run(run())
