"""The contracts of import-linter (`make layers`) bite: each is fed the import it forbids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

PACKAGES = [
    "logd/cli",
    "logd/testing",
    "logd/rpc",
    "logd/http",
    "logd/runtime",
    "logd/storage",
    "logd/consensus",
    "logd/metadata",
    "logd/replication",
    "logd/groups",
    "logd/observe",
    "logd/model",
    "client/logd_client/_core",
    "client/logd_client/_engine",
    "client/logd_client/_transport",
    "client/logd_wire",
    "client/logd_proto/v1",
]
MODULES = ["logd/__main__.py", "logd/app.py", "logd/runtime/record_codec.py"]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(root: Path) -> dict[str, bool]:
    """Return contract name -> whether it is kept, for a tree that has only the planted imports."""
    for package in PACKAGES:
        folder = root / package
        folder.mkdir(parents=True, exist_ok=True)
        while folder.name not in {root.name, "client"}:
            (folder / "__init__.py").touch()
            folder = folder.parent
    for module in MODULES:
        (root / module).touch()
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(
        [sys.executable, "-c", LINT, *options],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'client'}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = re.findall(r"^(.+) (KEPT|BROKEN)(?: .*)?$", done.stdout, re.MULTILINE)
    assert verdicts, done.stdout + done.stderr
    return {" ".join(name.split()): verdict == "KEPT" for name, verdict in verdicts}


def names() -> dict[str, str]:
    """Return the contracts: id -> name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract["name"] for contract in contracts}


def test_a_tree_without_imports_keeps_every_contract(tmp_path: Path) -> None:
    assert lint(tmp_path) == dict.fromkeys(names().values(), True)


@pytest.mark.parametrize(
    ("contract", "path", "planted"),
    [
        ("layers", "logd/storage/x.py", "import logd.runtime"),
        ("layers", "logd/storage/x.py", "import logd.metadata"),
        ("layers", "logd/app.py", "import logd.testing"),
        ("layers", "logd/http/x.py", "import logd.rpc"),
        ("layers", "logd/observe/x.py", "import logd.consensus"),
        ("layers", "logd/added/__init__.py", ""),
        ("client-layers", "client/logd_client/_core/x.py", "import logd_client._engine"),
        ("distributions", "client/logd_client/x.py", "import logd.model"),
        ("distributions", "client/logd_wire/x.py", "import logd_client"),
        ("wire", "client/logd_wire/x.py", "import grpc"),
        ("wire", "client/logd_wire/x.py", "from google.protobuf import message"),
        ("generated", "client/logd_proto/v1/x.py", "import grpc"),
        ("machines", "logd/metadata/x.py", "import asyncio"),
        ("machines", "logd/consensus/x.py", "import os.path"),
        ("machines", "logd/replication/x.py", "import time"),
        ("machines", "logd/groups/x.py", "import google.protobuf"),
        ("layers", "logd/groups/x.py", "import logd.replication"),
        ("layers", "logd/replication/x.py", "import logd.storage"),
        ("machines", "logd/model/x.py", "from random import random"),
        ("machines", "logd/observe/x.py", "import time"),
        ("storage", "logd/storage/x.py", "import asyncio"),
        ("runtime", "logd/runtime/x.py", "import logd_proto.v1"),
        ("runtime", "logd/runtime/x.py", "import prometheus_client"),
        ("http", "logd/http/x.py", "import grpc"),
        ("client-core", "client/logd_client/_core/x.py", "import time"),
        ("client-engine", "client/logd_client/_engine/x.py", "import grpc"),
    ],
)
def test_a_forbidden_import_is_seen(contract: str, path: str, planted: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(planted + "\n")
    broken = {name for name, kept in lint(tmp_path).items() if not kept}
    assert names()[contract] in broken


def test_a_cycle_is_seen(tmp_path: Path) -> None:
    storage = tmp_path / "logd/storage"
    storage.mkdir(parents=True)
    (storage / "a.py").write_text("from logd.storage import b\n")
    (storage / "b.py").write_text("from logd.storage import a\n")
    assert lint(tmp_path)[names()["cycles"]] is False


def test_every_contract_has_a_bad_example() -> None:
    (mark,) = test_a_forbidden_import_is_seen.pytestmark  # type: ignore[attr-defined]
    shown = {contract for contract, _, _ in mark.args[1]}
    assert shown | {"cycles"} == set(names())


def test_the_record_codec_alone_may_use_protobuf(tmp_path: Path) -> None:
    (tmp_path / "logd/runtime").mkdir(parents=True)
    (tmp_path / "logd/runtime/record_codec.py").write_text("import logd_proto.v1\n")
    (tmp_path / "logd/runtime/driver.py").write_text("import logd.runtime.record_codec\n")
    assert all(lint(tmp_path).values())
