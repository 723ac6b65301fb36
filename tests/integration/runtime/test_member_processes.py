"""Members over gRPC, in real time: handlers that block, processes that freeze, planned leaves."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logd_client import Admin, Consumer, Producer, aio

from logd.cli.benchmark.processes import stop
from tests.integration.cli.conftest import Shell, clean_environ, start_node

SESSION_MS = 2_000
PARTITIONS = 4

#: Prints each record that it is handed and each loss, with the machine's monotonic time.
MEMBER = """
import sys, time
from logd_client import Consumer
def say(*words):
    print(time.monotonic(), *words, flush=True)
consumer = Consumer(bootstrap_servers=sys.argv[1], group_id="g", auto_offset_reset="earliest",
                    session_timeout_ms=int(sys.argv[2]))
consumer.subscribe(["t"], on_assign=lambda _: say("assigned"), on_lost=lambda _: say("lost"))
for record in consumer:
    say("record", record.partition, record.offset)
    time.sleep(0.02)
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Shell]:
    """A node with a topic `t` of 500 records a partition."""
    shell = Shell(clean_environ(tmp_path))
    process, address = start_node(shell, "--dev", "--data-dir", str(tmp_path / "data"), "-q")
    shell.environ["LOGD_BOOTSTRAP"] = address
    try:
        with Admin(address) as admin:
            admin.create_topic("t", partitions=PARTITIONS)
        produce(shell, 500)
        yield shell
    finally:
        stop(process)
        process.communicate()


def produce(node: Shell, each: int) -> None:
    with Producer(node.environ["LOGD_BOOTSTRAP"]) as producer:
        for number in range(each * PARTITIONS):
            producer.send("t", b"%d" % number, partition=number % PARTITIONS)


def options(node: Shell) -> dict[str, Any]:
    return {
        "bootstrap_servers": node.environ["LOGD_BOOTSTRAP"],
        "group_id": "g",
        "auto_offset_reset": "earliest",
        "session_timeout_ms": SESSION_MS,
    }


class Background:
    """A member that reads on a thread of its own."""

    def __init__(self, node: Shell) -> None:
        self.consumer = Consumer("t", **options(node))
        #: (partition, offset, when)
        self.delivered: list[tuple[int, int, float]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for record in self.consumer:
            self.delivered.append((record.partition, record.offset, time.monotonic()))

    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.consumer.status().partitions}

    def wait_for(self, count: int, seconds: float = 20.0) -> float:
        """Wait until it has so many partitions; when that was."""
        deadline = time.monotonic() + seconds
        while len(self.partitions()) != count:
            assert time.monotonic() < deadline, self.consumer.status()
            time.sleep(0.005)
        return time.monotonic()

    def close(self) -> None:
        self.consumer.close()
        self._thread.join(10)


async def test_a_handler_that_blocks_its_loop_keeps_its_partitions(node: Shell) -> None:
    other = Background(node)
    try:
        async with aio.Consumer("t", **options(node)) as consumer:
            await asyncio.to_thread(other.wait_for, PARTITIONS)
            while len(await consumer.assignment()) != PARTITIONS // 2:
                await consumer.getone(timeout=0.1)
            await asyncio.to_thread(produce, node, 10)
            assert await consumer.getone(timeout=10) is not None
            before = consumer.status()
            time.sleep(3 * SESSION_MS / 1000)
            after = consumer.status()
            assert after.state == "stable"
            assert after.member_epoch == before.member_epoch
            assert after.partitions.keys() == before.partitions.keys()
            assert len(other.partitions()) == PARTITIONS // 2
            await consumer.commit()
    finally:
        other.close()


def test_a_frozen_process_loses_its_partitions_and_delivers_nothing_of_them(node: Shell) -> None:
    frozen = subprocess.Popen(
        [sys.executable, "-c", MEMBER, node.environ["LOGD_BOOTSTRAP"], str(SESSION_MS)],
        env=node.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert frozen.stdout is not None
    other = None
    try:
        while "record" not in frozen.stdout.readline():
            pass
        frozen.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        other = Background(node)
        taken = other.wait_for(PARTITIONS)
        assert taken - stopped < SESSION_MS / 1000 + 1
        frozen.send_signal(signal.SIGCONT)
        continued = time.monotonic()
        lines: list[list[str]] = []
        while not lines or lines[-1][1] != "lost":
            lines.append(frozen.stdout.readline().split())
        late = [words for words in lines if words[1] == "record" and float(words[0]) > continued]
        # The one that it had been handed before it froze.
        assert len(late) <= 1
    finally:
        frozen.kill()
        frozen.communicate()
        if other is not None:
            other.close()


def test_a_killed_member_is_replaced_and_a_planned_leave_is_quick(node: Shell) -> None:
    one = Background(node)
    killed = subprocess.Popen(
        [sys.executable, "-c", MEMBER, node.environ["LOGD_BOOTSTRAP"], str(SESSION_MS)],
        env=node.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    two = None
    try:
        assert killed.stdout is not None
        while "assigned" not in killed.stdout.readline():
            pass
        one.wait_for(PARTITIONS // 2)
        killed.kill()
        died = time.monotonic()
        assert one.wait_for(PARTITIONS) - died < SESSION_MS / 1000 + 1
        two = Background(node)
        two.wait_for(PARTITIONS // 2)
        one.wait_for(PARTITIONS // 2)
        leaving = time.monotonic()
        closer = threading.Thread(target=one.close)
        closer.start()
        took = two.wait_for(PARTITIONS) - leaving
        closer.join()
        print(f"handed over in {took * 1000:.0f} ms")
        assert took < 0.5
    finally:
        killed.kill()
        killed.communicate()
        one.close()
        if two is not None:
            two.close()
