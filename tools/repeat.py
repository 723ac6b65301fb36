"""Run the tests of `make test` N times in a row; stop at the first run that fails."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

TESTS = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    runs = parser.parse_args().runs
    for number in range(1, runs + 1):
        started = time.monotonic()
        code = subprocess.run(TESTS, check=False).returncode
        print(f"run {number} of {runs}: exit {code} after {time.monotonic() - started:.0f} s")
        if code != 0:
            sys.exit(code)


if __name__ == "__main__":
    main()
