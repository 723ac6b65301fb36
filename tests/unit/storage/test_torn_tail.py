"""A sample of the torn tails; `make proof` runs all (`tests.support.torn_tail.run`)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.support import torn_tail

CASES_OF_EACH_KIND = 120


@pytest.fixture(scope="module")
def image() -> torn_tail.TailImage:
    return torn_tail.build_image()


@pytest.mark.parametrize("kind", torn_tail.KINDS)
def test_a_torn_tail_opens_as_a_prefix(image: torn_tail.TailImage, kind: str) -> None:
    every = range(image.ledger_position, len(image.segment))
    borders = [position for position, _ in image.borders]
    near = [p + d for p in borders[:: len(borders) // 6] for d in (-1, 0, 1, 17, 60, 61)]
    positions = {image.ledger_position, len(image.segment) - 1}
    positions.update(p for p in near if p in every)
    positions.update(random.Random(kind).sample(every, CASES_OF_EACH_KIND))
    assert torn_tail.run(image, sorted(positions), [kind]) == len(positions)


def test_the_tail_is_64_kib(image: torn_tail.TailImage) -> None:
    assert len(image.segment) - image.ledger_position == torn_tail.TAIL_BYTES == 65536
    assert image.ledger_end > 0


@pytest.mark.proof
def test_every_byte_of_the_tail(record_figure: Callable[[str, int | float | str], None]) -> None:
    cases = torn_tail.run(torn_tail.build_image())
    record_figure("torn tails, each opened as a prefix at a batch border", cases)
