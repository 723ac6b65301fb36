"""`logd consume -g`: members of a group on the command line, against a real node."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.integration.cli.conftest import Shell


@pytest.fixture
def topic(node: Shell, request: pytest.FixtureRequest) -> str:
    """A topic with two partitions of five records each, named after the test."""
    name: str = request.node.name.partition("[")[0].replace("test_", "")
    node.out("topic", "create", name, "-p", "2")
    for number in range(2):
        lines = b"".join(b"%d-%d\n" % (number, n) for n in range(5))
        node.out("produce", name, "-p", str(number), stdin=lines)
    return name


def test_a_group_goes_on_where_it_was(node: Shell, topic: str) -> None:
    first = node.out("consume", topic, "-g", topic, "-n", "4").split()
    rest = node.out("consume", topic, "-g", topic, "-e").split()
    assert len(first) == 4
    assert sorted(first + rest) == [b"%d-%d" % (n // 5, n % 5) for n in range(10)]
    assert node.out("consume", topic, "-g", topic, "-e") == b""
    assert len(node.out("consume", topic, "-g", "another", "-e").split()) == 10


def test_what_is_not_committed_comes_again(node: Shell, topic: str) -> None:
    arguments = ("consume", topic, "-g", topic, "-e", "-X", "enable.auto.commit=false")
    assert len(node.out(*arguments).split()) == 10
    assert len(node.out(*arguments).split()) == 10


def test_a_new_group_may_begin_at_the_end(node: Shell, topic: str) -> None:
    assert node.out("consume", topic, "-g", topic, "-o", "end", "-e") == b""
    node.out("produce", topic, "-p", "0", stdin=b"new\n")
    assert node.out("consume", topic, "-g", topic, "-e") == b"new\n"


def test_members_share_and_ctrl_c_hands_over(node: Shell, topic: str) -> None:
    reader = node.start("consume", topic, "-g", topic)
    try:
        assert reader.stdout is not None
        assert len([reader.stdout.readline() for _ in range(10)]) == 10
        node.out("produce", topic, "-p", "1", stdin=b"last\n")
        assert reader.stdout.readline() == b"last\n"
        reader.send_signal(signal.SIGINT)
        reader.communicate(timeout=20)
    finally:
        reader.kill()
        reader.communicate()
    assert reader.returncode == 130
    node.out("produce", topic, "-p", "1", stdin=b"after\n")
    # The signal may have come before the reader was done with the last one.
    assert node.out("consume", topic, "-g", topic, "-e") in (b"after\n", b"last\nafter\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-o", "-5"], b"logd group seek"),
        (["-o", "@-1h"], b"logd group seek"),
        (["-p", "0"], b"the group says which partitions"),
    ],
)
def test_places_are_not_for_groups(node: Shell, arguments: list[str], text: bytes) -> None:
    done: subprocess.CompletedProcess[bytes] = node.run("consume", "t", "-g", "g", *arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_an_unknown_topic_is_named(node: Shell) -> None:
    done = node.run("consume", "nowhere", "-g", "g")
    assert done.returncode == 4
    assert b"nowhere" in done.stderr
