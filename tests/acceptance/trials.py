"""Trials of three real nodes: one fault after the other under load, and how long writes waited.

    python -m tests.acceptance.trials --kinds kill,pause --count 3

prints a line for each trial, the worst of each kind, and what the checker says of everything that
clients saw and nodes have on disk; a consumer reads all partitions all the time. Exit code 1 when
anything was lost, doubled, misplaced, reordered, skipped, corrupt or divergent, or a bound was
passed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from logd_client import PartitionInfo, TopicPartition

from tests.support.chaos import NUMBERS, Chaos, Topic, why_not
from tests.support.quorum import wait_for
from tests.support.zombie import Zombie

#: A fault that is not over after this long hangs.
PATIENCE_S = 60.0
#: Of partitions that have no replica on the node that is hurt.
ELSEWHERE_S_MAX = 0.3
#: Of any partition, from when a node comes back until all is well: its replicas catch up, and
#: leaderships go back to it.
BACK_S_MAX = 2.5
#: Partitions that a frozen node is asked about.
_ASKED_MAX = 20

Fault = Callable[[Chaos, int], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault to one node (or all), for `hold_s`; `wait_s_max` bounds how long a partition with a
    replica there gives no acknowledgement."""

    name: str
    fault: Fault
    wait_s_max: float | None
    controller: bool = False
    isolated: bool = False
    hold_s: float = 0.0


@contextmanager
def _paused(chaos: Chaos, number: int) -> Iterator[None]:
    """SIGSTOP; what it is asked just before it goes on must be refused, or be right."""
    led = [place for place, part in chaos.partitions().items() if part.leader == number]
    assert led, f"node {number} leads nothing"
    with Zombie(chaos.history, chaos.lock, chaos.cluster.nodes[number].address) as zombie:
        with chaos.paused(number):
            yield
            zombie.ask(led[:_ASKED_MAX], len(chaos.history.sends))
        zombie.collect()


@contextmanager
def _restarted_one_by_one(chaos: Chaos, _: int) -> Iterator[None]:
    for number in NUMBERS:
        node = chaos.cluster.nodes[number]
        assert node.stop() == 0, node.log_tail()
        node.start()
        chaos.wait_in_sync()
    yield
    assert chaos.failed == [], "a send failed"


KINDS: tuple[Kind, ...] = (
    Kind("kill", lambda chaos, number: chaos.killed(number), 2.5),
    Kind("kill-controller", lambda chaos, number: chaos.killed(number), 4.0, controller=True),
    Kind("kill-all", lambda chaos, _: chaos.killed(*NUMBERS), None, hold_s=1.0),
    Kind("pause", _paused, 5.0, hold_s=10.0),
    Kind("pause-controller", _paused, 5.0, controller=True, hold_s=10.0),
    Kind("restart", _restarted_one_by_one, None),
    Kind(
        "cut",
        lambda chaos, number: chaos.cut_off(number, clients=True),
        5.0,
        isolated=True,
        hold_s=10.0,
    ),
    Kind(
        "cut-sends",
        lambda chaos, number: chaos.cut_off(number, receives=False, clients=True),
        5.0,
        isolated=True,
        hold_s=10.0,
    ),
    Kind(
        "cut-receives",
        lambda chaos, number: chaos.cut_off(number, sends=False, clients=True),
        5.0,
        isolated=True,
        hold_s=10.0,
    ),
    Kind(
        "power-all", lambda chaos, _: chaos.without_power(*NUMBERS), None, isolated=True, hold_s=1.0
    ),
)


@dataclass(frozen=True, slots=True)
class Waited:
    """Longest waits of one trial, in seconds: of partitions that the node led, of those of which it
    had another replica, of the others, and of any after the node was back."""

    led_s: float
    followed_s: float
    elsewhere_s: float
    after_s: float

    def __str__(self) -> str:
        return (
            f"led {self.led_s:.2f} s, followed {self.followed_s:.2f} s, "
            f"elsewhere {self.elsewhere_s:.2f} s, once it was back {self.after_s:.2f} s"
        )


