"""How long a group waits for a coordinator that has to read 100 000 commits first.

    python -m tests.acceptance.group_load

fills one partition of `__consumer_offsets` on three real nodes, kills the node that leads it, and
prints when the next one led, and when it answered for a group.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from logd_client import Admin, Consumer, Producer, TopicPartition

from logd.model.names import GROUP_TOPIC
from logd.runtime.group_coordinator import partition_of
from tests.support.quorum import RealCluster, wait_for

TOPIC = "orders"
GROUPS, PARTITIONS, ROUNDS = 20, 100, 50
#: From when a node leads the partition to its first answer.
ANSWER_S_MAX = 3.0

_LOADED = re.compile(rf"{GROUP_TOPIC}-(\d+): loaded up to offset (\d+) in (\d+) ms")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Seconds; `led_s` and `answered_s` since the old coordinator was killed."""

    commits: int
    load_s: float
    led_s: float
    answered_s: float

    @property
    def answer_s(self) -> float:
        """From the begin of the leadership to the first answer."""
        return self.answered_s - self.led_s

    def __str__(self) -> str:
        return (
            f"{self.commits} commits read in {self.load_s:.2f} s; another node led {self.led_s:.2f}"
            f" s after the kill, and answered {self.answer_s:.2f} s later"
        )


def _group_ids() -> list[str]:
    """Groups of one partition."""
    names = [f"group-{number}" for number in range(100 * GROUPS)]
    wanted = partition_of(names[0])
    return [name for name in names if partition_of(name) == wanted][:GROUPS]


def _fill(bootstrap: str, group_ids: Sequence[str]) -> None:
    places = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    with Producer(bootstrap) as producer:
        for number in range(PARTITIONS * ROUNDS):
            producer.send(TOPIC, b"%d" % number, partition=number % PARTITIONS)
    with ExitStack() as stack:
        consumers = [
            stack.enter_context(Consumer(bootstrap_servers=bootstrap, group_id=group_id))
            for group_id in group_ids
        ]
        for turn in range(1, ROUNDS + 1):
            for consumer in consumers:
                consumer.commit(dict.fromkeys(places, turn))


def _leader(admin: Admin, partition: int) -> int | None:
    return admin.describe_topic(GROUP_TOPIC).partitions[partition].leader


def _loads(log: Path, partition: int) -> Iterator[tuple[int, float]]:
    """(records, seconds) of each time that a node has read this partition."""
    for number, end, ms in _LOADED.findall(log.read_text(errors="replace")):
        if int(number) == partition:
            yield int(end), int(ms) / 1000


def measure(folder: Path) -> Loaded:
    """Fill, kill, and see."""
    group_ids = _group_ids()
    partition = partition_of(group_ids[0])
    settings = {"LOGD__DISK__FREE_BYTES_MIN": "0"}
    with RealCluster(folder, settings=settings) as cluster, cluster.admin() as admin:
        admin.create_topic(TOPIC, partitions=PARTITIONS, replication_factor=3)
        _fill(cluster.bootstrap, group_ids)
        old = _leader(admin, partition)
        assert old is not None
        others = ",".join(node.address for key, node in cluster.nodes.items() if key != old)
        with Consumer(bootstrap_servers=others, group_id=group_ids[-1]) as consumer:
            place = TopicPartition(TOPIC, PARTITIONS - 1)
            assert consumer.committed(place) == ROUNDS
            killed = time.monotonic()
            cluster.nodes[old].kill()
            wait_for(
                "another node leads the groups",
                lambda: _leader(admin, partition) not in (old, None),
            )
            led_s = time.monotonic() - killed
            assert consumer.committed(place) == ROUNDS
            answered_s = time.monotonic() - killed
        new = _leader(admin, partition)
        assert new is not None
        records, load_s = list(_loads(cluster.nodes[new].log_path, partition))[-1]
    return Loaded(records, load_s, led_s, answered_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.group_load")
    parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="logd-groups-") as folder:
        found = measure(Path(folder))
    print(found)
    return 1 if found.answer_s > ANSWER_S_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
