"""Run the proofs of `tools/proof_table.py` and write what they showed to docs/proof.md.

Results are kept one by one in docs/proof.json, with date and commit, so that the proofs need not
run on one day: `--only` runs some of them and leaves the results of the others as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.proof_table import PROOFS, Proof

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "proof.json"
PAGE = ROOT / "docs" / "proof.md"
NO_TESTS = 5

Result = dict[str, Any]


def run(proof: Proof) -> Result:
    """Run one proof; its output goes to the terminal, its figures into the result."""
    with tempfile.TemporaryDirectory(prefix="logd-proof-") as scratch:
        figures = Path(scratch) / "figures.jsonl"
        environment = {**os.environ, **proof.environment, "PROOF_FIGURES": str(figures)}
        started = time.monotonic()
        code = _run(proof.command, environment, proof.limit_s)
        return {
            "outcome": _outcome(code),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": _commit(),
            "machine": _machine(),
            "seconds": round(time.monotonic() - started, 1),
            "figures": _read_figures(figures),
        }


def _run(command: Sequence[str], environment: Mapping[str, str], limit_s: int) -> int | None:
    """Return the exit code; None when the limit ended it, with everything it had started."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(limit_s)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(reason, KeyboardInterrupt):
                raise
            return None


def _outcome(code: int | None) -> str:
    if code is None:
        return "FAILED: over its time limit"
    if code == NO_TESTS:
        return "FAILED: there is no such test"
    return "passed" if code == 0 else f"FAILED: exit {code}"


def _read_figures(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD") or "no commit"
    results = [f":!{path.relative_to(ROOT)}" for path in (RESULTS, PAGE)]
    return f"{commit} and changes" if git("status", "--porcelain", "--", ".", *results) else commit


def _machine() -> str:
    cores = os.cpu_count()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.machine()}, {cores} cores, {memory_gib:.0f} GiB, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def render(results: Mapping[str, Result], proofs: Sequence[Proof] = PROOFS) -> str:
    """Return the text of docs/proof.md: one row a proof, then the figures of each."""
    lines = [
        "# Proof",
        "",
        "Written by `make proof`; do not edit. `make proof ONLY=name` runs one row again. What is",
        "run is in `tools/proof_table.py`; `make test` runs a sample of each.",
        "",
        "| Proof | What it shows | Result | Took | Date | Commit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for proof in proofs:
        result = results.get(proof.name)
        if result is None:
            lines.append(f"| {proof.name} | {proof.shows} | not run yet | | | |")
        else:
            lines.append(
                f"| {proof.name} | {proof.shows} | {result['outcome']} | {result['seconds']} s "
                f"| {result['date']} | {result['commit']} |"
            )
    for proof in proofs:
        lines += _figure_section(proof, results.get(proof.name))
    return "\n".join(lines) + "\n"


def _figure_section(proof: Proof, result: Result | None) -> list[str]:
    if result is None or not result["figures"]:
        return []
    rows = [
        f"| {figure['name']} | {_shown(figure['value'])} | `{figure['test'].rpartition('/')[2]}` |"
        for figure in result["figures"]
    ]
    head = ["", f"## {proof.name}", "", f"On {result['machine']}.", ""]
    return [*head, "| Figure | Value | Measured by |", "| --- | --- | --- |", *rows]


def _shown(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [proof.name for proof in PROOFS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="show the proofs and stop")
    options = parser.parse_args()
    if options.list:
        for proof in PROOFS:
            print(f"{proof.name:12} {proof.shows}")
        return
    results: dict[str, Result] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    chosen = [proof for proof in PROOFS if proof.name in options.only]
    for proof in chosen:
        print(f"--- {proof.name}: {proof.shows}", flush=True)
        results[proof.name] = run(proof)
        # After each one: what has been shown is kept when a later one is interrupted.
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(render(results))
    failed = [proof.name for proof in chosen if results[proof.name]["outcome"] != "passed"]
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}".rstrip())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
