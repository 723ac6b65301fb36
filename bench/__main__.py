"""`make bench`: this project beside its peers and the bare limits, in one session.

    python -m bench [--full] [--only GROUP ...] [--lane LANE ...] [--rounds N]

One JSON file a run, and report.html, in bench/results.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.grid import FULL, LANES, QUICK, Group
from bench.install import KAFKA_VERSION
from bench.limits import limits
from bench.report import page
from bench.session import Session
from logd.cli.machine import machine, versions

RESULTS = Path(__file__).resolve().parent / "results"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="every setting, for hours")
    parser.add_argument("--only", nargs="*", default=[], help="groups by name")
    parser.add_argument("--lane", nargs="*", default=[], choices=sorted(LANES), help="lanes")
    parser.add_argument("--rounds", type=int, help="rounds of each group")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument("--data-dir", type=Path, help="where servers put their data")
    parser.add_argument("--report", action="store_true", help="only write the page again")
    return parser


def chosen(
    groups: tuple[Group, ...], only: list[str], lanes: list[str], rounds: int | None
) -> list[Group]:
    """The groups asked for, with the lanes asked for; all without words."""
    found = []
    for group in groups:
        kept = tuple(name for name in group.lanes if not lanes or name in lanes)
        if kept and (not only or group.name in only):
            found.append(replace(group, lanes=kept, rounds=rounds or group.rounds))
    return found


def main() -> None:
    parser = _arguments()
    arguments = parser.parse_args()
    out: Path = arguments.out
    if arguments.report:
        documents = [json.loads(path.read_text()) for path in sorted(out.glob("*.*.json"))]
        session = json.loads((out / "session.json").read_text())
        (out / "report.html").write_text(page(documents, session))
        return
    every = FULL if arguments.full else QUICK
    groups = chosen(every, arguments.only, arguments.lane, arguments.rounds)
    if not groups:
        parser.error("nothing is left; groups are " + ", ".join(group.name for group in every))
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("*.json"):
        path.unlink()
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {**versions(), "kafka": KAFKA_VERSION, "system": platform.platform()},
    }
    # As Ctrl-C does: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    bare = limits(arguments.data_dir)
    print("bare: " + ", ".join(f"{name} {value:,}" for name, value in bare.items()), flush=True)
    session = Session(out, arguments.data_dir, facts, lambda text: print(text, flush=True))
    session.run(groups)
    about = {
        **facts,
        "limits": bare,
        "skipped": session.skipped,
        "minutes": round((time.monotonic() - begin) / 60, 1),
    }
    (out / "session.json").write_text(json.dumps(about, indent=1) + "\n")
    (out / "report.html").write_text(page(session.documents, about))
    print(f"{about['minutes']} minutes; see {out / 'report.html'}")


if __name__ == "__main__":
    main()
