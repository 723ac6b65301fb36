"""Trials of a consumer group on three real nodes: members in processes that are killed, frozen and
told to leave, nodes that coordinate killed and frozen, and a storm of all of the members' faults.

    python -m tests.acceptance.group_trials --kinds kill-member,freeze-coordinator --count 3
    python -m tests.acceptance.group_trials --kinds storm --members 50 --seconds 60

prints a line for each trial, the longest pause of a partition that did not move, and what is wrong
with what the members were handed: records skipped below what was committed, out of order, handed to
one member while another had the partition; commits that went back. Exit code 1 when anything was
wrong, or a bound was passed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.deliveries import Pause
from tests.support.member_process import MemberProcess
from tests.support.stormy_group import StormyGroup

#: Of a partition that stays with its member.
PAUSE_S_MAX = 0.3
LEAVE_S_MAX = 0.5
#: On top of the session.
REPLACE_S_MAX = 1.0
CALM_S_MAX = 2.0
#: Until another node answers for one that is gone; less than what a member has left of its session.
FAILOVER_S_MAX = 5.0
#: A node that coordinates is gone for so long.
_GONE_S = 8.0
#: Newly started processes need so long to join on a busy machine: a storm starts none at its end.
_START_S = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long what a trial measures took; it may take `bound_s` at most."""

    took_s: float
    bound_s: float
    note: str
    wrong: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        late = [f"too late: {self}"] if self.took_s > self.bound_s else []
        return [*late, *self.wrong]

    def __str__(self) -> str:
        return f"{self.took_s:.2f} s (at most {self.bound_s:g} s): {self.note}"


Trial = Callable[[StormyGroup, int], Outcome]


def _held_by(group: StormyGroup, names: set[str]) -> list[int]:
    return [number for number, name in group.owners().items() if name in names]


def _kill_member(group: StormyGroup, turn: int) -> Outcome:
    process = group.processes[turn % len(group.processes)]
    members, count = sorted(process.members), len(process.members)
    held = _held_by(group, process.members)
    died = time.monotonic_ns()
    process.kill()
    took = group.wait_taken_over(held, members, died)
    group.launch(process, count)
    return Outcome(took, group.session_s + REPLACE_S_MAX, f"{len(held)} partitions replaced")


def _freeze_member(group: StormyGroup, turn: int) -> Outcome:
    process = group.processes[turn % len(group.processes)]
    held = _held_by(group, process.members)
    stopped = time.monotonic_ns()
    process.freeze()
    took = group.wait_taken_over(held, sorted(process.members), stopped)
    process.thaw()
    return Outcome(took, group.session_s + REPLACE_S_MAX, f"{len(held)} partitions replaced")


def _leave(group: StormyGroup, turn: int) -> Outcome:
    process = group.processes[turn % len(group.processes)]
    member = sorted(process.members)[0]
    held = _held_by(group, {member})
    left = time.monotonic_ns()
    process.leave(member)
    took = group.wait_taken_over(held, [member], left)
    process.join(*group.names(1))
    return Outcome(took, LEAVE_S_MAX, f"{len(held)} partitions handed over")


def _without_coordinator(
    group: StormyGroup, hurt: Callable[[int], None], mend: Callable[[int], None]
) -> Outcome:
    node = group.coordinator()
    before, lost = group.owners(), group.deliveries().lost
    led = group.led_by(node)
    began = time.monotonic_ns()
    hurt(node)
    next_one = group.coordinator()
    took = (time.monotonic_ns() - began) / 1e9
    group.wait_committed()
    time.sleep(max(0.0, _GONE_S - (time.monotonic_ns() - began) / 1e9))
    mend(node)
    group.cluster.wait_complete()
    group.settle()
    for partition in led:
        # Nobody can read what nobody leads.
        group.excused.setdefault(partition, []).append((began, time.monotonic_ns()))
    moved = sum(group.owners().get(number) != name for number, name in before.items())
    lost = group.deliveries().lost - lost
    note = f"node {next_one} answers for node {node}; {moved} partitions moved, {lost} lost"
    return Outcome(took, FAILOVER_S_MAX, note, (f"noticed: {note}",) if moved or lost else ())


