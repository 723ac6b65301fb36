"""Generate `client/logd_proto` from `proto/`; with `--check` only compare.

Runs in an environment of its own (`make proto`), because the generator is pinned to an older
release line than the runtime: code made by it runs under every runtime that we allow. Beside the
code it records the digests of what it read and wrote, so that a test without the generator can
tell when a change to `proto/` was not followed by a run of this.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
TARGET = ROOT / "client" / "logd_proto" / "v1"
#: In the format of `sha256sum --check`, with paths from the top of the repository.
DIGESTS = ROOT / "client" / "logd_proto" / "sources.sha256"


def generate(into: Path) -> dict[Path, str]:
    """Return path -> text of everything that is generated."""
    protos = sorted(SOURCE.rglob("*.proto"))
    arguments = ["protoc", f"-I{SOURCE}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main([*arguments, *map(str, protos)]) != 0:
        raise SystemExit("protoc failed; its messages are above")
    texts = {TARGET / "__init__.py": '"""Generated from `proto/logd/v1`; do not edit."""\n'}
    for path in sorted((into / "logd" / "v1").iterdir()):
        # Left alone, these imports would find the node's package instead of this one.
        texts[TARGET / path.name] = re.sub(
            r"^(from|import) logd\.v1\b", r"\1 logd_proto.v1", path.read_text(), flags=re.MULTILINE
        )
    read = {path: path.read_text() for path in protos}
    texts[DIGESTS] = "".join(
        f"{hashlib.sha256(text.encode()).hexdigest()}  {path.relative_to(ROOT).as_posix()}\n"
        for path, text in sorted({**read, **texts}.items())
    )
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the generated code is stale")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        texts = generate(Path(scratch))
    differing = [path for path, text in texts.items() if not _holds(path, text)]
    leftover = [path for path in TARGET.glob("*.py*") if path not in texts]
    if options.check:
        if names := sorted(path.name for path in differing + leftover):
            sys.exit(f"client/logd_proto is stale ({', '.join(names)}): run 'make proto'")
        return
    for path in leftover:
        path.unlink()
    for path in differing:
        path.write_text(texts[path])


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    main()
