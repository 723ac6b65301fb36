"""A group on three real nodes: members in processes that can be frozen and killed, a producer, and
what must be true of everything that was handed out and committed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from logd_client import Admin, GroupDescription, LogdError, Producer, RecordMetadata

from tests.support.deliveries import (
    Committed,
    Deliveries,
    Pause,
    in_order,
    pauses,
    problems,
    read_events,
    taken_over_ns,
)
from tests.support.load import DELIVERY_TIMEOUT_MS
from tests.support.member_process import GROUP, OUTSIDE, TOPIC, MemberProcess
from tests.support.quorum import RealCluster, wait_for

#: Between two looks at what is committed.
_LOOK_S = 1.0
#: Between two looks at the events of all members.
_READ_S = 0.2


class _Load:
    """One producer on a thread: every partition in turn, and when each record was acknowledged."""

    def __init__(self, bootstrap: str, partitions: int, rate: float) -> None:
        """`rate`: records a second in all."""
        #: Partition -> offset -> nanoseconds.
        self.acknowledged: dict[int, dict[int, int]] = {each: {} for each in range(partitions)}
        self.failed: list[LogdError] = []
        self._pause_s = 1 / rate
        self._stop = threading.Event()
        self._producer: Producer[bytes, bytes] = Producer(
            bootstrap, delivery_timeout_ms=DELIVERY_TIMEOUT_MS, linger_ms=1
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Send no more, and wait until the fate of all that was sent is known."""
        self._stop.set()
        self._thread.join(DELIVERY_TIMEOUT_MS / 1000 + 30)
        assert not self._thread.is_alive(), "the producer hangs"

    def ends(self) -> dict[int, int]:
        """Behind the last acknowledged record of each partition."""
        return {number: max(acked, default=-1) + 1 for number, acked in self.acknowledged.items()}

    def _run(self) -> None:
        with self._producer as producer:
            number = 0
            while not self._stop.wait(self._pause_s):
                partition = number % len(self.acknowledged)
                producer.send(
                    TOPIC, b"%d" % number, partition=partition, on_delivery=self._delivered
                )
                number += 1

    def _delivered(self, error: LogdError | None, metadata: RecordMetadata | None) -> None:
        now = time.monotonic_ns()
        if error is not None:
            self.failed.append(error)
        elif metadata is not None:
            self.acknowledged[metadata.partition][metadata.offset] = now


