from __future__ import annotations

import tomllib

import logd_client
import pytest

from logd import __version__
from tests.architecture import documents
from tests.architecture.sources import ROOT, Source, report, text_files


def test_nothing_is_left_to_do() -> None:
    found = [v for source in text_files() for v in documents.leftovers(source)]
    assert not found, report(found)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [v for source in text_files() for v in documents.foreign_places(source)]
    assert not found, report(found)


@pytest.mark.parametrize("text", ["# TO" + "DO: later", "FIX" + "ME", "XX" + "X broken"])
def test_a_leftover_is_seen(text: str) -> None:
    assert list(documents.leftovers(Source("docs/x.md", text)))
    assert not list(documents.leftovers(Source("docs/x.md", "a todo list; MASTODON; XXXL")))


@pytest.mark.parametrize(
    "text",
    [
        "cd /" + "work/x",
        "see /" + "home/ann/x",
        "/" + "root/.cache",
        "/tmp/" + "venv/bin/python",
        "pip install --extra-index-" + "url https://x",
        "https://files.python" + "hosted.org/x",
        "crc32c==2.8 --ha" + "sh=sha256:00",
    ],
)
def test_a_foreign_place_is_seen(text: str) -> None:
    assert list(documents.foreign_places(Source("README.md", text)))
    harmless = "~/root/x client/home/ann /var/lib/logd/ https://x.example/home/a"
    assert not list(documents.foreign_places(Source("README.md", harmless)))


def test_every_element_of_the_protocol_is_explained() -> None:
    protos = [source for source in text_files() if source.path.endswith(".proto")]
    assert len(protos) >= 4
    found = [violation for source in protos for violation in documents.uncommented(source)]
    assert not found, report(found)


def test_an_element_without_comment_is_seen() -> None:
    text = """
syntax = "proto3";
// A.
message A {
  optional bytes b = 1;
  // C.
  map<string, int32> c = 2;

  repeated .logd.v1.B d = 3;  // D.
  oneof e {
    // F.
    F f = 4;
  }
  reserved 5;
}
enum G {
  // H.
  H = 0;
  I = 1;
}
// J.
service J {
  rpc K(A) returns (A);
}
"""
    found = documents.uncommented(Source("proto/x.proto", text))
    assert [v.what.split()[0] for v in found] == ["b", "e", "G", "I", "K"]


def _version_of(path: str) -> str:
    project = tomllib.loads((ROOT / path).read_text())["project"]
    assert isinstance(project["version"], str)
    return project["version"]


def test_one_version() -> None:
    versions = {
        "pyproject.toml": _version_of("pyproject.toml"),
        "client/pyproject.toml": _version_of("client/pyproject.toml"),
        "logd.__version__": __version__,
        "logd_client.__version__": logd_client.__version__,
        "CHANGELOG.md": documents.released_version((ROOT / "CHANGELOG.md").read_text()),
    }
    assert len(set(versions.values())) == 1, versions
    node = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"logd-client=={__version__}" in node["dependencies"]


def test_a_changelog_without_a_version_is_seen() -> None:
    assert documents.released_version("# C\n\n## [1.2.3] - unreleased\n## [1.2.2] - x") == "1.2.3"
    with pytest.raises(ValueError, match="changelog"):
        documents.released_version("# C\n\n## Unreleased\n")


def test_both_distributions_carry_the_licence() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert (ROOT / "client" / "LICENSE").read_text() == licence
