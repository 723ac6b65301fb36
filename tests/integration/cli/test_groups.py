"""`logd group …` against a node, as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from logd_client import Admin, Consumer, GroupNotEmptyError, Offset, TopicPartition

from logd.cli.exits import UsageProblem
from logd.cli.seeking import parse_offsets, parse_place
from tests.integration.cli.conftest import Shell


@pytest.fixture
def orders(node: Shell) -> Iterator[str]:
    """A topic of two partitions with ten records in the first; its group `mailers` has read 4."""
    node.out("topic", "create", "orders", "-p", "2")
    lines = "".join(f"{number}\n" for number in range(10)).encode()
    node.out("produce", "orders", "-p", "0", stdin=lines)
    with Admin(node.environ["LOGD_BOOTSTRAP"]) as admin:
        admin.alter_group_offsets("mailers", {TopicPartition("orders", 0): 4}, dry_run=False)
    yield "orders"
    node.out("topic", "delete", "orders", "-y")
    for group_id in node.out("group", "list", "-F", "name").decode().split():
        node.out("group", "delete", group_id)


def rows(out: bytes) -> list[list[str]]:
    return [line.split("\t") for line in out.decode().splitlines()]


def test_groups_are_listed_described_and_measured(node: Shell, orders: str) -> None:
    header, row = rows(node.out("group", "list"))
    assert header == ["GROUP", "STATE", "MEMBERS", "EPOCH"]
    assert row[:3] == ["mailers", "empty", "0"]
    found = json.loads(node.out("group", "describe", "mailers", "-F", "json"))
    assert (found["group"], found["state"], found["lag"]) == ("mailers", "empty", 6)
    assert found["partitions"][0]["committed"] == 4
    assert 0 < found["lag_ms"] < 60_000
    assert found["topics"] == [
        {"topic": "orders", "partitions": 1, "lag": 6, "lag_ms": found["topics"][0]["lag_ms"]}
    ]
    for flag, first in (("-s", "FIELD"), ("-m", "MEMBER"), ("-c", "TOPIC"), ("-t", "TOPIC")):
        assert rows(node.out("group", "describe", "mailers", flag))[0][0] == first
    header, row = rows(node.out("group", "lag"))
    assert header[:7] == ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG"]
    assert row[:7] == ["mailers", "orders", "0", "4", "0", "10", "6"]
    assert node.run("group", "lag", "mailers", "--fail-over", "6").returncode == 0
    assert node.run("group", "lag", "mailers", "--fail-over", "5").returncode == 10


def test_a_group_is_moved_only_with_yes(node: Shell, orders: str, tmp_path: Path) -> None:
    def committed() -> str:
        return rows(node.out("group", "lag", "mailers"))[1][3]

    file = tmp_path / "offsets.txt"
    file.write_text("# where to go on\norders 0 9\n")
    for arguments, after in (
        (("--to", "start"), "0"),
        (("--to", "end"), "10"),
        (("--to", "-3"), "7"),
        (("--to", "+100"), "10"),
        (("--to", "@-1h"), "0"),
        (("--to", "@now"), "10"),
        (("--to-file", str(file)), "9"),
    ):
        before = committed()
        header, row = rows(node.out("group", "seek", "mailers", *arguments))
        assert header == ["TOPIC", "PARTITION", "BEFORE", "AFTER"]
        assert row == ["orders", "0", before, after]
        assert committed() == before, "a dry run"
        node.out("group", "seek", "mailers", *arguments, "-y")
        assert committed() == after
    node.out("group", "seek", "twin", "--to-group", "mailers", "-y")
    assert rows(node.out("group", "lag", "twin"))[1][:4] == ["twin", "orders", "0", "9"]
    node.out("group", "seek", "new", "--to", "end", "--topic", "orders", "-y")
    assert [row[3] for row in rows(node.out("group", "lag", "new"))[1:]] == ["10", "0"]
    file.write_text("orders 0 11\n")
    refused = node.run("group", "seek", "mailers", "--to-file", str(file), "-y")
    assert refused.returncode == 1 and b"0 to 10, not 11" in refused.stderr
    node.out("group", "delete", "new", "twin")
    assert node.out("group", "list", "-F", "name") == b"mailers\n"
    missing = node.run("group", "describe", "new")
    assert missing.returncode == 4 and b"no group" in missing.stderr


def test_a_group_that_lives_is_neither_moved_nor_deleted(node: Shell, orders: str) -> None:
    bootstrap = node.environ["LOGD_BOOTSTRAP"]
    with Consumer(
        orders, bootstrap_servers=bootstrap, group_id="mailers", auto_offset_reset="earliest"
    ) as consumer:
        assert consumer.getone(timeout=30) is not None
        for arguments in (
            ("seek", "mailers", "--to", "start"),
            ("seek", "mailers", "--to", "start", "-y"),
            ("delete", "mailers"),
        ):
            refused = node.run("group", *arguments)
            assert refused.returncode == 1 and b"has 1 member" in refused.stderr
        header, row = rows(node.out("group", "describe", "mailers", "-m"))
        assert row[header.index("ASSIGNED")] == "orders:0,orders:1"
        with Admin(bootstrap) as admin:
            with pytest.raises(GroupNotEmptyError):
                admin.delete_group_offsets("mailers", [TopicPartition("orders", 0)])
            (member,) = admin.describe_group("mailers").members
            assert member.topics == ("orders",) and member.state == "stable"
    with Admin(bootstrap) as admin:
        admin.delete_group_offsets("mailers", [TopicPartition("orders", 0)])
        assert TopicPartition("orders", 0) not in admin.group_offsets("mailers")


def test_a_group_that_is_nowhere_is_no_success(node: Shell, orders: str) -> None:
    refused = node.run("group", "seek", "nobody", "--to", "start", "-y")
    assert refused.returncode == 4
    assert b"group 'nobody' has committed nothing (name the topics" in refused.stderr
    refused = node.run("group", "seek", "mailers", "--to-group", "nobody", "-y")
    assert refused.returncode == 2 and b"--to-group: nobody has committed nothing" in refused.stderr
    refused = node.run("group", "describe", "nobody")
    assert refused.returncode == 4 and b"(see `logd group list`)" in refused.stderr
    refused = node.run("group", "seek", "mailers", "--to-file", "missing.txt")
    assert refused.stderr == b"logd: --to-file missing.txt: No such file or directory\n"
    node.out("group", "seek", "mailers", "--to", "start", "--topic", orders, "-y")
    header, row, *_ = rows(node.out("group", "lag", "mailers"))
    assert row[header.index("COMMITTED")] == "0"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("start", {"to": Offset.BEGINNING}),
        ("end", {"to": Offset.END}),
        ("+5", {"shift": 5}),
        ("-5", {"shift": -5}),
    ],
)
def test_places(text: str, place: object) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "5", "middle", "@yesterdayish", "+x", "1:2"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="--to"):
        parse_place(text)


@pytest.mark.parametrize("line", ["orders 0", "orders x 1", "orders 0 -1", "orders 0 1 2"])
def test_lines_that_are_no_offsets_are_refused(line: str) -> None:
    with pytest.raises(UsageProblem, match=r"f, line 2: write TOPIC PARTITION OFFSET"):
        parse_offsets(["# x", line], "f")
    with pytest.raises(UsageProblem, match=r"line 2: orders 0 is there twice"):
        parse_offsets(["orders 0 1", "orders 0 1"], "f")
