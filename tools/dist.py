"""Build the wheels of both distributions, with the tools of this environment.

The sources are copied first: nothing that an earlier build left beside them gets into a wheel, and
no build leaves anything beside them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What a distribution is made of, by its folder.
PARTS = {
    "client": (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "setup.py",
        "native",
        "logd_client",
        "logd_wire",
        "logd_proto",
    ),
    ".": ("pyproject.toml", "README.md", "LICENSE", "logd"),
}


def build(out: Path) -> list[Path]:
    """Build both wheels into `out` and return them, the client's first."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="logd-dist-") as scratch:
        return [
            _build_one(ROOT / folder, parts, Path(scratch) / str(number), out.resolve())
            for number, (folder, parts) in enumerate(PARTS.items())
        ]


def _build_one(source: Path, parts: tuple[str, ...], copy: Path, out: Path) -> Path:
    copy.mkdir()
    for part in parts:
        _copy(source / part, copy / part)
    made = copy / "made"
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(made)]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"building {source} failed:\n{done.stdout}{done.stderr}")
    (wheel,) = made.glob("*.whl")
    return Path(shutil.copy(wheel, out))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    else:
        shutil.copy(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    for wheel in build(parser.parse_args().out):
        print(wheel)


if __name__ == "__main__":
    main()
