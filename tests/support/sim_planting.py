"""Bugs planted into a copy of the source, and what simulations of the copy say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.planting import Planted, copy_parts, plant_in

PRODUCT = ("logd", "client/logd_client", "client/logd_wire", "client/logd_proto")


def plant_in_copy(bug: Planted, file: str, root: Path, parts: Sequence[str]) -> None:
    """Copy the product and `parts` (folders and files) to `root`, and change one place of `file`.

    ValueError: the anchor is gone.
    """
    copy_parts((*PRODUCT, *parts), root)
    plant_in(root / file, bug)


def check_found(
    root: Path, module: str, arguments: Sequence[str], found_as: str, *, timeout_s: float = 110
) -> None:
    """Run seeds of a simulation on the copy: one must fail, and say `found_as` (a pattern)."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "client")])
    run = subprocess.run(
        [sys.executable, "-m", module, "--stop", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
        timeout=timeout_s,
        check=False,
    )
    assert run.returncode == 1, f"not found with {arguments}:\n{run.stdout}{run.stderr}"
    assert re.search(found_as, run.stdout), run.stdout
