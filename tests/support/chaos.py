"""Three real nodes that can be hurt in every way, and what they must still be afterwards.

Each node has a disk and a network of its own. A fault is a context: it has happened, provably, when
the block begins, and the node is well again when it ends; where it cannot be proven at its start,
it is at its end. `judge` then stops everything and holds what clients saw against what is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from logd_client import LogdError, PartitionInfo, TopicPartition

from tests.sim.checker import Verdict, check
from tests.sim.history import History
from tests.support import network, power
from tests.support.network import HERE, Switch
from tests.support.nodes import RealNode
from tests.support.power import LoopDisk
from tests.support.quorum import RealCluster, wait_for
from tests.support.readers import RecordedReader
from tests.support.recorded import RecordedLoad, add_replica, drain, key_of
from tests.support.waits import Waits

NUMBERS = (1, 2, 3)
#: A write that the kernel holds shows in the process after this long.
_HANG_SHOWS_S = 10.0


def why_not() -> str | None:
    """What is missing for this here; None: nothing."""
    return network.why_not() or power.why_not()


@dataclass(frozen=True, slots=True)
class Topic:
    """What is written to."""

    name: str
    partitions: int
    replicas: int

    @property
    def places(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, number) for number in range(self.partitions)]


class Chaos:
    """A cluster, topics, a history, the producers that write it, and a consumer that reads."""

    def __init__(
        self,
        folder: Path,
        *,
        topics: Sequence[Topic] = (Topic("tried", 6, 3),),
        producers: int = 2,
        pause_s: float = 0.0015,
        isolated: bool = True,
    ) -> None:
        """`isolated`: each node has a disk and a network of its own. Without, packets and power
        cannot be lost, and the test's own work delays no packet."""
        self.history = History()
        self.lock = threading.Lock()
        self.waits = Waits()
        self.places = [place for topic in topics for place in topic.places]
        self._folder = folder
        self._topics = topics
        self._topic_ids: dict[str, str] = {}
        self._producers = producers
        self._pause_s = pause_s
        self._isolated = isolated
        self._loads: list[RecordedLoad] = []
        self._running = ExitStack()
        self._loading = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def _start(self) -> None:
        enter = self._running.enter_context
        self._disks: dict[int, LoopDisk] = {}
        if self._isolated:
            self._switch = enter(Switch(NUMBERS))
            for number in NUMBERS:
                self._disks[number] = LoopDisk(self._folder / f"host-{number}")
                self._running.callback(self._disks[number].close)
        self.cluster = RealCluster(
            self._folder,
            data_dirs={number: self._data_dir(number) for number in NUMBERS},
            settings={"LOGD__DISK__FREE_BYTES_MIN": "0"},
            switch=self._switch if self._isolated else None,
        )
        enter(self.cluster)
        with self.cluster.admin() as admin:
            for topic in self._topics:
                made = admin.create_topic(
                    topic.name, partitions=topic.partitions, replication_factor=topic.replicas
                )
                self._topic_ids[topic.name] = made.id.replace("-", "")
        self._running.push(self._loading)
        # It ends after the producers.
        self._reader = self._loading.enter_context(
            RecordedReader(self.history, self.lock, self.cluster.bootstrap, self.places, "reader")
        )
        for _ in range(self._producers):
            self.load(self.places, self._pause_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def _data_dir(self, number: int) -> Path:
        folder = self._folder / f"node-{number}"
        return self._disks[number].path / "data" if self._isolated else folder

    # ---- traffic ---------------------------------------------------------------------------

    @property
    def acknowledged(self) -> int:
        return sum(load.acknowledged for load in self._loads)

    def write(self, more: int = 300) -> None:
        """Wait until so many more records are acknowledged."""
        target = self.acknowledged + more
        wait_for(f"{more} more records", lambda: self.acknowledged >= target)

    def load(self, places: Sequence[TopicPartition], pause_s: float) -> RecordedLoad:
        """One more producer, until the end."""
        load = RecordedLoad(
            self.history,
            self.lock,
            self.cluster.bootstrap,
            places,
            len(self._loads),
            waits=self.waits,
            pause_s=pause_s,
        )
        self._loads.append(self._loading.enter_context(load))
        return load

    @property
    def failed(self) -> list[LogdError]:
        """Why sends failed."""
        return [error for load in self._loads for error in load.failed]

    def partitions(self) -> dict[TopicPartition, PartitionInfo]:
        """Every partition as it is now."""
        with self.cluster.admin() as admin:
            return {
                TopicPartition(topic.name, part.partition): part
                for topic in self._topics
                for part in admin.describe_topic(topic.name).partitions
            }

    def wait_in_sync(self) -> None:
        """Wait until every node takes part, and every replica is in sync."""
        self.cluster.wait_complete()

        def in_sync() -> bool:
            return all(
                part.leader is not None and set(part.isr) == set(part.replicas)
                for part in self.partitions().values()
            )

        wait_for("every replica is in sync", in_sync)

    # ---- faults ----------------------------------------------------------------------------

    @contextmanager
    def killed(self, *numbers: int) -> Iterator[None]:
        """SIGKILL to these, at once as far as one process can."""
        for number in numbers:
            self._node(number).kill()
        yield
        self._restart(numbers)

    @contextmanager
    def paused(self, number: int) -> Iterator[None]:
        """SIGSTOP, every thread of it."""
        self._node(number).freeze()
        try:
            yield
        finally:
            self._node(number).thaw()
        self.cluster.wait_complete()

    @contextmanager
    def cut_off(
        self, number: int, *, sends: bool = True, receives: bool = True, clients: bool = False
    ) -> Iterator[None]:
        """Packets are lost on the way to the other nodes, on the way from them, or both; and on
        that to and from this process as well, if it is for `clients` too."""
        others = [other for other in NUMBERS if other != number]
        others += [HERE] if clients else []
        with ExitStack() as cuts:
            if sends:
                cuts.enter_context(self._switch.cut([number], others))
            if receives:
                cuts.enter_context(self._switch.cut(others, [number]))
            yield
        self.cluster.wait_complete()

    @contextmanager
    def without_power(self, *numbers: int) -> Iterator[None]:
        """Everything of these stops at one moment, and what was not synced is gone."""
        nodes = [self._node(number) for number in numbers]
        for node in nodes:
            node.freeze()
        for number in numbers:
            self._disks[number].lose_power()
        for node in nodes:
            node.thaw()
        # The first write or sync that fails ends the node by itself.
        for node in nodes:
            assert node.wait(30) != 0, "a node outlived its disk"
        for number in numbers:
            self._disks[number].unmount()
        yield
        for number in numbers:
            self._disks[number].mount()
        self._restart(numbers)

    @contextmanager
    def hanging_disk(self, number: int) -> Iterator[None]:
        """Nothing that the node writes gets done, and nothing fails."""
        node = self._node(number)
        with self._disks[number].hanging():
            wait_for("a thread waits for the disk", lambda: _waits_for_disk(node), _HANG_SHOWS_S)
            yield
        self.cluster.wait_complete()

    @contextmanager
    def full_disk(self, number: int) -> Iterator[None]:
        """There is no room for another byte on the node's disk."""
        ballast = self._disks[number].path / "ballast"
        power.fill(ballast)
        try:
            yield
        finally:
            ballast.unlink()
        assert self._node(number).alive, self._node(number).log_tail()
        self.cluster.wait_complete()

    def _node(self, number: int) -> RealNode:
        return self.cluster.nodes[number]

    def _restart(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._node(number).launch()
        for number in numbers:
            self._node(number).wait_listening()
        self.cluster.wait_complete()

    # ---- the end ---------------------------------------------------------------------------

    def judge(self, *, acknowledged_min: int) -> Verdict:
        """End the load, read everything, stop the nodes in good order, read their disks, and
        check. Fails when there was too little traffic to prove anything."""
        self._loading.close()
        assert self.acknowledged >= acknowledged_min, f"only {self.acknowledged} were acknowledged"
        read, failed = self._reader.records, self._reader.failed
        assert read >= acknowledged_min // 2, f"only {read} were read meanwhile: {failed[-3:]}"
        ends = drain(self.history, self.cluster.bootstrap, self.places)
        partitions = self.partitions()
        self.cluster.stop()
        for place in self.places:
            key = key_of(place)
            for number in partitions[place].replicas:
                name = f"{self._topic_ids[place.topic]}-{place.partition}"
                add_replica(
                    self.history,
                    self._data_dir(number) / "partitions" / name,
                    key,
                    node=number,
                    high_watermark=ends[key],
                )
            dumps = [each for each in self.history.replicas if each.key == key]
            longest = max(dumps, key=lambda replica: len(replica.records))
            self.history.log[key] = [
                record for record in longest.records if record.offset < ends[key]
            ]
        return check(self.history)


def _waits_for_disk(node: RealNode) -> bool:
    """Whether a thread is held in the kernel, where no signal reaches it."""
    threads = Path(f"/proc/{node.pid}/task").glob("*/stat")
    states = [thread.read_text().rpartition(")")[2].split()[0] for thread in threads]
    return "D" in states
