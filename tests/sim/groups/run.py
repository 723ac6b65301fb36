"""Run seeds of a consumer group: `python -m tests.sim.groups.run --seeds 0:50`.

One line a seed, then a summary; exit 1 if any failed.

--trace FILE     write the whole trace of the (last) seed
--faults A,B     these faults, and no others
--processes N    share the seeds out
--stop           stop at the first that fails
--digest         print seeds and digests of traces only
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.sim.coverage import Sometimes
from tests.sim.groups.coverage import RARE, STATES
from tests.sim.groups.faults import FAULTS
from tests.sim.groups.simulation import GroupOutcome, run_seed
from tests.sim.seeds import parse_seeds


def parse_faults(text: str) -> tuple[str, ...]:
    """Names of faults with commas between."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    return names


def report(outcome: GroupOutcome) -> str:
    """A failed seed in full."""
    replay = f"python -m tests.sim.groups.run --seeds {outcome.seed} --trace /tmp/seed.txt"
    lines = [str(outcome), *outcome.problems, "the last events:", *outcome.tail[-20:]]
    return "\n".join([*lines, f"replay: {replay}"])


def outcomes(seeds: range, faults: tuple[str, ...], processes: int) -> Iterator[GroupOutcome]:
    """Run seeds in this process, or share them out."""
    one = partial(run_seed, faults=faults)
    if processes <= 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(one, seeds, chunksize=2)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.groups.run", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=range(50), metavar="A:B")
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--faults", type=parse_faults, default=(), metavar="A,B")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--digest", action="store_true")
    options = parser.parse_args(arguments)
    if options.trace:
        with options.trace.open("w") as sink:
            for seed in options.seeds:
                run_seed(seed, sink=sink, faults=options.faults)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    sometimes, failed, done = Sometimes(STATES, RARE), 0, 0
    delivered, commits, faults, calm_s = 0, 0, 0, 0.0
    began = time.perf_counter()
    for outcome in outcomes(options.seeds, options.faults, options.processes):
        if options.digest:
            print(outcome.seed, outcome.digest, flush=True)
            continue
        done += 1
        sometimes.add(outcome.counts)
        failed += bool(outcome.problems)
        delivered, commits = delivered + outcome.delivered, commits + outcome.commits
        faults, calm_s = faults + outcome.faults, max(calm_s, outcome.calm_s)
        print(report(outcome) if outcome.problems else outcome, flush=True)
        if outcome.problems and options.stop:
            break
    if options.digest:
        return 0
    print(
        f"{done} seeds, {failed} failed, {delivered} records delivered, {commits} offsets "
        f"committed, {faults} faults, calm after {calm_s:.1f} virtual s at most, in "
        f"{time.perf_counter() - began:.0f} s"
    )
    print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
