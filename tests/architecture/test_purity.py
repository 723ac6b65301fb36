from __future__ import annotations

import pytest

from tests.architecture import purity
from tests.architecture.exceptions import OPENS_FILES
from tests.architecture.sources import Source, product_files, python_files, report


def test_the_runtime_touches_the_world_through_ports_only() -> None:
    found = [
        violation
        for source in python_files("logd/runtime")
        if source.path != "logd/runtime/adapters.py"
        for violation in purity.runtime_impurity(source)
    ]
    assert not found, report(found)


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import monotonic",
        "import concurrent.futures",
        "import random as dice",
        "async def f(): await asyncio.to_thread(g)",
        "async def f(): await loop.run_in_executor(None, g)",
        "x = asyncio.get_running_loop().time()",
        "x = self._loop.time()",
        "done, waiting = await asyncio.wait(tasks)",
        "for task in asyncio.all_tasks(): pass",
        "for task in {a, b}: pass",
        "x = [task for task in set(tasks)]",
        "x = uuid.uuid4()",
        "x = datetime.now()",
        "x = os.urandom(16)",
    ],
)
def test_an_impure_line_is_seen(text: str) -> None:
    assert list(purity.runtime_impurity(Source("logd/runtime/x.py", text)))


def test_what_is_pure_passes() -> None:
    text = "from asyncio import Future\nfor a in sorted({1, 2}): pass\nx = record.time()\n"
    assert not list(purity.runtime_impurity(Source("logd/runtime/x.py", text)))


def test_files_are_opened_in_one_place() -> None:
    found = [
        violation
        for source in product_files()
        if source.path not in OPENS_FILES and not source.path.startswith("logd/cli/")
        for violation in purity.opened_files(source)
    ]
    assert not found, report(found)


@pytest.mark.parametrize("path", sorted(OPENS_FILES))
def test_what_may_open_files_does(path: str) -> None:
    opening = [source for source in product_files() if source.path == path]
    assert opening, f"{path} is gone: take it off the list"
    assert OPENS_FILES[path], f"{path}: an exception needs a reason"
    assert list(purity.opened_files(opening[0])), f"{path} opens nothing: take it off the list"


@pytest.mark.parametrize(
    "text", ["open(name)", "os.open(name, 0)", "io.open(name)", "Path(name).read_text()"]
)
def test_an_opened_file_is_seen(text: str) -> None:
    assert list(purity.opened_files(Source("logd/rpc/x.py", text)))
    assert not list(purity.opened_files(Source("logd/rpc/x.py", "files.open(name)")))


def test_unit_tests_neither_wait_nor_patch() -> None:
    found = [v for source in python_files("tests/unit") for v in purity.waiting_tests(source)]
    assert not found, report(found)


@pytest.mark.parametrize(
    "text",
    [
        "time.sleep(0.1)",
        "await asyncio.sleep(1)",
        "from time import sleep",
        "from unittest.mock import patch",
        "with mock.patch('x'): pass",
        "monkeypatch.setattr(x, 'y', 1)",
    ],
)
def test_a_waiting_test_is_seen(text: str) -> None:
    assert list(purity.waiting_tests(Source("tests/unit/test_x.py", text)))


def test_yielding_to_other_tasks_is_no_waiting() -> None:
    text = "await asyncio.sleep(0)\nawait clock.sleep_ms(5)\nmonkeypatch.setenv('A', 'b')\n"
    assert not list(purity.waiting_tests(Source("tests/unit/test_x.py", text)))


def test_nothing_is_skipped_in_silence() -> None:
    found = [v for source in python_files("tests") for v in purity.silent_skips(source)]
    assert not found, report(found)


@pytest.mark.parametrize(
    "text",
    [
        "pytest.skip()",
        "@pytest.mark.skip\ndef test(): pass",
        "@pytest.mark.skipif(True)\ndef test(): pass",
        "@pytest.mark.xfail\ndef test(): pass",
        "lz4 = pytest.importorskip('lz4')",
    ],
)
def test_a_silent_skip_is_seen(text: str) -> None:
    assert list(purity.silent_skips(Source("tests/test_x.py", text)))
    assert not list(purity.silent_skips(Source("tests/test_x.py", "pytest.skip('no root')")))
