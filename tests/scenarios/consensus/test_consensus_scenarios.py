"""Runs every transcript beside this file; LOGD_REWRITE=1 writes them anew, for review as a diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.consensus.transcript import transcript

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    actual = transcript(text)
    if os.environ.get("LOGD_REWRITE") == "1":
        path.write_text(actual)
    else:
        assert actual.splitlines() == text.splitlines(), "LOGD_REWRITE=1 shows the change"


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 12
