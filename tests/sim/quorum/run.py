"""Run seeds of real nodes as a quorum: `python -m tests.sim.quorum.run --seeds 0:50`.

One line for each seed that fails (all with --verbose), then a summary; exit 1 if any failed.

--trace FILE     write the whole trace of the (last) seed
--focus A,B      these faults and demands, and no others
--digest         one line `seed digest` for each seed: the hash of its whole trace
--processes N    share the seeds out
--stop           stop at the first that fails
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.sim.quorum.coverage import Sometimes
from tests.sim.quorum.plan import DEMANDS, FAULTS
from tests.sim.quorum.simulation import Outcome, run_seed
from tests.sim.seeds import parse_seeds


def parse_focus(text: str) -> tuple[str, ...]:
    """Names of faults and demands with commas between."""
    names, known = tuple(text.split(",")), (*FAULTS, *DEMANDS)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {', '.join(known)}")
    return names


def replay_command(seed: int, focus: tuple[str, ...] = ()) -> str:
    """What to type to see a seed again."""
    focused = f" --focus {','.join(focus)}" if focus else ""
    return f"python -m tests.sim.quorum.run --seeds {seed}{focused} --trace /tmp/seed-{seed}.txt"


def report(outcome: Outcome, focus: tuple[str, ...] = ()) -> str:
    """A failed seed in full."""
    lines = [str(outcome), outcome.plan, *outcome.problems, "the last events:"]
    lines += [*outcome.tail[-20:], f"replay: {replay_command(outcome.seed, focus)}"]
    return "\n".join(lines)


def outcomes(seeds: range, focus: tuple[str, ...], processes: int) -> Iterator[Outcome]:
    """Run seeds in this process, or share them out."""
    one = partial(run_seed, focus=focus)
    if processes <= 1:
        _set_aside()
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _set_aside) as pool:
        yield from pool.imap(one, seeds, chunksize=5)


def _set_aside() -> None:
    """What is loaded by now stays: it is not looked through at the end of every seed."""
    gc.collect()
    gc.freeze()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.quorum.run", description=__doc__)
    parser.add_argument("--seed", "--seeds", dest="seeds", type=parse_seeds, default=range(50))
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--focus", type=parse_focus, default=())
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args(arguments)
    if options.digest:
        for seed in options.seeds:
            print(seed, run_seed(seed, focus=options.focus).digest, flush=True)
        return 0
    if options.trace:
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(options.trace.open("w"))
            for seed in options.seeds:
                run_seed(seed, sink=sink, focus=options.focus)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    sometimes, failed, count = Sometimes(), 0, 0
    commands, committed, terms, faults, virtual_s = 0, 0, 0, 0, 0.0
    began = time.perf_counter()
    for outcome in outcomes(options.seeds, options.focus, options.processes):
        count += 1
        sometimes.add(outcome.counts)
        failed += bool(outcome.problems)
        commands, committed = commands + outcome.commands, committed + outcome.committed
        terms, faults = terms + outcome.terms, faults + outcome.faults
        virtual_s += outcome.virtual_s
        if outcome.problems:
            print(report(outcome, options.focus), flush=True)
        elif options.verbose:
            print(outcome, flush=True)
        if outcome.problems and options.stop:
            break
    print(
        f"{count} seeds, {failed} failed; {commands} commands, {committed} entries committed, "
        f"{terms} leaders, {faults} faults, {virtual_s:.0f} virtual s "
        f"in {time.perf_counter() - began:.0f} s"
    )
    print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