def _kill_coordinator(group: StormyGroup, _turn: int) -> Outcome:
    nodes = group.cluster.nodes

    def restart(node: int) -> None:
        nodes[node].start()

    return _without_coordinator(group, lambda node: nodes[node].kill(), restart)


def _freeze_coordinator(group: StormyGroup, _turn: int) -> Outcome:
    nodes = group.cluster.nodes
    return _without_coordinator(
        group, lambda node: nodes[node].freeze(), lambda node: nodes[node].thaw()
    )


TRIALS: dict[str, Trial] = {
    "kill-member": _kill_member,
    "freeze-member": _freeze_member,
    "leave": _leave,
    "kill-coordinator": _kill_coordinator,
    "freeze-coordinator": _freeze_coordinator,
}


# ---- the storm -----------------------------------------------------------------------------------


class Storm:
    """Members join, leave, are frozen and killed at random, until `end`."""

    def __init__(self, group: StormyGroup, members: int, pause_s: float) -> None:
        """`members`: most at a time; `pause_s`: between two faults, on average."""
        self.counts = dict.fromkeys(("join", "leave", "freeze", "thaw", "kill", "start"), 0)
        self._group = group
        self._members = members
        self._each = members // len(group.processes)
        self._pause_s = pause_s
        #: When frozen ones go on, and killed ones are started again.
        self._due: dict[MemberProcess, float] = {}

    def rage(self, seconds: float) -> None:
        """Until the last fault."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self._carry_on(now, end)
            self._hurt(now)
            time.sleep(self._group.rng.expovariate(1 / self._pause_s))

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _carry_on(self, now: float, end: float) -> None:
        for process, due in list(self._due.items()):
            if due > now:
                continue
            if process.frozen:
                process.thaw()
                self._count("thaw")
            elif now < end - _START_S:
                self._group.launch(process, self._each)
                self._count("start")
            else:
                continue
            del self._due[process]

    def _hurt(self, now: float) -> None:
        rng, session_s = self._group.rng, self._group.session_s
        well = [each for each in self._group.processes if each.running and not each.frozen]
        if len(well) <= len(self._group.processes) // 2:
            return
        process = rng.choice(well)
        what = rng.choices(("come or go", "freeze", "kill"), (12, 2, 1))[0]
        if what == "freeze":
            process.freeze()
            self._due[process] = now + rng.uniform(0.2, 1.5) * session_s
        elif what == "kill":
            process.kill()
            self._due[process] = now + rng.uniform(0.5, 2.0)
        elif len(process.members) < rng.randint(2, self._each + 1):
            what = "join"
            process.join(*self._group.names(1))
        else:
            what = "leave"
            process.leave(rng.choice(sorted(process.members)))
        self._count(what)


def storm(group: StormyGroup, *, members: int, seconds: float, pause_s: float) -> Outcome:
    """Rage, and see how long the group takes to be settled when it is calm. Who is frozen then
    stays so."""
    raging = Storm(group, members, pause_s)
    raging.rage(seconds)
    living = len(group.living)
    took = group.settle(group.session_s + 20)
    for process in group.processes:
        if process.running and process.frozen:
            process.thaw()
    group.settle()
    counts = ", ".join(f"{count} {what}" for what, count in raging.counts.items())
    note = f"{counts}; {living} members at its end"
    return Outcome(took, group.session_s + CALM_S_MAX, note)


# ---- running them --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was handed out in all, what was wrong, and the longest pauses of what did not move.

    `pause_s`: of records that a reader outside of the group had; `any_pause_s`: of any that was
    acknowledged; `outside_pause_s`: the same of that reader, whom only the nodes and the machine
    make wait.
    """

    delivered: int
    repeated: int
    tenures: int
    pause_s: float
    any_pause_s: float
    outside_pause_s: float
    wrong: list[str]

    def __str__(self) -> str:
        return (
            f"{self.delivered} delivered, {self.repeated} of them again, in {self.tenures} "
            f"tenures; {len(self.wrong)} wrong; longest pause {self.pause_s * 1000:.0f} ms after "
            f"a reader outside of the group, {self.any_pause_s * 1000:.0f} ms after the "
            f"acknowledgement (outside of the group {self.outside_pause_s * 1000:.0f} ms)"
        )


