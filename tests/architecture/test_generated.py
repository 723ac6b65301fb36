from __future__ import annotations

import hashlib
from pathlib import Path

from tests.architecture.sources import ROOT

DIGESTS = "client/logd_proto/sources.sha256"


def stale(root: Path) -> list[str]:
    """Files that are not what they were when `client/logd_proto` was last generated."""
    recorded = {}
    for line in (root / DIGESTS).read_text().splitlines():
        digest, _, path = line.partition("  ")
        recorded[path] = digest
    sources = (root / "proto").rglob("*.proto")
    products = (root / "client/logd_proto/v1").glob("*.py*")
    present = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*sources, *products)
    }
    names = recorded.keys() | present.keys()
    return sorted(name for name in names if recorded.get(name) != present.get(name))


def test_generated_code_is_up_to_date() -> None:
    assert stale(ROOT) == [], "run 'make proto'"


def test_stale_code_is_seen(tmp_path: Path) -> None:
    paths = [
        "client/logd_proto/v1/a_pb2.py",
        "client/logd_proto/v1/b_pb2.pyi",
        "proto/logd/v1/a.proto",
        "proto/logd/v1/b.proto",
    ]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    digests = [f"{hashlib.sha256(path.encode()).hexdigest()}  {path}\n" for path in paths]
    (tmp_path / DIGESTS).write_text("".join(digests))
    assert stale(tmp_path) == []

    (tmp_path / "client/logd_proto/v1/a_pb2.py").unlink()
    (tmp_path / "proto/logd/v1/b.proto").write_text("changed")
    (tmp_path / "proto/logd/v1/c.proto").touch()
    assert stale(tmp_path) == [
        "client/logd_proto/v1/a_pb2.py",
        "proto/logd/v1/b.proto",
        "proto/logd/v1/c.proto",
    ]
