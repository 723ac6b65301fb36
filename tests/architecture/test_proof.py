from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, Source, python_files
from tools import proof
from tools.proof_table import PROOFS, Proof
from tools.proof_table import tests as selected


def marked(sources: Iterable[Source]) -> list[str]:
    """Files with tests that only `make proof` runs."""
    return [source.path for source in sources if "pytest.mark." + "proof" in source.text]


def selections(row: Proof) -> list[str]:
    """Files and folders of the tests of a row; none when it runs something else."""
    return [part for part in row.command if part.startswith("tests/")]


def forgotten(files: Iterable[str], rows: Iterable[Proof]) -> list[str]:
    """Of `files`, those of whose proofs no row runs."""
    asking = [row for row in rows if "proof" in row.command]
    folders = [selection for row in asking for selection in selections(row)]
    return [
        path
        for path in files
        if not any(path == folder or path.startswith(f"{folder}/") for folder in folders)
    ]


def idle(files: list[str], rows: Iterable[Proof]) -> list[str]:
    """Rows that ask for proofs and would find none."""
    asking = [row for row in rows if "proof" in row.command]
    return [row.name for row in asking if len(forgotten(files, [row])) == len(files)]


def test_every_proof_is_run_by_a_row() -> None:
    assert forgotten(marked(python_files("tests")), PROOFS) == []


def test_every_row_runs_something() -> None:
    assert idle(marked(python_files("tests")), PROOFS) == []
    for row in PROOFS:
        assert all((ROOT / selection.partition("::")[0]).exists() for selection in selections(row))


def test_a_forgotten_proof_and_an_idle_row_are_seen() -> None:
    rows = [
        Proof("a", "", selected("tests/unit/wire")),
        Proof("b", "", selected("tests/compat/test_b.py")),
        Proof("c", "", (sys.executable, "x.py")),
        Proof("d", "", selected("tests/unit", mark="not proof")),
    ]
    mark = "@pytest.mark." + "proof\n"
    sources = [Source(f"tests/unit/{folder}/test_a.py", mark) for folder in ("wire", "wired")]
    assert marked([*sources, Source("tests/unit/test_c.py", "")]) == [s.path for s in sources]
    assert forgotten(marked(sources), rows) == ["tests/unit/wired/test_a.py"]
    assert idle(marked(sources), rows) == ["b"]


def test_names_are_unique_and_claims_are_words() -> None:
    assert len({row.name for row in PROOFS}) == len(PROOFS)
    assert all(len(row.shows.split()) >= 3 for row in PROOFS)


WRITES_A_FIGURE = """
import json, os
line = json.dumps({"test": "tests/x.py::test", "name": "speed_mb_s", "value": 301.5})
open(os.environ["PROOF_FIGURES"], "a").write(line + os.linesep)
"""


@pytest.mark.parametrize(
    ("script", "limit_s", "outcome"),
    [
        (WRITES_A_FIGURE, 60, "passed"),
        ("raise SystemExit(5)", 60, "FAILED: there is no such test"),
        ("raise SystemExit(1)", 60, "FAILED: exit 1"),
        ("while True: pass", 1, "FAILED: over its time limit"),
    ],
)
def test_a_result_says_what_happened(script: str, limit_s: int, outcome: str) -> None:
    row = Proof("row", "shows it", (sys.executable, "-c", script), limit_s=limit_s)
    result = proof.run(row)
    assert result["outcome"] == outcome
    page = proof.render({"row": result}, [row, Proof("other", "not yet", ())])
    assert f"| row | shows it | {outcome} |" in page
    assert result["date"] in page
    assert result["commit"] in page
    assert "| other | not yet | not run yet |" in page
    assert ("| speed_mb_s | 301.5 | `x.py::test` |" in page) == (outcome == "passed")


def test_figures_are_kept(tmp_path: Path) -> None:
    inner = tmp_path / "test_inner.py"
    inner.write_text("def test(record_figure):\n    record_figure('answer', 42)\n")
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    command = (sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"))
    options = (f"--rootdir={tmp_path}", "-p", "no:cacheprovider")
    result = proof.run(Proof("x", "keeps figures", (*command, *options, str(inner))))
    assert result["outcome"] == "passed"
    assert [(f["name"], f["value"]) for f in result["figures"]] == [("answer", 42)]
