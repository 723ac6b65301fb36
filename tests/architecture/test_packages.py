from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.architecture import packages
from tests.architecture.sources import Source, product_files, python_files, report

#: What users import. `logd.testing` is for their tests as well as for ours.
PUBLIC = ["logd_client", "logd_client.aio", "logd_wire", "logd.testing"]

#: Where loading starts; every module must be reached from here.
ENTRIES = ["logd", "logd.__main__", "logd_client", "logd_client.aio", "logd_wire", "logd_proto"]


def test_every_module_is_used() -> None:
    entries = list(ENTRIES)
    # A double that a test uses is in use.
    for source in python_files("tests"):
        entries += [name for name in packages.references(source) if name.startswith("logd.testing")]
    found = packages.dead_modules(product_files(), entries)
    assert not found, report(found)


def test_a_dead_module_is_seen() -> None:
    sources = [
        Source("logd/__init__.py", ""),
        Source("logd/__main__.py", "from logd import a\nCOMMANDS = ['logd.b:run']"),
        Source("logd/a.py", "from .c import d"),
        Source("logd/b.py", ""),
        Source("logd/c/__init__.py", ""),
        Source("logd/c/d.py", ""),
        Source("logd/e.py", "import logd.f"),
        Source("logd/f.py", "import logd.e"),
    ]
    found = packages.dead_modules(sources, ["logd.__main__"])
    assert [violation.path for violation in found] == ["logd/e.py", "logd/f.py"]


@pytest.mark.parametrize("name", PUBLIC)
def test_exports_exist(name: str) -> None:
    assert packages.broken_exports(importlib.import_module(name)) == []


def test_a_broken_export_is_seen() -> None:
    module = ModuleType("m")
    assert packages.broken_exports(module) == ["m has no __all__"]
    module.__dict__.update(__all__=["a", "a", "_b", "c", "__version__"], a=1, _b=2, __version__="1")
    assert packages.broken_exports(module) == [
        "m.c does not exist",
        "m.a is listed twice",
        "m._b is private",
    ]


def test_both_clients_have_the_same_names() -> None:
    for name in ("logd_client", "logd_client.aio"):
        exported = set(importlib.import_module(name).__all__)
        assert {"Producer", "Consumer", "Admin"} <= exported, name
