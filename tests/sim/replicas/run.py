"""Run seeds of three nodes that copy partitions: `python -m tests.sim.replicas.run --seeds 0:50`.

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
from tests.sim.replicas.coverage import RARE, STATES
from tests.sim.replicas.faults import FAULTS
from tests.sim.replicas.simulation import run_seed
from tests.sim.simulation import Outcome


@dataclass
class _Tally:
    acks: int = 0
    checked: int = 0
    faults: int = 0

    def add(self, outcome: Outcome) -> None:
        self.acks += outcome.acks
        self.checked += outcome.checked_acks
        self.faults += outcome.faults

    def __str__(self) -> str:
        return (
            f"{self.acks} acknowledgements ({self.checked} held against a power loss of all in "
            f"sync), {self.faults} faults"
        )


COMMAND = Command("tests.sim.replicas.run", __doc__, run_seed, tuple(FAULTS), STATES, RARE, _Tally)

if __name__ == "__main__":
    sys.exit(COMMAND.main())
