"""How a transcript is run, whatever it is about: commands after `>`, their trace indented below.

LOGD_REWRITE=1 writes transcripts anew, for review as a diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path


def replayed(text: str, run: Callable[[str], Iterable[str]]) -> str:
    """Return the text with the trace under each command as `run` gives it now."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            lines.append(line)
            lines.extend("  " + traced for traced in run(line[1:]))
        elif not line.startswith("  "):
            lines.append(line)
    return "\n".join(lines) + "\n"


def check(path: Path, transcript: Callable[[str], str]) -> None:
    """The file holds what its commands do now; or it does from now on."""
    text = path.read_text()
    actual = transcript(text)
    if os.environ.get("LOGD_REWRITE") == "1":
        path.write_text(actual)
    else:
        assert actual.splitlines() == text.splitlines(), "LOGD_REWRITE=1 shows the change"
