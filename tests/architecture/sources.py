"""The files of the repository, as the checks see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent

#: Import name -> folder of every package that is released.
PACKAGES = {
    "logd": "logd",
    "logd_client": "client/logd_client",
    "logd_wire": "client/logd_wire",
    "logd_proto": "client/logd_proto",
}
GENERATED = "client/logd_proto/v1/"

_PRODUCTS = {"build", "dist", "client/build", "client/dist", "bench/results"}
_TEXT_SUFFIXES = {
    ".c",
    ".cfg",
    ".h",
    ".ini",
    ".md",
    ".proto",
    ".py",
    ".pyi",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
_TEXT_NAMES = {"Makefile", "Dockerfile", "LICENSE", "run", ".gitignore", ".dockerignore"}


class Violation(NamedTuple):
    """One place that breaks a rule; `line` counts from 1, 0 stands for the whole file."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" if self.line else f"{self.path}: {self.what}"


@dataclass(frozen=True)
class Source:
    """A text file; `path` is relative to the repository and uses '/'."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def report(violations: list[Violation]) -> str:
    """Return what a failing check prints."""
    return "\n".join(["", *map(str, sorted(violations))])


@cache
def text_files() -> tuple[Source, ...]:
    """Every text file that a person wrote or a tool generated, in the order of the paths."""
    return tuple(sorted(_walk(ROOT), key=lambda source: source.path))


def _walk(folder: Path) -> Iterator[Source]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if not _is_product(entry):
                yield from _walk(entry)
        elif entry.suffix in _TEXT_SUFFIXES or entry.name in _TEXT_NAMES:
            yield Source(entry.relative_to(ROOT).as_posix(), entry.read_text())


def _is_product(folder: Path) -> bool:
    hidden = folder.name.startswith(".") and folder.name != ".ci"
    made = folder.name == "__pycache__" or folder.suffix == ".egg-info"
    return hidden or made or folder.relative_to(ROOT).as_posix() in _PRODUCTS


def python_files(*folders: str) -> list[Source]:
    """Python written by hand below `folders` (all, when none is given)."""
    return [
        source
        for source in text_files()
        if source.path.endswith(".py")
        and not source.path.startswith(GENERATED)
        and (not folders or source.path.startswith(tuple(f"{folder}/" for folder in folders)))
    ]


def product_files() -> list[Source]:
    """Python of what is released: the node and the client."""
    return python_files(*PACKAGES.values())
