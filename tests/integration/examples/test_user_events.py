"""examples/user_events as its README says, with workers that are killed and added under load."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from logd_client import Consumer

from logd.cli.benchmark.processes import stop
from tests.integration.cli.conftest import ROOT, Shell, clean_environ, start_node

EXAMPLE = ROOT / "examples" / "user_events"
PARTITIONS = 6
EVENTS = 3_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(clean_environ(tmp_path))
    process, address = start_node(shell, "--dev", "--data-dir", str(tmp_path / "data"), "-q")
    shell.environ["LOGD_BOOTSTRAP"] = address
    try:
        shell.out("topic", "create", "user-events", "-p", str(PARTITIONS))
        yield shell
    finally:
        stop(process)
        process.communicate()


class Worker:
    """One worker process, and what it says of itself."""

    def __init__(self, node: Shell, database: Path) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(EXAMPLE / "worker.py"),
                f"--bootstrap={node.environ['LOGD_BOOTSTRAP']}",
                f"--database={database}",
                "--session-timeout-ms=3000",
            ],
            env=node.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                found = json.load(answer)
        except OSError:
            return {"state": "down", "partitions": []}
        assert isinstance(found, dict)
        return found

    def partitions(self) -> list[int]:
        return [each["partition"] for each in self.health()["partitions"]]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> int:
        """As Ctrl-C does; its exit code."""
        self._process.terminate()
        self._process.communicate(timeout=30)
        return self._process.returncode


def produce(node: Shell, seed: int) -> None:
    command = [sys.executable, str(EXAMPLE / "produce.py"), f"--events={EVENTS}", f"--seed={seed}"]
    command.append(f"--bootstrap={node.environ['LOGD_BOOTSTRAP']}")
    subprocess.run(command, env=node.environ, check=True, timeout=60)


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


def written(database: Path) -> int:
    with sqlite3.connect(database, timeout=30) as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    return int(count)


def model(node: Shell) -> tuple[dict[str, list[tuple[int, int]]], dict[str, tuple[int, int, str]]]:
    """What the log says: places of each user's events in order, and what comes of them."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    users: dict[str, tuple[int, int, str]] = {}
    with Consumer(
        "user-events",
        bootstrap_servers=node.environ["LOGD_BOOTSTRAP"],
        auto_offset_reset="earliest",
        consumer_timeout_ms=1_500,
    ) as consumer:
        for record in consumer:
            assert record.key is not None and record.value is not None
            user, event = record.key.decode(), json.loads(record.value)
            places[user].append((record.partition, record.offset))
            count, balance, _ = users.get(user, (0, 0, ""))
            users[user] = (count + 1, balance + event["amount"], event["kind"])
    return places, users


def test_workers_come_and_go_and_the_tables_equal_the_log(node: Shell, tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    workers = [Worker(node, database), Worker(node, database)]
    try:
        produce(node, 1)
        until(lambda: written(database) > 0)
        workers.pop(0).kill()
        workers += [Worker(node, database), Worker(node, database)]
        produce(node, 2)
        until(lambda: written(database) == 2 * EVENTS)
        until(
            lambda: (
                sorted(n for each in workers for n in each.partitions()) == list(range(PARTITIONS))
            )
        )
        healthy = [part for each in workers for part in each.health()["partitions"]]
        assert len(healthy) == PARTITIONS
        for part in healthy:
            assert part["committed"] == part["position"]
            assert part["lag"] in (0, None)
        assert [each.end() for each in workers] == [0, 0, 0]
    finally:
        for each in workers:
            each.kill()
    places, users = model(node)
    with sqlite3.connect(database, timeout=30) as connection:
        rows = connection.execute("SELECT user, partition, offset FROM events ORDER BY number")
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for user, partition, offset in rows:
            found[user].append((partition, offset))
        table = connection.execute("SELECT user, events, balance, last_kind FROM users")
        assert {user: tuple(rest) for user, *rest in table} == users
    assert found == places, "each user's events were applied in order"
