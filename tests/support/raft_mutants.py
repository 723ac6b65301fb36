"""Planted bugs in the consensus core and in its driver, and a run that finds each of them.

A bug is one or more pieces of source (the anchors) and what takes their place. It is planted into a
private copy of the modules, loaded beside the real ones; nothing on the disk is touched. Each bug
is looked for with the seeds of `tests.sim.raft` near the one that found it last (`seed`), then with
others, or with one directed test.

`python -m tests.support.raft_mutants [NAME ...]` looks for every bug, or the named ones, with the
seeds from 0 on, and says which seed is the first to find it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol, cast

from tests.support.raft_mutant import Mutant
from tests.support.raft_mutant_table import MUTANTS

ROOT = Path(__file__).resolve().parents[2]

#: CPU time that the command line spends on one bug.
LIMIT_S = 6

#: What is loaded anew for each bug, with everything below.
_PRIVATE = ("logd.consensus", "tests.sim.raft")


class Outcome(Protocol):
    """What is looked at in the outcome of a seed."""

    problem: str


class Found(NamedTuple):
    """`by`: the seed or the directed test; empty if nothing found the bug."""

    by: str
    problem: str
    seconds: float


class PlantedModules:
    """The simulation over a core with one bug."""

    def __init__(self, mutant: Mutant) -> None:
        self._simulation = load_privately(mutant, "tests.sim.raft.simulation")
        self._mutant = mutant

    def run(self, seed: int) -> str:
        """Run one seed; returns what it complains of."""
        outcome = self._simulation.run_seed(seed, focus=self._mutant.focus)
        return cast(Outcome, outcome).problem


def source(module: str) -> Path:
    """The file of a module."""
    return ROOT / Path(*module.split(".")).with_suffix(".py")


def planted_texts(mutant: Mutant) -> dict[str, str]:
    """The sources with the bug, by module; ValueError if an anchor is not there exactly once."""
    texts: dict[str, str] = {}
    for patch in mutant.patches:
        text = texts.get(patch.module) or source(patch.module).read_text()
        if text.count(patch.anchor) != 1 or patch.anchor == patch.planted:
            raise ValueError(
                f"{mutant.name}: {patch.anchor!r} is there {text.count(patch.anchor)} times"
            )
        texts[patch.module] = text.replace(patch.anchor, patch.planted)
    return texts


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads some modules from texts of our own."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._texts:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(source(fullname)))

    def exec_module(self, module: ModuleType) -> None:
        text = self._texts[module.__name__]
        exec(compile(text, str(source(module.__name__)), "exec"), module.__dict__)


def _is_private(name: str) -> bool:
    return any(name == private or name.startswith(private + ".") for private in _PRIVATE)


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Everything private is imported anew in here, with the bug; the real ones come back after."""
    real = {key: module for key, module in sys.modules.items() if _is_private(key)}
    planter = _Planter(planted_texts(mutant))
    for key in real:
        del sys.modules[key]
    sys.meta_path.insert(0, planter)
    try:
        yield
    finally:
        sys.meta_path.remove(planter)
        for key in [key for key in sys.modules if _is_private(key)]:
            del sys.modules[key]
        sys.modules.update(real)
        _rebind(real)


def load_privately(mutant: Mutant, name: str) -> ModuleType:
    """Import a module over fresh copies of everything private; the real ones stay in place."""
    with planted(mutant):
        return importlib.import_module(name)


def _rebind(real: dict[str, ModuleType]) -> None:
    """Importing a submodule also sets it as an attribute of its parent; set the real ones again."""
    for private in _PRIVATE:
        parent, _, child = private.rpartition(".")
        if private in real and parent in sys.modules:
            setattr(sys.modules[parent], child, real[private])


def search(mutant: Mutant, seeds: Sequence[int], limit_s: float = 1e9) -> Found:
    """Look for a bug with these seeds, in this order."""
    began = time.process_time()
    if mutant.directed:
        problem = run_directed(mutant)
        return Found(mutant.directed if problem else "", problem, time.process_time() - began)
    modules = PlantedModules(mutant)
    for seed in seeds:
        problem = modules.run(seed)
        if problem:
            return Found(f"seed {seed}", problem, time.process_time() - began)
        if time.process_time() - began > limit_s:
            break
    return Found("", "", time.process_time() - began)


def run_directed(mutant: Mutant) -> str:
    """Run the directed test that is to find the bug; returns what it complains of."""
    directed = load_privately(mutant, "tests.sim.raft.directed")
    try:
        getattr(directed, mutant.directed)()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def seeds_near(mutant: Mutant, count: int) -> list[int]:
    """The seed that found the bug last, and others around it."""
    near = [mutant.seed, *range(max(0, mutant.seed - 5), mutant.seed), *range(count)]
    return list(dict.fromkeys(near))[:count]


def main(names: list[str]) -> int:
    """Look for the named bugs, all of them by default; return how many were not found."""
    missed = 0
    for mutant in MUTANTS:
        if names and not any(name in mutant.name for name in names):
            continue
        found = search(mutant, range(5000), limit_s=LIMIT_S)
        missed += not found.by
        problem = found.problem[:90]
        print(f"{mutant.name:48} {found.by or 'NOT FOUND':12} {found.seconds:5.1f} s  {problem}")
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
