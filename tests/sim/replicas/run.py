"""Run seeds of three nodes that copy partitions: `python -m tests.sim.replicas.run --seeds 0:50`.

One line a seed, then a summary; exit 1 if any failed.

--trace FILE     write the whole trace of the (last) seed
--faults A,B     these faults, and no others
--processes N    share the seeds out
--stop           stop at the first that fails
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
from tests.sim.replicas.coverage import RARE, STATES
from tests.sim.replicas.faults import FAULTS
from tests.sim.replicas.simulation import run_seed
from tests.sim.seeds import parse_seeds
from tests.sim.simulation import Outcome


def parse_faults(text: str) -> tuple[str, ...]:
    """Names of faults with commas between."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    return names


def report(outcome: Outcome) -> str:
    """A failed seed in full."""
    replay = f"python -m tests.sim.replicas.run --seeds {outcome.seed} --trace /tmp/seed.txt"
    lines = [str(outcome), *outcome.problems, "the last events:", *outcome.tail[-20:]]
    return "\n".join([*lines, f"replay: {replay}"])


def outcomes(seeds: range, faults: tuple[str, ...], processes: int) -> Iterator[Outcome]:
    """Run seeds in this process, or share them out."""
    one = partial(run_seed, faults=faults)
    if processes <= 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(one, seeds, chunksize=2)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.replicas.run", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=range(50), metavar="A:B")
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--faults", type=parse_faults, default=(), metavar="A,B")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args(arguments)
    if options.trace:
        with options.trace.open("w") as sink:
            for seed in options.seeds:
                run_seed(seed, sink=sink, faults=options.faults)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    sometimes, failed, acks, checked, faults = Sometimes(STATES, RARE), 0, 0, 0, 0
    began = time.perf_counter()
    for outcome in outcomes(options.seeds, options.faults, options.processes):
        sometimes.add(outcome.counts)
        failed += bool(outcome.problems)
        acks, checked = acks + outcome.acks, checked + outcome.checked_acks
        faults += outcome.faults
        print(report(outcome) if outcome.problems else outcome, flush=True)
        if outcome.problems and options.stop:
            break
    print(
        f"{len(options.seeds)} seeds, {failed} failed, {acks} acknowledgements ({checked} held "
        f"against a power loss of all in sync), {faults} faults in "
        f"{time.perf_counter() - began:.0f} s"
    )
    print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
