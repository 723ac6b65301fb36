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
    recorded = ROOT / DIGESTS
    for line in recorded.read_text().splitlines():
        path = line.partition("  ")[2]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
    (tmp_path / DIGESTS).write_bytes(recorded.read_bytes())
    assert stale(tmp_path) == []

    with (tmp_path / "proto/logd/v1/log.proto").open("a") as proto:
        proto.write("// changed\n")
    (tmp_path / "proto/logd/v1/added.proto").touch()
    (tmp_path / "client/logd_proto/v1/common_pb2.py").unlink()
    assert stale(tmp_path) == [
        "client/logd_proto/v1/common_pb2.py",
        "proto/logd/v1/added.proto",
        "proto/logd/v1/log.proto",
    ]
