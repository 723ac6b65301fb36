"""Copies of the client with a compiled codec built in a way of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "client"
#: For `build(flags=...)`; a program that loads the result runs in the environment of `sanitized`.
SANITIZERS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
_PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "native", "logd_wire")


def copy_client(target: Path) -> Path:
    """Copy what the codec is made of, nothing built among it; return the copy."""
    target.mkdir(parents=True)
    for part in _PARTS:
        source = CLIENT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(source, target / part, ignore=ignored)
        else:
            shutil.copy(source, target / part)
    return target


def compiler() -> str | None:
    """The C compiler that an extension would be built with, if it is there."""
    return shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")


def build(client: Path, *, flags: str = "") -> Path:
    """Build the extension of `client` in place; return it. Raises RuntimeError with the output."""
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=client,
        env={**os.environ, "CFLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    made = list((client / "logd_wire").glob("_speed.*.so"))
    if done.returncode != 0 or len(made) != 1:
        raise RuntimeError(f"the extension was not built:\n{done.stdout}{done.stderr}")
    return made[0]


def sanitized(client: Path) -> dict[str, str]:
    """The environment in which Python loads the extension of `client`, built with `SANITIZERS`."""
    return {
        **os.environ,
        "PYTHONPATH": f"{client}:{ROOT}:{CLIENT}",
        "LD_PRELOAD": f"{_library('libasan.so')} {_library('libubsan.so')}",
        # What Python's own allocator gives out, a sanitizer cannot see into.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "LOGD_CODEC": "compiled",
    }


def _library(name: str) -> str:
    """Path of a run-time library of gcc."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise RuntimeError(f"gcc has no {name}")
    return found
