"""The same seed gives the same trace, in two processes whose hashes of text differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = "100:104"

pytestmark = pytest.mark.slow


def start(hash_seed: str) -> subprocess.Popen[str]:
    """Run the seeds in a process of its own."""
    environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    command = [sys.executable, "-m", "tests.sim.run", "--seeds", SEEDS, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def test_a_seed_has_one_trace() -> None:
    runs = [start("1"), start("4242")]
    digests = []
    for run in runs:
        lines, _ = run.communicate(timeout=110)
        outcomes = [json.loads(line) for line in lines.splitlines()]
        digests.append({outcome["seed"]: outcome["digest"] for outcome in outcomes})
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]
