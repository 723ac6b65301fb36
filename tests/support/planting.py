"""Bugs planted into a copy of the sources: what every table of them needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[2]


class Planted(Protocol):
    """A bug: `anchor`, there exactly once, becomes `planted`."""

    @property
    def name(self) -> str: ...

    @property
    def anchor(self) -> str: ...

    @property
    def planted(self) -> str: ...


M = TypeVar("M", bound=Planted)


@contextmanager
def copied(parts: Iterable[str]) -> Iterator[Path]:
    """The root of a copy of some folders and files of the project, for as long as the block."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy_parts(parts, root)
        yield root


def copy_parts(parts: Iterable[str], root: Path) -> None:
    """Copy folders and files of the project to below `root`.

    Their bytecode comes along, and is good as long as the time of its source is the same: to
    compile everything takes longer than most tests that look for a bug.
    """
    # Half-written bytecode of another process has a number behind its name.
    ignored = shutil.ignore_patterns("*.pyc.*", "native", "*.so")
    for part in parts:
        source, target = ROOT / part, root / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def plant_in(path: Path, mutant: Planted) -> None:
    """Change one file of a copy; ValueError if the anchor is not there exactly once."""
    text = path.read_text()
    if text.count(mutant.anchor) != 1:
        raise ValueError(f"{mutant.name}: the anchor is there {text.count(mutant.anchor)} times")
    path.write_text(text.replace(mutant.anchor, mutant.planted))
    for bytecode in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        bytecode.unlink()


def first_failure(root: Path, tests: Sequence[str]) -> str:
    """Run tests of the copy below `root` against it; the first that fails, '' if none does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no"]
    run = subprocess.run(
        [*command, *tests],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'client'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return first_failed(run.stdout)


def first_failed(output: str) -> str:
    """The first test that failed by pytest's summary; '' if none did."""
    failures = [line for line in output.splitlines() if line.startswith("FAILED")]
    return failures[0].split(" ")[1] if failures else ""


def report(mutants: Iterable[M], names: Collection[str], seen_by: Callable[[M], str]) -> int:
    """Look for the named bugs, all of them by default; return how many were not seen."""
    missed = 0
    for mutant in mutants:
        if names and mutant.name not in names:
            continue
        test = seen_by(mutant)
        missed += not test
        print(f"{mutant.name:42} {test or 'NOT SEEN'}", flush=True)
    return missed