def judge(group: StormyGroup) -> Verdict:
    """End everything and judge it."""
    found, wrong = group.finish()
    outside = group.delivered_outside()
    return Verdict(
        found.count,
        found.repeated,
        found.tenures,
        _longest_s(group.pauses_of_group(found, outside)),
        _longest_s(group.pauses(found)),
        _longest_s(group.pauses(outside)),
        wrong,
    )


def _longest_s(found: Sequence[Pause]) -> float:
    return found[0].ns / 1e9 if found else 0.0


def wrong_of(outcomes: Sequence[Outcome], verdict: Verdict) -> list[str]:
    """Everything that was wrong, bounds that were passed included, in words."""
    wrong = [*verdict.wrong, *(problem for each in outcomes for problem in each.problems)]
    if verdict.pause_s > PAUSE_S_MAX:
        wrong.append(f"a pause of {verdict.pause_s * 1000:.0f} ms")
    return wrong


def run_trials(folder: Path, kind: str, count: int) -> tuple[list[Outcome], Verdict]:
    """Some trials of one kind, with 8 members in 4 processes; prints what happens."""
    with StormyGroup(folder, processes=4, partitions=12, session_s=6.0, rate=300) as group:
        for process in group.processes:
            group.launch(process, 2)
        group.settle()
        outcomes = []
        for turn in range(count):
            outcomes.append(TRIALS[kind](group, turn))
            group.settle()
            print(f"{kind} {turn + 1}/{count}: {outcomes[-1]}", flush=True)
        verdict = judge(group)
    print(f"{kind}: {verdict}", flush=True)
    return outcomes, verdict


def run_storm(
    folder: Path,
    *,
    members: int,
    processes: int,
    seconds: float,
    session_s: float = 6.0,
    pause_s: float = 0.5,
) -> tuple[list[Outcome], Verdict]:
    """One storm; prints what happens."""
    partitions = members + members // 5
    with StormyGroup(
        folder, processes=processes, partitions=partitions, session_s=session_s, rate=500
    ) as group:
        for process in group.processes:
            group.launch(process, members // processes)
        group.settle()
        outcome = storm(group, members=members, seconds=seconds, pause_s=pause_s)
        print(f"storm of {members} members for {seconds:g} s: calm after {outcome}", flush=True)
        verdict = judge(group)
    print(f"storm: {verdict}", flush=True)
    return [outcome], verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.group_trials", description=__doc__
    )
    kinds = [*TRIALS, "storm"]
    parser.add_argument("--kinds", default=",".join(kinds), metavar="A,B")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--members", type=int, default=50, help="of the storm")
    parser.add_argument("--processes", type=int, default=10, help="that they share")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the storm")
    parser.add_argument("--keep", type=Path, help="keep logs and events in this folder")
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    for kind in options.kinds.split(","):
        if kind not in kinds:
            parser.error(f"no kind {kind!r}; there are {', '.join(kinds)}")
        with tempfile.TemporaryDirectory(prefix="logd-groups-") as scratch:
            folder = Path(scratch) if options.keep is None else options.keep / kind
            folder.mkdir(parents=True, exist_ok=True)
            if kind == "storm":
                found = run_storm(
                    folder,
                    members=options.members,
                    processes=options.processes,
                    seconds=options.seconds,
                )
            else:
                found = run_trials(folder, kind, options.count)
        wrong += [f"{kind}: {each}" for each in wrong_of(*found)]
    print("\n".join(["WRONG:", *wrong] if wrong else ["all bounds held, nothing was skipped"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
