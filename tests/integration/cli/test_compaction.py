"""`logd topic compact`, `logd get`, and what describe says of both, on a real node."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.conftest import Shell


@pytest.fixture
def users(node: Shell) -> str:
    """A compacted topic with old and new values, a deleted key, and one partition."""
    name = "users"
    node.run("topic", "delete", name, "-y")
    node.out("topic", "create", name, "-p", "1", "-c", "cleanup.policy=compact")
    node.out("produce", name, "-K", ":", stdin=b"alice:1\nbob:1\nalice:2\n")
    node.out("produce", name, "-k", "bob", "-Z", stdin=b"\n")
    return name


def test_get_prints_the_newest_value_and_what_it_cost(node: Shell, users: str) -> None:
    done = node.run("get", users, "alice")
    assert (done.returncode, done.stdout) == (0, b"2\n")
    assert b"looked at 4 records" in done.stderr and b"of users[0]" in done.stderr
    document = json.loads(node.out("get", users, "alice", "-J"))
    assert (document["offset"], document["key"]) == (2, "alice")


def test_get_says_what_is_not_there(node: Shell, users: str) -> None:
    absent = node.run("get", users, "carol")
    assert (absent.returncode, absent.stdout) == (4, b"")
    assert b"no record of key 'carol' in users[0]" in absent.stderr
    deleted = node.run("get", users, "bob")
    assert deleted.returncode == 4
    assert b"key 'bob' was deleted at offset 3 of users[0]" in deleted.stderr
    assert node.run("get", users, "alice", "-p", "7").returncode == 4
    assert node.run("get", "user", "alice").returncode == 4


def test_compact_now_waits_and_says_what_came_of_it(node: Shell, users: str) -> None:
    (found,) = json.loads(node.out("topic", "compact", users, "--now", "-F", "json"))
    assert (found["partition"], found["node"], found["done"]) == (0, 1, True)
    assert (found["records_before"], found["records"]) == (4, 2)
    assert "compacted below offset 4" in found["outcome"]
    assert node.out("get", users, "alice") == b"2\n"
    assert node.out("consume", users, "-o", "0", "-e", "-f", "%o %k\n") == b"2 alice\n3 bob\n"
    text = node.out("topic", "describe", users, "--cleanup").decode()
    assert "no segment is deleted: cleanup.policy is compact" in text
    assert "deleted keys may be forgotten in " in text


def test_a_topic_that_is_not_compacted_says_so(node: Shell) -> None:
    node.out("topic", "create", "plain")
    text = node.out("topic", "compact", "plain").decode()
    assert "not compacted: cleanup.policy has no compact" in text
    assert node.run("topic", "compact", "absent").returncode == 4
