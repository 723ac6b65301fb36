"""Three real nodes that can be hurt in every way, and what they must still be afterwards.

Each node has a disk and a network of its own. A fault is a context: it has happened, provably, when
the block begins, and the node is well again when it ends; where it cannot be proven at its start,
it is at its end. `judge` then stops everything and holds what clients saw against what is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from logd_client import TopicPartition

from tests.sim.checker import Verdict, check
from tests.sim.history import History
from tests.support import network, power
from tests.support.network import Switch
from tests.support.nodes import RealNode
from tests.support.power import LoopDisk
from tests.support.quorum import RealCluster, wait_for
from tests.support.recorded import RecordedLoad, add_replica, drain, key_of

NUMBERS = (1, 2, 3)
TOPIC = "tried"
#: A write that the kernel holds shows in the process after this long.
_HANG_SHOWS_S = 10.0


def why_not() -> str | None:
    """What is missing for this here; None: nothing."""
    return network.why_not() or power.why_not()


class Chaos:
    """A cluster, a topic, a history and the producers that write it."""

    def __init__(self, folder: Path, *, partitions: int = 6, producers: int = 2) -> None:
        self.history = History()
        self._folder = folder
        self._places = [TopicPartition(TOPIC, number) for number in range(partitions)]
        self._producers = producers
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
        self._switch = enter(Switch(NUMBERS))
        self._disks: dict[int, LoopDisk] = {}
        for number in NUMBERS:
            self._disks[number] = LoopDisk(self._folder / f"host-{number}")
            self._running.callback(self._disks[number].close)
        self.cluster = RealCluster(
            self._folder,
            data_dirs={number: self._data_dir(number) for number in NUMBERS},
            settings={"LOGD__DISK__FREE_BYTES_MIN": "0"},
            switch=self._switch,
        )
        enter(self.cluster)
        made = self.cluster.ask(
            lambda admin: admin.create_topic(TOPIC, partitions=len(self._places))
        )
        self._topic_id = made.id.replace("-", "")
        lock = threading.Lock()
        for number in range(self._producers):
            load = RecordedLoad(
                self.history,
                lock,
                self.cluster.bootstrap,
                TOPIC,
                number,
                partitions=len(self._places),
            )
            self._loads.append(self._loading.enter_context(load))
        self._running.push(self._loading)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def _data_dir(self, number: int) -> Path:
        return self._disks[number].path / "data"

    # ---- traffic ---------------------------------------------------------------------------

    @property
    def acknowledged(self) -> int:
        return sum(load.acknowledged for load in self._loads)

    def write(self, more: int = 300) -> None:
        """Wait until so many more records are acknowledged."""
        target = self.acknowledged + more
        wait_for(f"{more} more records", lambda: self.acknowledged >= target)

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
    def cut_off(self, number: int, *, sends: bool = True, receives: bool = True) -> Iterator[None]:
        """Packets are lost on the way to the other nodes, on the way from them, or both."""
        others = [other for other in NUMBERS if other != number]
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
        ends = drain(self.history, self.cluster.bootstrap, self._places)
        replicas = {
            part.partition: part.replicas
            for part in self.cluster.ask(lambda admin: admin.describe_topic(TOPIC)).partitions
        }
        self.cluster.stop()
        for place in self._places:
            key = key_of(place)
            for number in replicas[place.partition]:
                name = f"{self._topic_id}-{place.partition}"
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
