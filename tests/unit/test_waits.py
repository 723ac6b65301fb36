"""The measure of the trials: how long a partition gave no acknowledgement while one was due."""

from __future__ import annotations

from logd_client import TopicPartition

from tests.support.waits import Waits

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def test_a_wait_begins_with_the_send_or_the_acknowledgement_before_it() -> None:
    waits = Waits()
    waits.acknowledged(A, 0.0, 0.5)
    waits.acknowledged(A, 0.1, 3.0)
    assert waits.longest_s([A, B]) == 2.5
    # Nobody waited in between.
    waits.acknowledged(A, 60.0, 60.25)
    assert waits.longest_s([A]) == 2.5
    assert waits.longest_s([B]) == 0.0


def test_what_was_before_is_forgotten_but_its_end_is_not() -> None:
    waits = Waits()
    waits.acknowledged(A, 0.0, 4.0)
    waits.begin()
    assert waits.longest_s([A]) == 0.0
    waits.acknowledged(A, 3.0, 5.0)
    assert waits.longest_s([A]) == 1.0


def test_only_what_was_sent_afterwards_counts_as_written_since() -> None:
    waits = Waits()
    waits.acknowledged(A, 1.0, 9.0)
    assert not waits.all_since([A], 2.0)
    waits.acknowledged(A, 2.5, 9.0)
    assert waits.all_since([A], 2.0)
    assert not waits.all_since([A, B], 2.0)
