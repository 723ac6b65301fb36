"""The bugs that `tests.support.raft_mutants` plants into the consensus core and its driver."""

from __future__ import annotations

from tests.support.raft_mutant import Mutant
from tests.support.raft_mutants_elections import ELECTIONS, TIMING
from tests.support.raft_mutants_logs import LOGS, READS
from tests.support.raft_mutants_voters import MEMBERSHIP, SNAPSHOTS

MUTANTS: tuple[Mutant, ...] = (*ELECTIONS, *LOGS, *READS, *MEMBERSHIP, *SNAPSHOTS, *TIMING)
