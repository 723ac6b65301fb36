"""Run seeds of a consumer group: `python -m tests.sim.groups.run --seeds 0:50`.

One line a seed, then a summary; exit 1 if any failed.

--trace FILE     write the whole trace of the (last) seed
--faults A,B     these faults, and no others
--processes N    share the seeds out
--stop           stop at the first that fails
--digest         print seeds and digests of traces only
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tests.sim.commands import Command
from tests.sim.groups.coverage import RARE, STATES
from tests.sim.groups.faults import FAULTS
from tests.sim.groups.simulation import GroupOutcome, run_seed


@dataclass
class _Tally:
    delivered: int = 0
    commits: int = 0
    faults: int = 0
    calm_s: float = 0.0

    def add(self, outcome: GroupOutcome) -> None:
        self.delivered += outcome.delivered
        self.commits += outcome.commits
        self.faults += outcome.faults
        self.calm_s = max(self.calm_s, outcome.calm_s)

    def __str__(self) -> str:
        return (
            f"{self.delivered} records delivered, {self.commits} offsets committed, "
            f"{self.faults} faults, calm after {self.calm_s:.1f} virtual s at most,"
        )


COMMAND = Command("tests.sim.groups.run", __doc__, run_seed, tuple(FAULTS), STATES, RARE, _Tally)

if __name__ == "__main__":
    sys.exit(COMMAND.main())
