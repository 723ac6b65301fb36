"""What every test may use: figures for `make proof`, and how hard Hypothesis tries."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

#: A figure is a number, or a text where a number would not say enough.
Figure = int | float | str

# A shell that starts the tests in the background has them ignore SIGINT, and what they start would
# inherit that; a handler of this process is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nor do client settings of whoever runs the tests say anything here.
_FOR_TESTS = ("LOGD_CODEC", "LOGD_REWRITE", "LOGD_SIM_SEEDS")
for _name in [name for name in os.environ if name.startswith("LOGD_") and name not in _FOR_TESTS]:
    del os.environ[_name]

#: Names the file to which figures are appended, one JSON object a line.
FIGURES_VARIABLE = "PROOF_FIGURES"
_PROPERTY = "figure"

# `make test` must not fail by chance on an unrelated change: its examples are always the same.
# `make proof` draws new ones, many more of them; name a profile with --hypothesis-profile.
# Explaining a failure takes as long as finding it, so that is left to whoever asks for it.
_COMMON = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
)
settings.register_profile("test", _COMMON, derandomize=True)
settings.register_profile("proof", _COMMON, max_examples=5_000)
settings.load_profile("test")


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the collector of cycles need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def record_figure(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[str, Figure], None]:
    """`record_figure(name, value)` keeps a measured value; the unit is in the name.

    Figures are shown at the end of the run; `tools/proof.py` collects them for docs/proof.md.
    """
    # One short write in append mode is whole, also beside other workers of the same run.
    target = os.environ.get(FIGURES_VARIABLE)

    def record(name: str, value: Figure) -> None:
        record_property(_PROPERTY, (name, value))
        if target:
            line = json.dumps({"test": request.node.nodeid, "name": name, "value": value})
            with Path(target).open("a") as figures:
                figures.write(line + "\n")

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the run."""
    reports = [
        report
        for of_outcome in terminalreporter.stats.values()
        for report in of_outcome
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    rows = [
        f"{name} = {value}  ({report.nodeid})"
        for report in reports
        for name, value in (figure for key, figure in _properties(report) if key == _PROPERTY)
    ]
    if rows:
        terminalreporter.section("figures")
        for row in rows:
            terminalreporter.write_line(row)


def _properties(report: pytest.TestReport) -> list[tuple[str, Any]]:
    return report.user_properties