class _Watch:
    """What is committed, looked at again and again."""

    def __init__(self, bootstrap: str) -> None:
        self.committed: list[Committed] = []
        self._admin = Admin(bootstrap, request_timeout_ms=5_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self.look()
        self._admin.close()

    def look(self) -> None:
        lags = self._admin.group_lag(GROUP)
        now = time.monotonic_ns()
        self.committed += [
            Committed(now, each.partition.partition, each.committed)
            for each in lags
            if each.committed is not None
        ]

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except LogdError:
                # Where the coordinator has gone, the next look finds another one.
                continue


class StormyGroup:
    """Three nodes, a topic, a producer, and processes with members. Times in seconds."""

    def __init__(
        self,
        folder: Path,
        *,
        processes: int,
        partitions: int,
        session_s: float,
        rate: float,
        replicas: int = 3,
    ) -> None:
        self.partitions = partitions
        self.session_s = session_s
        self.rng = random.Random(time.time_ns())
        self._folder = folder
        self._replicas = replicas
        self._rate = rate
        self._count = processes
        self._names = 0
        #: Partition -> when it stood still for another reason than the group, in nanoseconds.
        self.excused: dict[int, list[tuple[int, int]]] = {}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def _start(self) -> None:
        enter = self._running.enter_context
        settings = {"LOGD__DISK__FREE_BYTES_MIN": "0"}
        self.cluster = enter(RealCluster(self._folder, settings=settings))
        bootstrap = self.cluster.bootstrap
        self.admin = enter(Admin(bootstrap))
        self.admin.create_topic(
            TOPIC, partitions=self.partitions, replication_factor=self._replicas
        )
        session_ms = round(1000 * self.session_s)
        self.processes = [
            MemberProcess(self._folder, f"process-{number}", bootstrap, session_ms)
            for number in range(self._count)
        ]
        #: Reads the same without being a member: what it has to wait for is not the group.
        self.outside = MemberProcess(self._folder, OUTSIDE, bootstrap, session_ms)
        self._running.callback(self._end_processes)
        self.outside.start([OUTSIDE])
        self.load = _Load(bootstrap, self.partitions, self._rate).start()
        self.watch = _Watch(bootstrap).start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def _end_processes(self) -> None:
        for process in (*self.processes, self.outside):
            if process.running:
                process.kill()

    # ---- members ---------------------------------------------------------------------------

    def names(self, count: int) -> list[str]:
        """Names that no member has had."""
        self._names += count
        return [f"m{self._names - number}" for number in range(count)]

    def launch(self, process: MemberProcess, members: int) -> None:
        process.start(self.names(members))

    @property
    def living(self) -> set[str]:
        """Members that should be in the group."""
        return {
            name
            for process in self.processes
            if process.running and not process.frozen
            for name in process.members
        }

    def describe(self) -> GroupDescription:
        return self.admin.describe_group(GROUP)

    def owners(self) -> dict[int, str]:
        """Partition -> the name of the member that may hold it, as the coordinator has it."""
        return {
            tp.partition: member.client_id
            for member in self.describe().members
            for tp in member.assigned
        }

    def is_settled(self) -> bool:
        """Whether the living members, and nobody else, hold everything for good."""
        group = self.describe()
        members = {member.client_id for member in group.members}
        held = [tp for member in group.members for tp in member.assigned]
        return group.state == "stable" and members == self.living and len(held) == self.partitions

    def settle(self, patience_s: float = 60.0) -> float:
        """Wait until it is settled; how long that took."""
        began = time.monotonic()
        try:
            wait_for("the group is settled", self.is_settled, patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._unsettled()}") from None
        return time.monotonic() - began

    def _unsettled(self) -> str:
        group = self.describe()
        there = {member.client_id for member in group.members}
        lines = [f"{group.state}; gone {there - self.living}, missing {self.living - there}"]
        return "\n".join([*lines, *map(str, group.members)])

    # ---- what was handed out ---------------------------------------------------------------

    def deliveries(self) -> Deliveries:
        """Everything so far."""
        found = Deliveries()
        for process in self.processes:
            if process.log_path.exists():
                read_events(process.log_path, process.freezes, found)
        return in_order(found)

    def wait_taken_over(
        self, partitions: Sequence[int], before: Sequence[str], since_ns: int
    ) -> float:
        """Wait until other members deliver these; how long after `since_ns` the last was."""
        took: list[int] = []

        def all_are() -> bool:
            found = taken_over_ns(self.deliveries(), partitions, before, since_ns)
            if found is None:
                time.sleep(_READ_S)
                return False
            took.append(found)
            return True

        wait_for(f"{partitions} are delivered by others", all_are)
        return took[-1] / 1e9

    # ---- faults ----------------------------------------------------------------------------

    def coordinator(self) -> int:
        """The node that coordinates the group."""
        found: list[int] = []

        def answers() -> bool:
            found.append(self.describe().coordinator)
            return True

        wait_for("a coordinator answers", answers)
        return found[-1]

    def led_by(self, node: int) -> list[int]:
        """Partitions that this node leads."""
        return [
            part.partition
            for part in self.admin.describe_topic(TOPIC).partitions
            if part.leader == node
        ]

    def wait_committed(self) -> None:
        """Wait until something more is committed."""
        since = len(self.watch.committed)
        before = {each.partition: each.offset for each in self.watch.committed[:since]}

        def goes_on() -> bool:
            seen = self.watch.committed[since:]
            return any(each.offset > before.get(each.partition, 0) for each in seen)

        wait_for("commits go on", goes_on)

    # ---- the end ---------------------------------------------------------------------------

    def finish(self) -> tuple[Deliveries, list[str]]:
        """End the load, have everything delivered and committed, and judge."""
        self.load.stop()
        ends = self.load.ends()

        def all_committed() -> bool:
            lags = self.admin.group_lag(GROUP)
            return {each.partition.partition: each.committed for each in lags} == ends

        wait_for("everything is committed", all_committed)
        self.watch.stop()
        for process in (*self.processes, self.outside):
            if process.running:
                process.end()
        found = self.deliveries()
        wrong = problems(found, self.watch.committed, ends)
        wrong += [f"a send failed: {error}" for error in self.load.failed[:3]]
        return found, wrong

    def pauses(self, found: Deliveries) -> list[Pause]:
        """Of records that were acknowledged, longest first."""
        return pauses(found, self.load.acknowledged, self.excused)

    def pauses_of_group(self, found: Deliveries, outside: Deliveries) -> list[Pause]:
        """Of records that were acknowledged and that who is no member had: the group alone kept
        its members from them."""
        had: dict[int, dict[int, int]] = {}
        for partition, handed in outside.by_partition.items():
            acknowledged = self.load.acknowledged[partition]
            had[partition] = {
                each.offset: max(each.when, acknowledged[each.offset])
                for each in handed
                if each.offset in acknowledged
            }
        return pauses(found, had, self.excused)

    def delivered_outside(self) -> Deliveries:
        """What the reader was handed that is no member."""
        found = Deliveries()
        read_events(self.outside.log_path, (), found)
        return in_order(found)
