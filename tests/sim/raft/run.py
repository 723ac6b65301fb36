"""Run seeds of the consensus core: `python -m tests.sim.raft.run --seed 7` or `--seeds 0:500`.

One line for each seed that fails (all with --verbose), then a summary; exit 1 if any failed.

--trace FILE     write the whole trace of the (last) seed
--focus A,B      have these faults and demands in every seed, and often
--digest         one line `seed digest` for each seed: the hash of its whole trace
--processes N    share the seeds out
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.profile import DEMANDS, FAULTS
from tests.sim.raft.simulation import Outcome, run_seed
from tests.sim.seeds import parse_seeds

FOCI = (*FAULTS, *DEMANDS, "formation")


def parse_focus(text: str) -> tuple[str, ...]:
    """Names of faults and demands with commas between."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in FOCI]
    if unknown:
        raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {', '.join(FOCI)}")
    return names


def replay_command(seed: int, focus: tuple[str, ...] = ()) -> str:
    """What to type to see a seed again."""
    focused = f" --focus {','.join(focus)}" if focus else ""
    return f"python -m tests.sim.raft.run --seed {seed}{focused}"


def report(outcome: Outcome, focus: tuple[str, ...] = ()) -> str:
    """A failed seed in full."""
    lines = [str(outcome), outcome.profile, "the last events:", *outcome.tail[-40:]]
    lines.append(f"replay: {replay_command(outcome.seed, focus)}")
    return "\n".join(lines)


def outcomes(seeds: range, focus: tuple[str, ...], processes: int) -> Iterator[Outcome]:
    """Run seeds in this process, or share them out."""
    one = partial(run_seed, focus=focus)
    if processes <= 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(one, seeds, chunksize=20)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.raft.run", description=__doc__)
    parser.add_argument("--seed", "--seeds", dest="seeds", type=parse_seeds, default=range(100))
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--focus", type=parse_focus, default=())
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args(arguments)
    if options.digest:
        for seed in options.seeds:
            print(seed, run_seed(seed, focus=options.focus, digest=True).digest, flush=True)
        return 0
    if options.trace:
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(options.trace.open("w"))
            for seed in options.seeds:
                run_seed(seed, focus=options.focus, sink=sink)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    sometimes, failed, count = Sometimes(), 0, 0
    faults, committed, terms, messages, virtual_ms = 0, 0, 0, 0, 0.0
    began = time.perf_counter()
    for outcome in outcomes(options.seeds, options.focus, options.processes):
        count += 1
        sometimes.add(outcome.counts)
        failed += bool(outcome.problem)
        faults, committed = faults + outcome.faults, committed + outcome.committed
        terms, messages = terms + outcome.terms, messages + outcome.messages
        virtual_ms += outcome.virtual_ms
        if outcome.problem:
            print(report(outcome, options.focus), flush=True)
        elif options.verbose:
            print(outcome, flush=True)
        if outcome.problem and options.stop:
            break
    print(
        f"{count} seeds, {failed} failed; {committed} entries committed, {terms} leaders, "
        f"{faults} faults, {messages} messages, {virtual_ms / 1000:.0f} virtual s "
        f"in {time.perf_counter() - began:.0f} s"
    )
    print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
