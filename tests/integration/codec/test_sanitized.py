"""The compiled codec under gcc's address and undefined-behaviour sanitizers; planted bugs in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import codec_build, codec_mutants

ROOT = Path(__file__).resolve().parents[3]
#: The tests that read and write everything there is; those of memory count what a sanitizer adds.
TESTS = ("tests/unit/wire/test_compiled.py", "tests/unit/wire/test_compiled_memory.py")
FLOOD = "from tests.unit.wire.test_compiled_memory import flood; print(flood({inputs}, {seed}))"


pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        shutil.which("gcc") is None, reason="gcc has the sanitizers; it is not here"
    ),
]


def test_the_sanitizers_find_nothing(
    tmp_path: Path, record_figure: Callable[[str, int | float | str], None]
) -> None:
    copy = codec_build.copy_client(tmp_path / "client")
    codec_build.build(copy, flags=codec_build.SANITIZERS)
    inputs = 50_000
    used = "import logd_wire._speed as s; print(s.__file__)"
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", f"pythonpath={copy} .")
    for command in (
        ("-c", used),
        ("-m", "pytest", *options, "-k", "not left_behind", *TESTS),
        ("-c", FLOOD.format(inputs=inputs, seed=7)),
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=codec_build.sanitized(copy),
            capture_output=True,
            text=True,
            timeout=3_000,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-8_000:]
        assert "runtime error" not in done.stderr
        if command[-1] == used:
            assert done.stdout.startswith(str(copy))
    record_figure("damaged_batches_under_sanitizers", inputs)


@pytest.mark.parametrize("mutant", codec_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_seen(mutant: codec_mutants.Mutant) -> None:
    assert codec_mutants.caught_by(mutant)
