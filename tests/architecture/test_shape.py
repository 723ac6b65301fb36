from __future__ import annotations

import pytest

from tests.architecture import shape
from tests.architecture.exceptions import (
    LONG_FILES,
    LONG_FUNCTIONS,
    OPTIONAL_DISTRIBUTIONS,
    Allowed,
)
from tests.architecture.sources import (
    Source,
    product_files,
    python_files,
    report,
    text_files,
)

#: C needs more lines for the same, and has fewer files to hold them.
C_FILE_LINES_MAX = 900


def _of(text: str, path: str = "logd/x.py") -> Source:
    return Source(path, text)


def test_every_python_file_is_seen() -> None:
    paths = {source.path for source in python_files()}
    assert {
        "logd/runtime/ports.py",
        "client/logd_wire/limits.py",
        "tools/gen_proto.py",
        "tests/architecture/test_shape.py",
        "tests/integration/dist/test_wheels.py",
    } <= paths
    assert not any(path.endswith("_pb2.py") for path in paths)


def test_functions_are_short() -> None:
    measured: dict[str, int] = {}
    for source in python_files():
        measured |= shape.long_functions(source)
    found = shape.ratchet(measured, LONG_FUNCTIONS)
    assert not found, report(found)


def test_a_long_function_is_seen_wherever_it_hides() -> None:
    body = "\n".join(f"        a{number} = 1" for number in range(70))
    text = f"class C:\n    async def f(self):\n{body}\n    def g(self):\n        pass\n"
    assert shape.long_functions(_of(text)) == {"logd/x.py:f": 71}


def test_files_are_short() -> None:
    measured: dict[str, int] = {}
    for source in python_files():
        measured |= shape.long_file(source)
    found = shape.ratchet(measured, LONG_FILES)
    assert not found, report(found)


def test_a_long_file_is_seen() -> None:
    assert shape.long_file(_of("a = 1\n" * 500)) == {}
    assert shape.long_file(_of("a = 1\n" * 501)) == {"logd/x.py": 501}


@pytest.mark.parametrize(
    ("measured", "allowed", "said"),
    [
        ({"a": 80}, {}, "not on the list"),
        ({"a": 81}, {"a": Allowed(80, "a table")}, "grew"),
        ({"a": 79}, {"a": Allowed(80, "a table")}, "lower its exception to 79"),
        ({}, {"a": Allowed(80, "a table")}, "take it off the list"),
        ({"a": 80}, {"a": Allowed(80, "")}, "needs a reason"),
    ],
)
def test_exceptions_only_shrink(
    measured: dict[str, int], allowed: dict[str, Allowed], said: str
) -> None:
    found = shape.ratchet(measured, allowed)
    assert len(found) == 1
    assert said in found[0].what
    assert shape.ratchet({"a": 80}, {"a": Allowed(80, "a table")}) == []


def test_lines_are_short() -> None:
    found = [violation for source in python_files() for violation in shape.long_lines(source)]
    assert not found, report(found)


def test_a_long_line_is_seen() -> None:
    assert list(shape.long_lines(_of("#" * 100))) == []
    assert list(shape.long_lines(_of("x" * 100 + "  # type: ignore[attr-defined]"))) == []
    assert [violation.line for violation in shape.long_lines(_of("\n" + "#" * 101))] == [2]


def test_c_files_are_short_and_narrow() -> None:
    found = [source for source in text_files() if source.path.endswith((".c", ".h"))]
    assert {"client/native/decode.c", "client/native/speed.h"} <= {one.path for one in found}
    assert [one.path for one in found if len(one.lines) > C_FILE_LINES_MAX] == []
    wide = [violation for source in found for violation in shape.long_lines(source)]
    assert not wide, report(wide)


def test_module_names_say_what_is_inside() -> None:
    found = [v for source in python_files() for v in shape.banned_name(source.path)]
    assert not found, report(found)


@pytest.mark.parametrize(
    "path", ["logd/utils.py", "logd/common/x.py", "client/logd_client/_helpers.py", "misc.py"]
)
def test_a_dumping_ground_is_seen(path: str) -> None:
    assert list(shape.banned_name(path))
    assert not list(shape.banned_name("logd/storage/common_prefix.py"))


def test_imports_are_at_the_top() -> None:
    found = [
        violation
        for source in python_files()
        if not source.path.startswith(("logd/cli/", "logd/__main__.py"))
        for violation in shape.late_imports(source, OPTIONAL_DISTRIBUTIONS)
    ]
    assert not found, report(found)


def test_a_late_import_is_seen() -> None:
    text = "def f():\n    def g():\n        from . import a\n    import uvloop, os.path\n"
    found = shape.late_imports(_of(text), OPTIONAL_DISTRIBUTIONS)
    assert sorted(violation.line for violation in found) == [3, 4]


def test_only_dispatch_is_excused_from_complexity() -> None:
    found = [v for source in python_files() for v in shape.undeserved_complexity(source)]
    assert not found, report(found)


def test_undeserved_excuse_is_seen() -> None:
    excuse = "def f(x):  # noqa: C901 - dispatch\n"
    dispatch = "    match x:\n        case 1:\n            return g(x)\n"
    assert not list(shape.undeserved_complexity(_of(excuse + dispatch)))
    assert list(shape.undeserved_complexity(_of(excuse + "    if x:\n        return 1\n")))
    works = dispatch + "        case 2:\n            for a in x:\n                g(a)\n"
    assert list(shape.undeserved_complexity(_of(excuse + works)))


def test_product_has_both_distributions() -> None:
    folders = {source.path.split("/")[0] for source in product_files()}
    assert folders == {"logd", "client"}