def worst_of(trials: Sequence[Waited]) -> Waited:
    return Waited(
        max(trial.led_s for trial in trials),
        max(trial.followed_s for trial in trials),
        max(trial.elsewhere_s for trial in trials),
        max(trial.after_s for trial in trials),
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """Partitions by what they have to do with one node."""

    led: list[TopicPartition] = field(default_factory=list)
    followed: list[TopicPartition] = field(default_factory=list)
    elsewhere: list[TopicPartition] = field(default_factory=list)


def _sort(partitions: dict[TopicPartition, PartitionInfo], node: int) -> _Places:
    places = _Places()
    for place, part in partitions.items():
        if part.leader == node:
            places.led.append(place)
        elif node in part.replicas:
            places.followed.append(place)
        else:
            places.elsewhere.append(place)
    return places


def topics(partitions: int) -> tuple[Topic, Topic]:
    """Two thirds on all nodes, a third on two of them: some lose nothing with a node."""
    third = partitions // 3
    return Topic("everywhere", partitions - third, 3), Topic("on-two", third, 2)


def run_trial(chaos: Chaos, kind: Kind, turn: int) -> Waited:
    """One fault, from a cluster that is well to one that is well again."""
    chaos.wait_in_sync()
    controller = chaos.cluster.controller()
    others = [number for number in NUMBERS if number != controller]
    node = controller if kind.controller else others[turn % 2]
    places = _sort(chaos.partitions(), node)
    _wait_written(chaos)
    chaos.waits.begin()
    with kind.fault(chaos, node):
        began = time.monotonic()
        one = kind.wait_s_max is not None
        if one:
            wait_for(
                f"{kind.name}: every partition is written while node {node} is hurt",
                lambda: chaos.waits.all_since(chaos.places, began),
                PATIENCE_S,
            )
        time.sleep(max(0.0, kind.hold_s - (time.monotonic() - began)))
        led, followed, elsewhere = (
            chaos.waits.longest_s(each) for each in (places.led, places.followed, places.elsewhere)
        )
        if one:
            chaos.waits.begin()
    chaos.wait_in_sync()
    _wait_written(chaos)
    return Waited(led, followed, elsewhere, chaos.waits.longest_s(chaos.places))


def _wait_written(chaos: Chaos) -> None:
    """Wait until every partition has acknowledged something that was sent from now on."""
    now = time.monotonic()
    wait_for("every partition is written", lambda: chaos.waits.all_since(chaos.places, now))


def passed_bounds(kind: Kind, worst: Waited) -> list[str]:
    """Bounds that did not hold, in words."""
    if kind.wait_s_max is None:
        return []
    hurt = max(worst.led_s, worst.followed_s)
    found = []
    if worst.after_s > BACK_S_MAX:
        found.append(
            f"{kind.name}: {worst.after_s:.2f} s without an answer once the node was back, at most "
            f"{BACK_S_MAX:g} s"
        )
    if hurt > kind.wait_s_max:
        found.append(f"{kind.name}: {hurt:.2f} s without an answer, at most {kind.wait_s_max:g} s")
    # The new controller counts on nobody before it was heard: all partitions wait for that.
    if not kind.controller and worst.elsewhere_s > ELSEWHERE_S_MAX:
        found.append(
            f"{kind.name}: {worst.elsewhere_s:.2f} s without an answer where the node has no "
            f"replica, at most {ELSEWHERE_S_MAX:g} s"
        )
    return found


def transfer_trials(chaos: Chaos, count: int) -> list[float]:
    """Longest waits, in seconds, of a partition whose leadership goes round."""
    place = chaos.places[0]
    chaos.load([place], 0.002)
    waits = []
    for _ in range(count):
        chaos.wait_in_sync()
        part = chaos.partitions()[place]
        target = next(node for node in part.replicas if node != part.leader)
        began = time.monotonic()
        chaos.waits.begin()
        with chaos.cluster.admin() as admin:
            found = admin.transfer_leader(place.topic, place.partition, target)
        assert found.leader == target, found
        wait_for(
            "the next leader acknowledges",
            lambda began=began: chaos.waits.all_since([place], began),  # type: ignore[misc]
        )
        since = time.monotonic()
        wait_for(
            "it goes on",
            lambda since=since: chaos.waits.all_since([place], since),  # type: ignore[misc]
        )
        waits.append(chaos.waits.longest_s([place]))
    return waits


@contextmanager
def prepared(folder: Path, partitions: int, *, isolated: bool) -> Iterator[Chaos]:
    """Nodes, and about 250 records a second over all partitions."""
    with Chaos(folder, topics=topics(partitions), pause_s=0.008, isolated=isolated) as chaos:
        yield chaos


def _run_kind(kind: Kind, count: int, partitions: int) -> list[str]:
    """Print what happens; returns what was wrong."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="logd-trials-") as folder,
        prepared(Path(folder), partitions, isolated=kind.isolated) as chaos,
    ):
        trials = []
        for turn in range(count):
            trials.append(run_trial(chaos, kind, turn))
            print(f"{kind.name} {turn + 1}/{count}: {trials[-1]}", flush=True)
        verdict = chaos.judge(acknowledged_min=100 * count)
        rate = chaos.acknowledged / (time.monotonic() - began)
    worst = worst_of(trials)
    print(f"{kind.name}, worst of {count}: {worst}")
    print(f"{kind.name}: {chaos.acknowledged} acknowledged, {rate:.0f}/s: {verdict}", flush=True)
    return [*passed_bounds(kind, worst), *([] if verdict.valid else [str(verdict)])]


def _run_transfers(count: int, partitions: int) -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="logd-trials-") as folder,
        prepared(Path(folder), partitions, isolated=False) as chaos,
    ):
        waits = transfer_trials(chaos, count)
        verdict = chaos.judge(acknowledged_min=100)
    print("transfer:", ", ".join(f"{1000 * wait:.0f}" for wait in waits), "ms")
    print(f"transfer: {chaos.acknowledged} acknowledged: {verdict}", flush=True)
    wrong = [] if verdict.valid else [str(verdict)]
    if max(waits) > ELSEWHERE_S_MAX:
        wrong.append(f"transfer: {1000 * max(waits):.0f} ms without an answer")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.trials", description=__doc__)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kinds", default=",".join([*names, "transfer"]), metavar="A,B")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--partitions", type=int, default=300)
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    for name in options.kinds.split(","):
        kind = next((each for each in KINDS if each.name == name), None)
        reason = why_not() if kind is not None and kind.isolated else None
        if reason is not None:
            print(f"{name}: SKIPPED, nothing can be broken here: {reason}")
        elif kind is not None:
            wrong += _run_kind(kind, options.count, options.partitions)
        elif name == "transfer":
            wrong += _run_transfers(options.count, options.partitions)
        else:
            parser.error(f"no kind {name!r}; there are {', '.join([*names, 'transfer'])}")
    print("\n".join(["WRONG:", *wrong] if wrong else ["all bounds held, nothing was lost"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
