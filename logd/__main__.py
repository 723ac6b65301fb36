"""`python -m logd` and the command `logd`."""

from __future__ import annotations

from logd.cli.main import main

if __name__ == "__main__":
    main()
