"""The proofs: what is run at full size, and what that shows. Add a row, and it is run and reported.

A command is either a selection of tests, which report figures through the fixture `record_figure`,
or any other command, whose exit code decides.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

HOUR_S = 3_600


@dataclass(frozen=True)
class Proof:
    """One row. `command` runs from the top of the repository; `limit_s` ends it."""

    name: str
    shows: str
    command: tuple[str, ...]
    limit_s: int = 2 * HOUR_S
    environment: dict[str, str] = field(default_factory=dict)


def tests(*selection: str, mark: str = "proof") -> tuple[str, ...]:
    """Return the command that runs the tests marked `proof` in these files and folders."""
    return (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        mark,
        "--hypothesis-profile=proof",
        "--timeout=7200",
        *selection,
    )


PROOFS: tuple[Proof, ...] = (
    Proof(
        "codec",
        "batches of the largest sizes, every bit of a batch flipped; floods of damaged batches",
        tests("tests/unit/wire"),
    ),
    Proof(
        "compiled",
        "gcc's sanitizers find nothing in the compiled codec, and its tests find planted bugs",
        tests("tests/integration/codec"),
    ),
    Proof(
        "machines",
        "long random histories of the machines against their models; bugs planted into the "
        "consensus core are found from the first seed on",
        tests(
            "tests/unit/metadata",
            "tests/unit/consensus",
            "tests/unit/replication",
            "tests/unit/groups",
        ),
    ),
    Proof(
        "replicas",
        "three real nodes, the real client core, faults: every acknowledged record at its offset "
        "on every replica, none twice, in order",
        (sys.executable, "-m", "tests.sim.replicas.run", "--seeds", "0:20000", "--processes", "2"),
        limit_s=30 * HOUR_S,
    ),
    Proof(
        "groups",
        "a group: real members, a real coordinator that fails over, freezes, lost, late and "
        "doubled calls: one owner, nothing past a session, no gap below a commit, all is read",
        (sys.executable, "-m", "tests.sim.groups.run", "--seeds", "0:10000", "--processes", "2"),
        limit_s=12 * HOUR_S,
    ),
    Proof(
        "examples",
        "fifty times the random examples of `make test`, new ones on every run",
        tests("tests/unit", "tests/compat", "tests/scenarios", mark="not proof"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "simulation",
        "2 000 seeds of the real node and the real client core, with faults of disk and network",
        (sys.executable, "-m", "tests.sim.run", "--seeds", "0:2000"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "raft",
        "20 000 seeds of the consensus core: lost, late and doubled messages, cuts, pauses, clocks "
        "that drift, crashes within every step, torn saves, emptied directories, changing voters",
        (sys.executable, "-m", "tests.sim.raft.run", "--seeds", "0:20000", "--processes", "2"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "quorum",
        "20 000 seeds of 1, 3 and 5 real nodes: crashes between any two steps, torn and lost "
        "writes, full disks, cuts both ways and one way, clocks that drift, nodes that come and go",
        (sys.executable, "-m", "tests.sim.quorum.run", "--seeds", "0:20000", "--processes", "2"),
        limit_s=12 * HOUR_S,
    ),
    Proof(
        "raft-small",
        "every history of three voters with a few elections, proposals and crashes, breadth first, "
        "a million states of each scope",
        (sys.executable, "-m", "tests.sim.raft.small_scope", "--states", "1000000"),
    ),
    Proof(
        "torn-tail",
        "a tail of 64 KiB cut, zeroed or garbage at every byte: a prefix, never below the ledger",
        tests("tests/unit/storage"),
    ),
    Proof(
        "losses",
        "every class of loss that others had, planted, is seen by the scenario named after it",
        tests("tests/integration/runtime/test_loss_planted.py"),
    ),
    Proof(
        "admin-port",
        "planted bugs in the admin port, in what is counted and in the log's lines are all seen",
        tests("tests/integration/http"),
    ),
    Proof(
        "cost",
        "finding a record in 10 GiB reads one interval; a clean start scans nothing; recovery",
        tests("tests/integration/storage"),
    ),
    Proof(
        "acceptance",
        "power losses, kill -9, failed syncs, full disks: nothing acknowledged is lost; members of "
        "groups that die, freeze, come and go: nothing is skipped",
        tests("tests/acceptance"),
        limit_s=6 * HOUR_S,
    ),
    Proof(
        "cluster",
        "the demo on the three containers of cluster/docker-compose.yml, one of them killed",
        (sys.executable, "-m", "tools.cluster_test", "--must-run"),
    ),
    Proof(
        "speed",
        "throughput and latency beside a bare gRPC stream of the same payloads",
        (sys.executable, "-m", "bench.alone"),
    ),
    Proof(
        "ten-runs",
        "every test of `make test`, ten times in a row without a flake",
        (sys.executable, "-m", "tools.repeat", "10"),
    ),
)
