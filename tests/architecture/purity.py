"""Checks on what code may touch: clocks, dice, threads, files; and waiting in tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.sources import Source, Violation

#: Modules that bring in time, chance, threads or the world; ports stand for them.
IMPURE_MODULES = frozenset(
    {
        "concurrent",
        "multiprocessing",
        "random",
        "secrets",
        "select",
        "selectors",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
)
#: Attributes that do the same through a module that is allowed.
IMPURE_ATTRIBUTES = {
    "to_thread": "use the Disk port",
    "run_in_executor": "use the Disk port",
    "urandom": "use the Rng port",
    "uuid1": "use the Rng port",
    "uuid4": "use the Rng port",
    "all_tasks": "its order is that of a set",
    "as_completed": "its order is that of a set",
    "now": "use the Clock port",
    "utcnow": "use the Clock port",
}
_FILE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}


def runtime_impurity(source: Source) -> Iterator[Violation]:
    """What would make a simulated run differ from the same run with the same seed."""
    for node in ast.walk(source.tree):
        what = _impure_import(node) or _impure_attribute(node) or _iterates_a_set(node)
        if what:
            yield Violation(source.path, _line(node), what)


def _line(node: ast.AST) -> int:
    located = node.iter if isinstance(node, ast.comprehension) else node
    return getattr(located, "lineno", 0)


def _impure_import(node: ast.AST) -> str:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
    for name in names:
        if name.partition(".")[0] in IMPURE_MODULES:
            return f"imports {name}: only adapters may"
    return ""


def _impure_attribute(node: ast.AST) -> str:
    if not isinstance(node, ast.Attribute):
        return ""
    if node.attr in IMPURE_ATTRIBUTES:
        return f"{node.attr}: {IMPURE_ATTRIBUTES[node.attr]}"
    if node.attr == "time" and "loop" in ast.unparse(node.value).lower():
        return "loop.time: use the Clock port"
    if node.attr == "wait" and ast.unparse(node.value) == "asyncio":
        return "asyncio.wait: its results are sets, in no fixed order"
    return ""


def _iterates_a_set(node: ast.AST) -> str:
    iterated = node.iter if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) else None
    if isinstance(iterated, ast.Set | ast.SetComp):
        return "iterates over a set: its order is not fixed"
    called = iterated.func if isinstance(iterated, ast.Call) else None
    if isinstance(called, ast.Name) and called.id in {"set", "frozenset"}:
        return "iterates over a set: its order is not fixed"
    return ""


def opened_files(source: Source) -> Iterator[Violation]:
    """Files opened by path, where a string of a user could become one."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (name := _opens(node.func)):
            yield Violation(source.path, node.lineno, f"{name}: go through logd.storage")


def _opens(function: ast.expr) -> str:
    if isinstance(function, ast.Name) and function.id == "open":
        return "open()"
    if isinstance(function, ast.Attribute):
        if function.attr in _FILE_METHODS:
            return f"{function.attr}()"
        if function.attr == "open" and ast.unparse(function.value) in {"os", "io", "codecs"}:
            return ast.unparse(function)
    return ""


def waiting_tests(source: Source) -> Iterator[Violation]:
    """`sleep` and `patch`: tests that wait for luck, or that test a mock."""
    for node in ast.walk(source.tree):
        if name := _waits_or_patches(node):
            what = f"{name} in a unit test: hand in a clock or a double"
            yield Violation(source.path, _line(node), what)


def _waits_or_patches(node: ast.AST) -> str:
    if isinstance(node, ast.ImportFrom):
        return next((a.name for a in node.names if a.name in {"sleep", "patch"}), "")
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value)
        if node.attr == "patch" or (node.attr == "setattr" and owner == "monkeypatch"):
            return ast.unparse(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yields = [ast.unparse(argument) for argument in node.args] == ["0"]
        if node.func.attr == "sleep" and not yields:
            return ast.unparse(node.func)
    return ""


def silent_skips(source: Source) -> Iterator[Violation]:
    """Tests that are skipped or expected to fail without saying why."""
    called = {node.func: node for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and (what := _skips(node, called.get(node))):
            yield Violation(source.path, node.lineno, f"{ast.unparse(node)} {what}")


def _skips(node: ast.Attribute, call: ast.Call | None) -> str:
    name = ast.unparse(node)
    if name == "pytest.importorskip":
        return "skips in silence: the extra [dev] brings what tests need"
    if name == "pytest.skip":
        return "" if call and (call.args or call.keywords) else "without a reason"
    if name in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}:
        given = call is not None and any(keyword.arg == "reason" for keyword in call.keywords)
        return "" if given else "without a reason"
    return ""
