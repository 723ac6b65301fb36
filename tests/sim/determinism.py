"""The same seed gives the same trace, in two processes whose hashes of text differ."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.sim.seeds import parse_seeds

ROOT = Path(__file__).parents[2]


def check_one_trace(
    module: str,
    seeds: str,
    *,
    timeout_s: float,
    option: str = "--digest",
    parse: Callable[[str], tuple[str, str]] = lambda line: (line.split()[0], line.split()[1]),
) -> None:
    """Run the seeds "A:B" of a simulation twice. `parse`: seed and digest of a line that it prints
    with `option`."""
    digests = []
    for run in [_start(module, seeds, option, hash_seed) for hash_seed in ("1", "4242")]:
        lines, _ = run.communicate(timeout=timeout_s)
        assert run.returncode == 0
        digests.append(dict(parse(line) for line in lines.splitlines()))
    assert len(digests[0]) == len(set(digests[0].values())) == len(parse_seeds(seeds))
    assert digests[0] == digests[1]


def _start(module: str, seeds: str, option: str, hash_seed: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    command = [sys.executable, "-m", module, "--seeds", seeds, option]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
