"""`python -m bench.alone`: rows of `logd bench`; JSON and one page in bench/results."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.alone_page import page, verdict
from bench.alone_rows import ROWS, Row

RESULTS = Path(__file__).resolve().parent / "results"
LOGD = (sys.executable, "-m", "logd")


def run(row: Row) -> dict[str, Any]:
    """One run in a process of its own; raises CalledProcessError when it fails."""
    command = [*LOGD, "bench", *row.arguments.split(), "--json", "--no-progress"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def startup_seconds() -> float:
    """How long `logd --help` takes, best of five."""
    samples = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([*LOGD, "--help"], stdout=subprocess.DEVNULL, check=True)
        samples.append(time.perf_counter() - started)
    return min(samples)


def selected(only: Sequence[str]) -> list[Row]:
    """Rows whose name contains one of the words; all without words."""
    return [row for row in ROWS if not only or any(word in row.name for word in only)]


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.alone", description=__doc__)
    parser.add_argument("only", nargs="*", help="run only rows whose name contains one of these")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    arguments = parser.parse_args()
    rows = selected(arguments.only)
    if not rows:
        parser.error("no row has such a name; there are " + ", ".join(row.name for row in ROWS))
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    for row in rows:
        print(f"{row.name}: logd bench {row.arguments}", flush=True)
        result = run(row)
        results.append((row, result))
        text = json.dumps({"name": row.name, **result}, indent=2) + "\n"
        (arguments.out / f"{row.name}.json").write_text(text)
        asked = f"; {row.target}: {verdict(row, result)}" if row.target else ""
        print(
            f"  {result['records_per_second']:,} records/s, "
            f"{result['megabytes_per_second']:,.1f} MB/s, "
            f"{result['client_cpu_us_per_record']:.2f} us of client CPU a record{asked}",
            flush=True,
        )
    report = arguments.out / "report.md"
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    report.write_text(page(results, startup_seconds(), date))
    print(f"see {report}")


if __name__ == "__main__":
    main()
