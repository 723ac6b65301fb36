"""Runs every transcript beside this file; LOGD_REWRITE=1 writes them anew, for review as a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.groups.transcript import transcript
from tests.scenarios.replay import check

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    check(path, transcript)


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 4
