"""The tests of wire format and client once more, with the codec that this run does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from logd_wire import CODEC

from tests.support import codec_build
from tests.unit.wire.codecs import needs_both

ROOT = Path(__file__).resolve().parents[3]
OTHER = {"pure": "compiled", "compiled": "pure"}[CODEC]

#: The tests that compare the codecs do not care which is in use.
SELECTIONS = (
    ("tests/unit/wire", "--ignore-glob=*/test_compiled*"),
    ("tests/compat/wire", "tests/unit/client"),
)


def run(
    *command: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_both
@pytest.mark.slow
@pytest.mark.timeout(320)
@pytest.mark.parametrize("selection", SELECTIONS, ids=lambda selection: selection[0])
def test_the_tests_pass_on_the_other_codec(selection: tuple[str, ...]) -> None:
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *selection,
        environ={"LOGD_CODEC": OTHER},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr
    assert " passed" in done.stdout


_IMPORT = "import logd_wire as w; print(w.CODEC, w.BatchBuilder.__module__, w.decode_batch)"
_PATH = f"{ROOT}:{ROOT / 'client'}"


def test_pure_is_pure_though_the_other_is_there() -> None:
    done = run("-c", _IMPORT, environ={"LOGD_CODEC": "pure", "PYTHONPATH": _PATH})
    assert done.stdout.startswith("pure logd_wire._pure_encode <function decode_batch")


@needs_both
@pytest.mark.parametrize("wanted", ["", "compiled"])
def test_compiled_is_compiled(wanted: str) -> None:
    done = run("-c", _IMPORT, environ={"LOGD_CODEC": wanted, "PYTHONPATH": _PATH})
    assert done.stdout.startswith("compiled logd_wire._speed <built-in"), done.stderr


def test_an_unknown_choice_is_refused_in_words() -> None:
    done = run("-c", _IMPORT, environ={"LOGD_CODEC": "rust", "PYTHONPATH": _PATH})
    assert done.returncode != 0
    assert "ConfigError: LOGD_CODEC is 'rust', which is no codec (set it to" in done.stderr


#: An editable install finds its own extension for any copy of the package.
_ALONE = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; "


def test_what_was_not_built_is_used_only_when_asked_for(tmp_path: Path) -> None:
    """A copy of the sources without the extension: pure by itself, an error when insisted on."""
    copy = codec_build.copy_client(tmp_path / "client")
    for wanted, said in (("", "pure logd_wire._pure_encode"), ("pure", "pure logd_wire._pure")):
        done = run("-c", _ALONE + _IMPORT, environ={"LOGD_CODEC": wanted, "PYTHONPATH": str(copy)})
        assert done.stdout.startswith(said), done.stderr
    done = run("-c", _ALONE + _IMPORT, environ={"LOGD_CODEC": "compiled", "PYTHONPATH": str(copy)})
    assert done.returncode != 0
    assert "asks for the compiled codec, which is not there" in done.stderr
