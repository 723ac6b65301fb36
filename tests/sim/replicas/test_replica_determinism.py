"""The same seed gives the same trace, in two processes whose hashes of text differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SEEDS = "100000:100002"

pytestmark = pytest.mark.slow


def start(hash_seed: str) -> subprocess.Popen[str]:
    """Run the seeds in a process of its own."""
    environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    command = [sys.executable, "-m", "tests.sim.replicas.run", "--seeds", SEEDS, "--digest"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def test_a_seed_has_one_trace() -> None:
    digests = []
    for run in [start("1"), start("4242")]:
        lines, _ = run.communicate(timeout=240)
        assert run.returncode == 0
        digests.append(dict(line.split() for line in lines.splitlines()))
    assert len(digests[0]) == len(set(digests[0].values())) == 2
    assert digests[0] == digests[1]
