"""The proofs: what is run at full size, and what that shows. Add a row, and it is run and reported.

A command is either a selection of tests, which report figures through the fixture `record_figure`,
or any other command, whose exit code decides.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

HOUR_S = 3_600


@dataclass(frozen=True)
class Proof:
    """One row. `command` runs from the top of the repository; `limit_s` ends it."""

    name: str
    shows: str
    command: tuple[str, ...]
    limit_s: int = 2 * HOUR_S
    environment: dict[str, str] = field(default_factory=dict)


def tests(*selection: str, mark: str = "proof") -> tuple[str, ...]:
    """Return the command that runs the tests marked `proof` in these files and folders."""
    return (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        mark,
        "--hypothesis-profile=proof",
        "--timeout=7200",
        *selection,
    )


PROOFS: tuple[Proof, ...] = (
    Proof(
        "codec",
        "decoders of batches survive every input; both codecs agree",
        tests("tests/unit/wire", "tests/compat"),
    ),
    Proof(
        "storage",
        "recovery from damage at every byte; lookups in a large partition; speed of recovery",
        tests("tests/unit/storage"),
    ),
    Proof(
        "simulation",
        "many seeds of the real node and the real client core with faults of disk and network",
        tests("tests/sim"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "machines",
        "state machines against their models, with many more examples",
        tests("tests/unit", "tests/scenarios", mark="proof or not proof"),
    ),
    Proof(
        "edges",
        "bad input, budgets and limits over real gRPC; the command line",
        tests("tests/integration"),
    ),
    Proof(
        "acceptance",
        "power losses, kill -9, failed syncs, full disks: nothing acknowledged is lost",
        tests("tests/acceptance"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "ten-runs",
        "every test of `make test`, ten times in a row without a flake",
        (sys.executable, "-m", "tools.repeat", "10"),
        limit_s=2 * HOUR_S,
    ),
)
