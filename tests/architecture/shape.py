"""Checks on size and form: functions, files, lines, names, imports, complexity."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from tests.architecture.exceptions import Allowed
from tests.architecture.sources import Source, Violation

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
LINE_COLUMNS_MAX = 100
CASE_STATEMENTS_MAX = 2

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

_TO_A_TOOL = re.compile(r"\s*#\s*(?:noqa|type:|pyright:).*$")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def long_functions(source: Source) -> dict[str, int]:
    """Return `path:function` -> lines, of those over the limit."""
    return {
        f"{source.path}:{node.name}": length
        for node in functions(source.tree)
        if (length := _length(node)) > FUNCTION_LINES_MAX
    }


def _length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def long_file(source: Source) -> dict[str, int]:
    """Return path -> lines, when over the limit."""
    count = len(source.lines)
    return {source.path: count} if count > FILE_LINES_MAX else {}


def ratchet(measured: Mapping[str, int], allowed: Mapping[str, Allowed]) -> list[Violation]:
    """Compare what is over a limit with the list of exceptions, which may only shrink."""
    found = [
        Violation(name, 0, f"{value}: over the limit, and not on the list of exceptions")
        for name, value in measured.items()
        if name not in allowed
    ]
    for name, exception in allowed.items():
        value = measured.get(name)
        if value is None:
            found.append(Violation(name, 0, "within the limit by now: take it off the list"))
        elif value > exception.most:
            found.append(Violation(name, 0, f"{value}: grew beyond the {exception.most} allowed"))
        elif value < exception.most:
            found.append(Violation(name, 0, f"shrank: lower its exception to {value}"))
        if not exception.reason:
            found.append(Violation(name, 0, "an exception needs a reason"))
    return found


def long_lines(source: Source) -> Iterator[Violation]:
    """Lines over the limit; a word to a tool at the end of a line is not counted."""
    for number, line in enumerate(source.lines, 1):
        length = len(_TO_A_TOOL.sub("", line))
        if length > LINE_COLUMNS_MAX:
            yield Violation(source.path, number, f"{length} columns")


def banned_name(path: str) -> Iterator[Violation]:
    """Names that say nothing about what is inside: put a function next to its noun."""
    pure = PurePosixPath(path)
    for part in (*pure.parts[:-1], pure.stem):
        if part.strip("_") in BANNED_NAMES:
            yield Violation(path, 0, f"no module is called {part!r}: name it after its noun")


def late_imports(source: Source, optional: frozenset[str]) -> Iterator[Violation]:
    """Imports inside functions; those of `optional` distributions may stay there."""
    inside = {node for function in functions(source.tree) for node in ast.walk(function)}
    for node in inside:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported_roots(node):
                if name not in optional:
                    what = f"imports {name} inside a function: import at the top of the module"
                    yield Violation(source.path, node.lineno, what)


def _imported_roots(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [(node.module or "").partition(".")[0] if node.level == 0 else "a sibling"]


def undeserved_complexity(source: Source) -> Iterator[Violation]:
    """Only a `match` that dispatches may be excused from the limit on complexity."""
    excused = {
        number
        for number, line in enumerate(source.lines, 1)
        if re.search(r"#\s*noqa:[^#]*\bC901\b", line)
    }
    for function in functions(source.tree):
        header = range(function.lineno, function.body[0].lineno)
        if excused.intersection(header) and not _only_dispatches(function):
            what = f"{function.name} is too complex, and is not a match that only dispatches"
            yield Violation(source.path, function.lineno, what)


def _only_dispatches(function: Function) -> bool:
    body = list(function.body)
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    matches = [node for node in body if isinstance(node, ast.Match)]
    return len(matches) == 1 and all(
        len(case.body) <= CASE_STATEMENTS_MAX
        and not any(isinstance(node, ast.For | ast.While | ast.Match) for node in _inside(case))
        for case in matches[0].cases
    )


def _inside(case: ast.match_case) -> Iterator[ast.AST]:
    for statement in case.body:
        yield from ast.walk(statement)
