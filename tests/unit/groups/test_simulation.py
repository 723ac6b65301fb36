"""Seeded histories of a group with all kinds of faults; a failure names its seed.

`python -m tests.unit.groups.test_simulation SEED [STEPS]` runs one again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random

import pytest

from tests.unit.groups.world import SLOTS, World

SEEDS = 150
STEPS = 250

#: Steps that need a slot, with how often they come.
_OF_SLOT: tuple[tuple[Callable[[World, int], object], int], ...] = (
    (World.exchange, 10),
    (World.heartbeat, 10),
    (World.commit, 4),
    (World.fetch, 4),
    (World.give_up, 4),
    (World.deliver_records, 6),
    (World.start, 4),
    (World.crash, 1),
    (World.freeze, 1),
    (World.thaw, 2),
    (World.leave, 1),
    (World.subscribe, 1),
)


def step(world: World) -> None:
    """One step of any kind."""
    dice = world.dice
    kind = dice.random()
    if kind < 0.45:
        chosen = dice.choices(_OF_SLOT, weights=[weight for _, weight in _OF_SLOT])[0][0]
        chosen(world, dice.choice(SLOTS))
    elif kind < 0.80:
        _network(world)
    elif kind < 0.86:
        world.commit_log()
    elif kind < 0.95:
        world.pass_time(dice.choice([100, 500, 1_000, 1_000, 3_000]))
        if dice.random() < 0.7:
            world.tick()
    elif kind < 0.97:
        world.fail_over()
    elif kind < 0.975:
        world.change_topics()
    else:
        world.tick()


def _network(world: World) -> None:
    """Something in flight arrives: mostly the oldest, or any; or it is lost, or doubled."""
    dice = world.dice
    waiting, lose = (
        (world.requests, world.lose_request)
        if dice.random() < 0.5
        else (world.responses, world.lose_response)
    )
    if not waiting:
        return
    index = 0 if dice.random() < 0.5 else dice.randrange(len(waiting))
    kind = dice.random()
    if kind < 0.08:
        lose(index)
    elif waiting is world.responses:
        world.come_back(index)
    else:
        world.arrive(index, again=kind < 0.25)


def run(seed: int, steps: int = STEPS) -> World:
    world = World(Random(seed))
    for _ in range(steps):
        step(world)
        world.check()
    world.calm_down()
    return world


@pytest.mark.parametrize("block", range(SEEDS // 10))
def test_seeds(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        try:
            run(seed)
        except Exception as failure:
            failure.add_note(f"python -m tests.unit.groups.test_simulation {seed}")
            raise


def test_the_same_seed_is_the_same_history() -> None:
    assert run(7).log == run(7).log


@pytest.mark.proof
def test_many_seeds() -> None:
    for seed in range(1_000, 6_000):
        run(seed, 600)


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
