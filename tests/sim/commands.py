"""The command line of a simulation of several nodes: seeds in, a line for each, a summary."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tests.sim.coverage import Sometimes
from tests.sim.seeds import parse_seeds


class Result(Protocol):
    """What a seed came to; as text, its line."""

    @property
    def seed(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def problems(self) -> Sequence[str]: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def tail(self) -> Sequence[str]: ...


R = TypeVar("R", bound=Result)
R_contra = TypeVar("R_contra", bound=Result, contravariant=True)


class Tally(Protocol[R_contra]):
    """Adds up what the seeds came to; as text, the middle of the summary."""

    def add(self, outcome: R_contra) -> None: ...


@dataclass(frozen=True)
class Command(Generic[R]):
    """`run_seed(seed, sink=None, faults=())` is a function of a module: other processes find it."""

    module: str
    about: str | None
    run_seed: Callable[..., R]
    faults: Collection[str]
    states: Sequence[str]
    rare: Collection[str]
    tally: Callable[[], Tally[R]]

    def report(self, outcome: R) -> str:
        """A failed seed in full."""
        replay = f"python -m {self.module} --seeds {outcome.seed} --trace /tmp/seed.txt"
        lines = [str(outcome), *outcome.problems, "the last events:", *outcome.tail[-20:]]
        return "\n".join([*lines, f"replay: {replay}"])

    def main(self, arguments: list[str] | None = None) -> int:
        """Exit code 1 if any seed failed."""
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}",
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--seeds", type=parse_seeds, default=range(50), metavar="A:B")
        parser.add_argument("--trace", type=Path)
        parser.add_argument("--faults", type=self._parse_faults, default=(), metavar="A,B")
        parser.add_argument("--processes", type=int, default=1)
        parser.add_argument("--stop", action="store_true")
        parser.add_argument("--digest", action="store_true")
        options = parser.parse_args(arguments)
        if options.trace:
            with options.trace.open("w") as sink:
                for seed in options.seeds:
                    self.run_seed(seed, sink=sink, faults=options.faults)
        return self._digests(options) if options.digest else self._judge(options)

    def _parse_faults(self, text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        unknown = [name for name in names if name not in self.faults]
        if unknown:
            known = ", ".join(self.faults)
            raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}; there are {known}")
        return names

    def _outcomes(self, options: Any) -> Iterator[R]:
        """Run seeds in this process, or share them out."""
        one = partial(self.run_seed, faults=options.faults)
        if options.processes <= 1:
            yield from map(one, options.seeds)
            return
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            yield from pool.imap(one, options.seeds, chunksize=2)

    def _digests(self, options: Any) -> int:
        for outcome in self._outcomes(options):
            print(outcome.seed, outcome.digest, flush=True)
        return 0

    def _judge(self, options: Any) -> int:
        sometimes, tally = Sometimes(self.states, self.rare), self.tally()
        done, failed, began = 0, 0, time.perf_counter()
        for outcome in self._outcomes(options):
            done += 1
            sometimes.add(outcome.counts)
            failed += bool(outcome.problems)
            tally.add(outcome)
            print(self.report(outcome) if outcome.problems else outcome, flush=True)
            if outcome.problems and options.stop:
                break
        took_s = time.perf_counter() - began
        print(f"{done} seeds, {failed} failed, {tally} in {took_s:.0f} s")
        print(f"never reached: {', '.join(sometimes.missing()) or 'nothing'}")
        return 1 if failed else 0
