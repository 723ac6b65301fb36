"""Which node is asked next."""

from __future__ import annotations

from logd_client._core.candidates import Candidates


def test_the_one_that_answered_is_asked_again() -> None:
    candidates = Candidates()
    assert candidates.order(["a", "b", "c"]) == ["a", "b", "c"]
    candidates.answered("b")
    assert candidates.order(["a", "b", "c"]) == ["b", "a", "c"]


def test_one_that_failed_comes_last_until_it_is_heard_of() -> None:
    candidates = Candidates()
    candidates.answered("a")
    candidates.failed("a")
    candidates.failed("b")
    assert candidates.order(["a", "b", "c"], ["d"]) == ["c", "d", "a", "b"]
    candidates.failed("a")
    assert candidates.order(["a", "b", "c"], ["d"]) == ["c", "d", "b", "a"]
    candidates.heard_of("b")
    assert candidates.order(["a", "b", "c"], ["d"]) == ["b", "c", "d", "a"]
    candidates.answered("a")
    assert candidates.order(["a", "b", "c"], ["d"]) == ["a", "b", "c", "d"]


def test_those_with_nothing_new_take_turns() -> None:
    candidates = Candidates()
    asked = []
    for _ in range(6):
        first = candidates.order(["a", "b", "c"], ["boot"])[0]
        candidates.answered(first)
        candidates.had_nothing_new(first)
        asked.append(first)
    assert asked == ["a", "b", "c", "a", "b", "c"]


def test_a_bootstrap_address_that_answered_stays_while_it_has_news() -> None:
    candidates = Candidates()
    candidates.answered("boot")
    assert candidates.order(["a", "b"], ["boot"])[0] == "boot"
    candidates.had_nothing_new("boot")
    assert candidates.order(["a", "b"], ["boot"]) == ["a", "b", "boot"]


def test_a_hint_makes_an_address_the_first() -> None:
    candidates = Candidates()
    candidates.answered("a")
    candidates.failed("c")
    candidates.prefer("c")
    assert candidates.order(["a", "b", "c"]) == ["c", "a", "b"]
