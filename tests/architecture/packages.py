"""Checks on modules as a whole: what imports what, and what a package promises to export."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from types import ModuleType

from tests.architecture.sources import PACKAGES, Source, Violation


def module_name(path: str) -> str:
    """Return the import name of a file: `client/logd_wire/limits.py` -> `logd_wire.limits`."""
    for package, folder in PACKAGES.items():
        if path.startswith(f"{folder}/"):
            path = package + path.removeprefix(folder)
            break
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def references(source: Source) -> Iterator[str]:
    """Names of modules that a file may load; names in strings count, for commands loaded late."""
    package = module_name(source.path)
    if not source.path.endswith("__init__.py"):
        package = package.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]


def dead_modules(sources: Iterable[Source], entries: Iterable[str]) -> list[Violation]:
    """Modules of `sources` that nothing loads, starting from the modules in `entries`."""
    by_name = {module_name(source.path): source for source in sources}
    waiting = [name for name in entries if name in by_name]
    alive: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in alive:
            continue
        alive.add(name)
        waiting.extend(_parents(name, by_name))
        waiting.extend(found for found in references(by_name[name]) if found in by_name)
    return [
        Violation(source.path, 0, "nothing imports this module, and it is no entry point")
        for name, source in by_name.items()
        if name not in alive
    ]


def _parents(name: str, known: Iterable[str]) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        if name in known:
            yield name


def broken_exports(module: ModuleType) -> list[str]:
    """What is wrong with a module's `__all__`."""
    names = getattr(module, "__all__", None)
    if names is None:
        return [f"{module.__name__} has no __all__"]
    wrong = [f"{module.__name__}.{n} does not exist" for n in names if not hasattr(module, n)]
    wrong += [f"{module.__name__}.{n} is listed twice" for n in {*names} if names.count(n) > 1]
    wrong += [f"{module.__name__}.{n} is private" for n in names if _private(n)]
    return wrong


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
