"""Run seeds: `python -m tests.sim.run --seeds 0:50`, one line a seed; exit 1 if any failed.

--trace FILE   write the whole trace of the (last) seed
--json         one JSON object a line
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.sim.coverage import Sometimes
from tests.sim.faults import FAULTS
from tests.sim.seeds import parse_seeds
from tests.sim.simulation import Outcome, run_seed


def parse_faults(text: str) -> tuple[str, ...]:
    """Names of faults with commas between."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    return names


def replay_command(seed: int) -> str:
    """What to type to see a seed again."""
    return f"python -m tests.sim.run --seeds {seed} --trace /tmp/seed-{seed}.txt"


def report(outcome: Outcome) -> str:
    """A failed seed in full."""
    lines = [str(outcome), *outcome.problems, "the last events:", *outcome.tail[-20:]]
    lines.append(f"replay: {replay_command(outcome.seed)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.run", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=range(50), metavar="A:B")
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--faults", type=parse_faults, default=(), metavar="A,B")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args(arguments)
    sometimes, failed, acks, faults, virtual = Sometimes(), 0, 0, 0, 0.0
    began = time.perf_counter()
    for seed in options.seeds:
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(options.trace.open("w")) if options.trace else None
            outcome = run_seed(seed, sink=sink, faults=options.faults)
        sometimes.add(outcome.counts)
        failed += bool(outcome.problems)
        acks, faults = acks + outcome.acks, faults + outcome.faults
        virtual += outcome.virtual_s
        if options.json:
            document = asdict(outcome)
            del document["tail"]
            print(json.dumps(document), flush=True)
        else:
            print(report(outcome) if outcome.problems else outcome, flush=True)
        if outcome.problems and options.stop:
            break
    if not options.json:
        print(
            f"{len(options.seeds)} seeds, {failed} failed, {acks} acknowledgements, "
            f"{faults} faults, {virtual:.0f} virtual s in {time.perf_counter() - began:.0f} s"
        )
        print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
