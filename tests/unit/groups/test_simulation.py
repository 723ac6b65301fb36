"""Seeded histories of a group with all kinds of faults; a failure names its seed.

`python -m tests.unit.groups.test_simulation SEED [STEPS]` runs one again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random

import pytest

from tests.unit.groups.world import SLOTS, World

SEEDS = 240
STEPS = 600


class History:
    """One seed: how often each kind of step and of trouble comes is drawn first."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.world = World(self.dice)
        self.lost = self.dice.choice([0.02, 0.1, 0.3])
        self.doubled = self.dice.choice([0.05, 0.2, 0.5])
        self.in_order = self.dice.choice([0.2, 0.6, 0.9])
        kinds: tuple[tuple[Callable[[], object], float], ...] = (
            (self.request, 18),
            (self.response, 18),
            (self.time, 9),
            (self.world.commit_log, 8),
            (self.world.tick, 3),
            (self.world.fail_over, 2),
            (self.world.change_topics, 0.5),
            (self.of_slot(World.exchange), 5),
            (self.of_slot(World.heartbeat), 8),
            (self.of_slot(World.commit), 4),
            (self.of_slot(World.fetch), 4),
            (self.of_slot(World.give_up), 2),
            (self.of_slot(World.deliver_records), 4),
            (self.of_slot(World.start), 3),
            (self.of_slot(World.crash), 0.5),
            (self.of_slot(World.freeze), 0.5),
            (self.of_slot(World.thaw), 1),
            (self.of_slot(World.leave), 0.5),
            (self.of_slot(World.subscribe), 0.5),
        )
        self.kinds = [kind for kind, _ in kinds]
        self.weights = [weight * self.dice.choice([0.3, 1, 2]) for _, weight in kinds]

    def of_slot(self, kind: Callable[[World, int], object]) -> Callable[[], object]:
        return lambda: kind(self.world, self.dice.choice(SLOTS))

    def step(self) -> None:
        self.dice.choices(self.kinds, self.weights)[0]()
        self.world.check()

    def time(self) -> None:
        self.world.pass_time(self.dice.choice([100, 500, 1_000, 1_000, 3_000]))
        if self.dice.random() < 0.7:
            self.world.tick()

    def request(self) -> None:
        """A request arrives, mostly the oldest; or it is lost; or another copy stays on its way."""
        waiting = len(self.world.requests)
        if waiting and self.dice.random() < self.lost:
            self.world.lose_request(self.which(waiting))
        elif waiting:
            self.world.arrive(self.which(waiting), again=self.dice.random() < self.doubled)

    def response(self) -> None:
        waiting = len(self.world.responses)
        if waiting and self.dice.random() < self.lost:
            self.world.lose_response(self.which(waiting))
        elif waiting:
            self.world.come_back(self.which(waiting))

    def which(self, waiting: int) -> int:
        return 0 if self.dice.random() < self.in_order else self.dice.randrange(waiting)


def run(seed: int, steps: int = STEPS) -> World:
    history = History(seed)
    for _ in range(steps):
        history.step()
    history.world.calm_down()
    return history.world


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
