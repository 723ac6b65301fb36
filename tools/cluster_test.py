"""`make cluster-test`: cluster/docker-compose.yml, run for real.

Builds the image from a copy of this source tree, brings three containers up, repeats the demo from
outside through the published ports, kills one container, shows that the others go on, starts it
again, stops all and starts all, and checks after each that every acknowledged record is there. Ends
what it started and removes what it made, the packages aside that it had to install. Where no
containers can run it says SKIPPED and why, with exit code 0; with --must-run the code is 3.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from logd_client import Admin, LogdError, Producer

from tools import demo
from tools.containers import (
    ROOT,
    STAND_IN,
    CannotRunError,
    Engine,
    base_image,
    download_wheels,
    engine,
    say,
)
from tools.demo import DemoError, check

NODES = (1, 2, 3)
VICTIM = 2
TOPIC = "through-a-kill"
PARTITIONS = 6
RECORDS = 50
#: How long a cluster may take to get over something.
PATIENCE_S = 120.0
#: After a kill, until what has another replica can be written again.
GAP_S_MAX = 20.0
MUST_RUN_EXIT = 3
USER = "65532"


class Cluster:
    """Three containers of the compose file, from a copy of the source tree."""

    def __init__(self, chosen: Engine, source: Path, base: str, wheels: bool) -> None:
        self._engine = chosen
        self._project = f"logd-test-{os.getpid()}"
        self._ports = {number: demo.free_port() for number in NODES}
        self.image = f"{self._project}:test"
        self._environment = {
            **chosen.environment,
            "LOGD_IMAGE": self.image,
            "LOGD_BASE": base,
            **{f"LOGD_PORT_{number}": str(port) for number, port in self._ports.items()},
        }
        if wheels:
            options = "--no-index -f cluster/wheels"
            self._environment |= {"LOGD_COMPILER": "", "LOGD_PIP_OPTIONS": options}
        self._file = source / "cluster" / "docker-compose.yml"

    def address(self, number: int) -> str:
        return f"localhost:{self._ports[number]}"

    def addresses(self, *without: int) -> str:
        return ",".join(self.address(number) for number in NODES if number not in without)

    @property
    def port(self) -> int:
        return self._ports[1]

    def compose(self, *arguments: str) -> str:
        """Run the compose tool; returns what it printed."""
        command = [*self._engine.compose, "-p", self._project, "-f", str(self._file), *arguments]
        print(f"$ {' '.join([*self._engine.compose, *arguments])}", flush=True)
        done = subprocess.run(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=1_800,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"{command}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def docker(self, *arguments: str) -> str:
        done = self._engine.docker(*arguments)
        if done.returncode != 0:
            raise DemoError(f"docker {arguments}: {done.stderr[-1000:]}")
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """Its id, also when it has ended."""
        filters = [
            f"label=com.docker.compose.project={self._project}",
            f"label=com.docker.compose.service={service}",
        ]
        arguments = [word for each in filters for word in ("--filter", each)]
        found = self.docker("ps", "-a", "-q", *arguments).split()
        if len(found) != 1:
            raise DemoError(f"{len(found)} containers of {service}")
        return found[0]

    def state(self, service: str) -> dict[str, object]:
        text = self.docker("inspect", "-f", "{{json .State}}", self.container(service))
        found: dict[str, object] = json.loads(text)
        return found

    def up(self) -> None:
        """Start everything, and wait until the one-shot service has had its way."""
        self.compose("up", "-d")
        wait_for("the init service ends", lambda: self.state("init")["Status"] == "exited")
        check(self.state("init")["ExitCode"] == 0, "the init service found three healthy nodes")

    def remove(self) -> None:
        self.compose("down", "-v", "--remove-orphans")
        self._engine.docker("image", "rm", self.image)

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail=20")


def wait_for(what: str, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
    """Ask until it holds; an error of the cluster counts as no. Returns the seconds it took."""
    begun = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - begun
            last = ""
        except LogdError as error:
            last = f": {error}"
        if time.monotonic() - begun > timeout_s:
            raise DemoError(f"not within {timeout_s:g} s: {what}{last}")
        time.sleep(0.1)


def in_service(cluster: Cluster, *without: int) -> bool:
    """Whether every node but these counts on all of them but these, and on nobody else."""
    wanted = set(NODES) - set(without)
    for number in wanted:
        with Admin(cluster.address(number), request_timeout_ms=5_000) as admin:
            found = admin.describe_cluster()
        serving = {node.id for node in found.nodes if not node.fenced}
        if found.controller_id not in wanted or serving != wanted:
            return False
    return True


def repeat_demo(cluster: Cluster, logd: demo.Logd) -> None:
    """What `make demo` shows on one node, on these three, from outside."""
    terminal = demo.Terminal()
    first, second = demo.choose_sources()
    everything = demo.produce_and_consume(terminal, logd, first)
    demo.replay(terminal, logd, everything, second)
    demo.describe(terminal, logd, first, second)
    demo.ten_lines(terminal, logd)
    with Admin(cluster.addresses()) as admin:
        leaders = {part.leader for part in admin.describe_topic(demo.TOPIC).partitions}
    check(leaders == set(NODES), "the three partitions are led by three containers")


def write(addresses: str, partitions: Sequence[int], text: str) -> list[tuple[int, int, str]]:
    """Acknowledged records: partition, offset, value."""
    with Producer(addresses, delivery_timeout_ms=int(GAP_S_MAX * 1000)) as producer:
        written = []
        for number in range(RECORDS):
            for partition in partitions:
                value = f"{text}-{number}-{partition}"
                sent = producer.send_and_wait(TOPIC, value, partition=partition)
                written.append((partition, sent.offset, value))
    return written


def check_nothing_lost(logd: demo.Logd, written: Sequence[tuple[int, int, str]]) -> None:
    records = demo.records_of(logd.run("consume", TOPIC, "-e", "-J", quiet=True))
    found = {(each["partition"], each["offset"]): each["payload"] for each in records}
    lost = [each for each in written if found.get(each[:2]) != each[2]]
    check(not lost, f"all {len(written)} acknowledged records are at their offsets")
    values = list(found.values())
    check(len(set(values)) == len(values), "none is there twice")


def kill_one(cluster: Cluster, logd: demo.Logd) -> list[tuple[int, int, str]]:
    """Kill a container, go on without it, and start it again; returns what was acknowledged."""
    with Admin(cluster.addresses()) as admin:
        topic = admin.create_topic(TOPIC, partitions=PARTITIONS)
    written = write(cluster.addresses(), range(PARTITIONS), "before")
    survive = [part.partition for part in topic.partitions if set(part.replicas) - {VICTIM}]
    demo.Terminal().heading(f"Kill the container of node {VICTIM}")
    service = f"node{VICTIM}"
    cluster.docker("kill", "--signal", "KILL", cluster.container(service))
    state = cluster.state(service)
    check(not state["Running"] and state["ExitCode"] == 137, f"{service} is dead")
    begun = time.monotonic()
    others = cluster.addresses(VICTIM)
    written += write(others, survive, "without")
    print(f"  partitions {survive} have a replica elsewhere; written again, {RECORDS} times each,")
    print(f"  within {time.monotonic() - begun:.1f} s of the kill")
    took = wait_for("the node is fenced", lambda: in_service(cluster, VICTIM))
    print(f"  both others count on each other alone, {took:.1f} s later")
    with Admin(others) as admin:
        made = admin.create_topic("made-without", partitions=4)
    leaders = {part.leader for part in made.partitions}
    check(not leaders & {VICTIM, None}, f"a new topic is led by nodes {leaders}")

    demo.Terminal().heading("Start it again")
    cluster.docker("start", cluster.container(service))
    took = wait_for("the node is back", lambda: in_service(cluster))
    print(f"  in service again after {took:.1f} s")
    check_nothing_lost(logd, written)
    return written + write(cluster.addresses(), range(PARTITIONS), "after")


def stop_and_start(
    cluster: Cluster, logd: demo.Logd, written: Sequence[tuple[int, int, str]]
) -> None:
    """Stop all in good order, remove the containers, and make new ones over the same volumes."""
    demo.Terminal().heading("Stop all, and start new containers over the same volumes")
    user = cluster.docker("exec", cluster.container("node1"), "id", "-u")
    check(user == USER, f"nodes run as user {USER}")
    cluster.compose("stop")
    codes = [cluster.state(f"node{number}")["ExitCode"] for number in NODES]
    check(codes == [0, 0, 0], "every node stopped in good order")
    cluster.compose("down")
    cluster.up()
    wait_for("all are back", lambda: in_service(cluster))
    check_nothing_lost(logd, written)


def copy_source(target: Path) -> None:
    """What a clone has, with the changes that are not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in map(os.fsdecode, listed.split(b"\0")):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run(scratch: Path) -> None:
    """The whole test; raises DemoError, and CannotRunError where no containers can run."""
    begun = time.monotonic()
    source = scratch / "source"
    copy_source(source)
    with engine(scratch) as chosen:
        base = base_image(chosen, scratch)
        wheels = chosen.own or base == STAND_IN
        if wheels:
            say("fetching wheels, so that containers need no registry")
            (source / "cluster" / "wheels").mkdir()
            download_wheels(source / "cluster" / "wheels")
        cluster = Cluster(chosen, source, base, wheels)
        say(f"ready after {time.monotonic() - begun:.0f} s")
        try:
            cluster.compose("build", "node1")
            cluster.up()
            say(f"three containers serve after {time.monotonic() - begun:.0f} s")
            logd = demo.Logd(demo.Terminal(), scratch, cluster.port)
            repeat_demo(cluster, logd)
            written = kill_one(cluster, logd)
            stop_and_start(cluster, logd, written)
        except BaseException:
            with contextlib.suppress(DemoError):
                print(cluster.logs(), file=sys.stderr)
            raise
        finally:
            cluster.remove()
            if base == STAND_IN:
                chosen.docker("image", "rm", STAND_IN)
    say(f"cluster-test passed in {time.monotonic() - begun:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--must-run", action="store_true", help="a skip is a failure")
    must_run = parser.parse_args().must_run
    # What was started is ended on the way out, also when a time limit sends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(
            prefix="logd-cluster-test-", ignore_cleanup_errors=True
        ) as scratch:
            run(Path(scratch))
    except CannotRunError as error:
        print(f"SKIPPED: cluster-test cannot run here: {error}", flush=True)
        sys.exit(MUST_RUN_EXIT if must_run else 0)
    except (DemoError, LogdError, OSError, subprocess.SubprocessError) as error:
        print(f"\ncluster-test failed: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
