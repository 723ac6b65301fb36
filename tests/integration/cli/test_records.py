"""Topics and records through the command line, against a real node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.integration.cli.conftest import Shell


@pytest.fixture
def topic(node: Shell, request: pytest.FixtureRequest) -> str:
    """A topic with two partitions, named after the test."""
    name: str = request.node.name.partition("[")[0].replace("test_", "")
    node.out("topic", "create", name, "-p", "2")
    return name


def described(node: Shell, name: str) -> dict[str, Any]:
    found = json.loads(node.out("topic", "describe", name, "-F", "json"))
    assert isinstance(found, dict)
    return found


def test_bytes_go_in_and_come_out_unchanged(node: Shell, topic: str) -> None:
    data = b"plain\n\n  blanks \r\n\xff\xfe\x00binary\n" + bytes(range(11, 256)) + b"\n"
    assert node.out("produce", topic, "-p", "1", stdin=data) == b""
    assert node.out("consume", topic, "-e") == data
    assert node.out("consume", topic, "-e", "-p", "0") == b""


def test_keys_headers_and_templates(node: Shell, topic: str) -> None:
    node.out("produce", topic, "-K", ":", "-H", "h=1", "-H", "n", stdin=b"a:1\nb:2:x\nnone\n")
    lines = node.out("consume", topic, "-e", "-f", r"%k|%v|%h|%K\n").splitlines()
    assert sorted(lines) == [b"a|1|h=1,n|1", b"b|2:x|h=1,n|1", b"|none|h=1,n|-1"]
    node.out("produce", topic, "-f", r"%k\t%v\n", "-z", "zstd", stdin=b"a\tthree\n")
    assert b"a=three\n" in node.out("consume", topic, "-e", "-f", r"%k=%v\n")
    homes = node.out("consume", topic, "-e", "-f", r"%k %p\n", "--grep", "^(1|three)$")
    assert len(set(homes.splitlines())) == 1


def test_places(node: Shell, topic: str) -> None:
    node.out("produce", topic, "-p", "0", stdin=b"".join(b"%d\n" % n for n in range(10)))
    time.sleep(0.02)
    moment = int(time.time() * 1000)
    node.out("produce", topic, "-p", "0", stdin=b"ten\neleven\n")

    def read(*arguments: str) -> str:
        return node.out("consume", topic, *arguments).decode().replace("\n", " ").strip()

    assert read("-o", "-2", "-e") == "ten eleven"
    assert read("-o", "+10", "-e") == "ten eleven"
    assert read("-o", "10", "-e") == "ten eleven"
    assert read("-o", f"@{moment}:end") == "ten eleven"
    assert read("-o", f"@{moment}", "-e") == "ten eleven"
    assert read("-o", f":@{moment}") == "0 1 2 3 4 5 6 7 8 9"
    assert read("-o", "3:6") == "3 4 5"
    assert read("-o", "11:99") == "eleven"
    assert read("-o", ":-10") == "0 1"
    assert read("-o", "9:10", "-n", "5") == "9"
    assert read("-o", "beginning", "-n", "2") == "0 1"
    assert read("-o", "end", "-e") == ""
    assert read("-o", "99", "-e") == ""
    assert read("-n", "0") == ""


def test_json_has_kcats_keys(node: Shell, topic: str) -> None:
    node.out("produce", topic, "-k", "k", "-p", "1", "-H", "h=x", stdin=b'{"a":1}\n')
    node.out("produce", topic, "-p", "1", "-Z", stdin=b"\n")
    node.out("produce", topic, "-p", "1", stdin=b"\xff\n")
    first, second, third = map(json.loads, node.out("consume", topic, "-e", "-J").splitlines())
    assert first.pop("ts") > 1_700_000_000_000
    assert first == {
        "topic": topic,
        "partition": 1,
        "offset": 0,
        "tstype": "create",
        "headers": ["h", "x"],
        "key": "k",
        "payload": '{"a":1}',
    }
    assert (second["key"], second["payload"]) == (None, None)
    assert (third["payload"], third["payload_base64"]) == (None, "/w==")
    same = node.out("-F", "json", "consume", topic, "-e")
    assert len(same.splitlines()) == 3
    meta = json.loads(node.out("consume", topic, "-n", "1", "--meta-only"))
    assert meta["payload_bytes"] == 7
    assert "payload" not in meta
    assert json.loads(node.out("consume", topic, "-n", "1", "--pretty"))["key"] == "k"


def test_describe_is_a_stable_interface(node: Shell, topic: str) -> None:
    node.out("produce", topic, "-p", "1", stdin=b"x\n")
    found = described(node, topic)
    assert found["name"] == topic
    assert len(found["id"]) == 36
    assert [item["partition"] for item in found["partitions"]] == [0, 1]
    for item, end in zip(found["partitions"], (0, 1), strict=True):
        assert (item["leader"], item["replicas"], item["isr"]) == (1, [1], [1])
        assert (item["start_offset"], item["end_offset"]) == (0, end)
        assert isinstance(item["leader_epoch"], int)
    assert found["config"]["retention.ms"] == "604800000"
    assert isinstance(json.loads(node.out("topic", "describe", topic, topic, "-F", "json")), list)
    text = node.out("topic", "info", topic).decode()
    assert "PARTITION\tLEADER" in text
    assert "durability\t" in text


def test_alter_trim_and_offsets(node: Shell, topic: str) -> None:
    node.out("topic", "alter", topic, "-c", "retention.ms=1h", "-p", "3")
    assert described(node, topic)["config"]["retention.ms"] == "3600000"
    node.out("topic", "alter", topic, "--delete-config", "retention.ms")
    assert described(node, topic)["config"]["retention.ms"] == "604800000"
    node.out("produce", topic, "-p", "2", stdin=b"a\nb\nc\n")
    dry = node.out("topic", "trim", topic, "--before", "2", "-p", "2", "--dry-run")
    assert dry == b"PARTITION\tSTART_BEFORE\tSTART\n2\t0\t2\n"
    assert described(node, topic)["partitions"][2]["start_offset"] == 0
    node.out("topic", "trim", topic, "--before", "2", "-p", "2")
    offsets = node.out("topic", "offsets", topic)
    assert offsets == b"PARTITION\tSTART\tEND\n0\t0\t0\n1\t0\t0\n2\t2\t3\n"
    read = node.run("consume", topic, "-o", "0", "-e")
    assert read.stdout == b"c\n"
    assert b"offsets below 2 are gone" in read.stderr
    at = json.loads(node.out("topic", "offsets", topic, "--at", "@-1h", "-F", "json"))
    assert [item["time_offset"] for item in at] == [None, None, 2]


def test_lists(node: Shell) -> None:
    node.out("topic", "create", "lists-a", "lists-b")
    assert node.out("topic", "ls", "-r", "^lists-", "-F", "name") == b"lists-a\nlists-b\n"
    assert node.out("topic", "list", "-r", "^nothing$") == b"NAME\tPARTITIONS\tREPLICAS\n"
    assert node.out("topic", "list", "-r", "^nothing$", "-F", "json") == b"[]\n"
    assert node.out("topic", "delete", "lists-a", "lists-b") == b""
    assert node.out("topic", "list", "-r", "^lists-", "-F", "name") == b""
    assert node.run("topic", "create", "dry", "--dry-run").returncode == 0
    assert node.out("topic", "list", "-r", "^dry$", "-F", "name") == b""


def test_not_found_and_exists_are_code_4(node: Shell, topic: str) -> None:
    for arguments in (
        ("topic", "describe", topic[:-1]),
        ("topic", "delete", topic[:-1]),
        ("consume", topic[:-1], "-e"),
    ):
        done = node.run(*arguments)
        assert done.returncode == 4, done.stderr
        assert f"did you mean '{topic}'?".encode() in done.stderr
        assert done.stderr.count(b"\n") == 1
    assert node.run("topic", "create", topic).returncode == 4
    assert node.run("topic", "create", topic, "--if-not-exists").returncode == 0
    assert node.run("topic", "delete", "none", "--if-exists").returncode == 0
    done = node.run("consume", topic, "-p", "7", "-e")
    assert done.returncode == 4
    assert b"it has 0 to 1" in done.stderr


def test_refusals_are_code_1(node: Shell) -> None:
    for arguments in (
        ("topic", "create", "a/b"),
        ("topic", "create", "ok", "-c", "retentoin.ms=1"),
        ("topic", "create", "ok", "-r", "3"),
    ):
        done = node.run(*arguments)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count(b"\n") == 1


def test_dev_creates_topics_on_produce_only(node: Shell) -> None:
    assert node.run("consume", "appears", "-e").returncode == 4
    node.out("produce", "appears", stdin=b"x\n")
    assert node.out("consume", "appears", "-e") == b"x\n"


def test_the_summary_of_produce(node: Shell, topic: str) -> None:
    done = node.run("produce", topic, "-p", "1", stdin=b"a\nb\n")
    assert done.stdout == b""
    assert b"2 records, 2 B to " in done.stderr
    assert b"durable (partition 1: 2 at 0..1)" in done.stderr
    assert node.run("produce", topic, "-p", "0", "-q", stdin=b"a\n").stderr == b""
    document = json.loads(node.out("produce", topic, "-p", "1", "-F", "json", stdin=b"c\n"))
    assert document["partitions"] == [
        {"partition": 1, "first_offset": 2, "last_offset": 2, "records": 1}
    ]
    assert document["durable"] is True
    unanswered = json.loads(node.out("produce", topic, "--acks", "0", "-F", "json", stdin=b"c\n"))
    assert unanswered["durable"] is False


def test_a_reader_that_has_enough_is_no_error(node: Shell, topic: str) -> None:
    node.out("produce", topic, stdin=b"x" * 100 + b"\n")
    node.out("produce", topic, stdin=(b"x" * 100 + b"\n") * 20_000)
    process = node.start("consume", topic, "-e")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == 0
    process.stderr.close()
    if process.stdin is not None:
        process.stdin.close()


def test_ctrl_c_is_code_130(node: Shell, topic: str) -> None:
    node.out("produce", topic, stdin=b"x\n")
    process = node.start("consume", topic)
    assert process.stdout is not None
    assert process.stdout.readline() == b"x\n"
    process.send_signal(signal.SIGINT)
    _out, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in error


def test_consume_goes_on_with_what_comes(node: Shell, topic: str) -> None:
    process = node.start("consume", topic, "-o", "end", "-n", "2", "--timeout", "30")
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        node.out("produce", topic, "-p", "0", stdin=b"x\n")
    out, _error = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"x\nx\n")


def test_slow_input_is_sent_as_it_comes(node: Shell, topic: str) -> None:
    reader = node.start("consume", topic, "-n", "1", "--timeout", "30")
    writer = node.start("produce", topic)
    assert writer.stdin is not None
    writer.stdin.write(b"now\n")
    writer.stdin.flush()
    out, _error = reader.communicate(timeout=40)
    assert out == b"now\n"
    assert writer.poll() is None
    writer.communicate(timeout=20)
    assert writer.returncode == 0


def test_time_limit_of_an_endless_read(node: Shell, topic: str) -> None:
    done = node.run("consume", topic, "--timeout", "1s")
    assert done.returncode == 124
    assert b"--timeout 1 s" in done.stderr


def test_rate(node: Shell, topic: str) -> None:
    started = time.monotonic()
    node.out("produce", topic, "--rate", "40", stdin=b"x\n" * 40)
    assert time.monotonic() - started > 0.8


def test_completion_knows_the_topics(node: Shell, topic: str) -> None:
    """Tried a few times: on a machine that is busy, silence within 300 ms is right as well."""
    words = f"logd consume {topic[:-3]}"
    variables = {"_LOGD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
    answers: list[bytes] = []
    while not any(answers) and len(answers) < 20:
        done = node.process(environ=variables)
        assert done.stderr == b""
        answers.append(done.stdout.strip())
    assert answers[-1] == topic.encode()


def test_cluster_and_config(node: Shell) -> None:
    info = json.loads(node.out("cluster", "info", "-F", "json"))
    assert info["controller_id"] == 1
    assert [item["id"] for item in info["nodes"]] == [1]
    assert info["nodes"][0]["address"] == node.environ["LOGD_BOOTSTRAP"]
    config = json.loads(node.out("config", "describe", "-F", "json"))
    assert config["auto.create.topics.enable"] == {
        "value": "true",
        "source": "flag",
        "dynamic": False,
    }


def test_tables_at_a_terminal(node: Shell, topic: str) -> None:
    master, slave = os.openpty()
    try:
        subprocess.run(
            [*_logd(node), "topic", "list", "-r", f"^{topic}$"],
            env={**node.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            check=True,
        )
        shown = os.read(master, 4096).decode().replace("\r\n", "\n")
    finally:
        os.close(master)
        os.close(slave)
    header, row = shown.splitlines()
    assert header.split() == ["NAME", "PARTITIONS", "REPLICAS"]
    assert row.split() == [topic, "2", "1"]
    assert "\t" not in shown


def _logd(node: Shell) -> list[str]:
    process = node.start("version")
    process.communicate()
    assert isinstance(process.args, list)
    return [str(part) for part in process.args[:3]]
