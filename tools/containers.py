"""A container engine for `make cluster-test`: the one that runs, or one of our own.

Where no engine runs, root installs Debian's packages and starts a daemon whose files, socket and
process are ours, and which leaves the machine's firewall alone; containers then reach one another
and this machine, and nothing else. Where no image registry can be reached, the base image is made
by debootstrap. Everything that was started is ended; packages that were installed stay.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = "python:3.11-slim"
#: What the Python of the base image takes.
PYTHON = "3.11"
STAND_IN = "logd-stand-in:bookworm"
DAEMON_START_S = 60.0
DAEMON_STOP_S = 60.0
PULL_S = 300
STEP_S = 1_800


class CannotRunError(Exception):
    """This machine cannot run containers; the reason is in the text."""


@dataclass(frozen=True)
class Engine:
    """How to reach a daemon. `own`: it was started here, and its containers reach no registry."""

    environment: dict[str, str]
    compose: tuple[str, ...]
    own: bool

    def docker(
        self, *arguments: str, timeout_s: float = STEP_S
    ) -> subprocess.CompletedProcess[str]:
        return _run(["docker", *arguments], self.environment, timeout_s)


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


@contextmanager
def engine(scratch: Path) -> Iterator[Engine]:
    """An engine inside the block; raises CannotRunError where there can be none."""
    environment = dict(os.environ)
    if not _answers(environment):
        _install({"dockerd": "docker.io", "docker": "docker.io"})
    # The package may have started one.
    if _answers(environment):
        yield Engine(environment, _compose(environment), own=False)
        return
    environment["DOCKER_HOST"] = f"unix://{scratch}/docker.sock"
    with _daemon(scratch, environment):
        yield Engine(environment, _compose(environment), own=True)


def base_image(chosen: Engine, scratch: Path) -> str:
    """The name of an image with Python; raises CannotRunError where there can be none."""
    if chosen.docker("image", "inspect", BASE).returncode == 0:
        return BASE
    say(f"pulling {BASE}")
    try:
        pulled = chosen.docker("pull", BASE, timeout_s=PULL_S)
    except subprocess.TimeoutExpired:
        pulled = subprocess.CompletedProcess((), 1, "", "it took too long")
    if pulled.returncode == 0:
        return BASE
    say(f"no image registry can be reached ({_last_line(pulled.stderr)})")
    _stand_in(chosen, scratch)
    return STAND_IN


def download_wheels(target: Path) -> None:
    """What the image needs from PyPI, as wheels for its Python; raises CannotRunError."""
    machine = platform.machine()
    platforms = [
        f"manylinux2014_{machine}",
        f"manylinux_2_17_{machine}",
        f"manylinux_2_28_{machine}",
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--python-version", PYTHON, "--dest", str(target)]
    command += [word for name in platforms for word in ("--platform", name)]
    command += ["-c", str(ROOT / "constraints.txt"), *_requirements()]
    done = _run(command, os.environ, STEP_S)
    if done.returncode != 0:
        raise CannotRunError(f"no package registry can be reached: {_last_line(done.stderr)}")


def _requirements() -> list[str]:
    """Of both distributions, their build and the extra that the image installs."""
    needed: set[str] = set()
    for folder in (ROOT, ROOT / "client"):
        document = tomllib.loads((folder / "pyproject.toml").read_text())
        needed.update(document["build-system"]["requires"])
        needed.update(document["project"]["dependencies"])
        needed.update(document["project"].get("optional-dependencies", {}).get("fast", []))
    return sorted(name for name in needed if not name.startswith("logd"))


def _answers(environment: Mapping[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    return (
        _run(["docker", "info", "--format", "{{.ServerVersion}}"], environment, 60).returncode == 0
    )


def _compose(environment: Mapping[str, str]) -> tuple[str, ...]:
    if _run(["docker", "compose", "version"], environment, 60).returncode == 0:
        return ("docker", "compose")
    _install({"docker-compose": "docker-compose"})
    return ("docker-compose",)


def _install(packages: Mapping[str, str]) -> None:
    """Debian packages by the commands they bring; raises CannotRunError."""
    missing = sorted({packages[name] for name in packages if shutil.which(name) is None})
    if not missing:
        return
    names = ", ".join(missing)
    if os.geteuid() != 0:
        raise CannotRunError(f"no container engine runs, and only root installs {names}")
    if shutil.which("apt-get") is None:
        raise CannotRunError(f"no container engine runs, and apt-get is not there for {names}")
    say(f"installing {names}")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = _run(["apt-get", *arguments], environment, STEP_S)
    if done.returncode != 0:
        raise CannotRunError(f"cannot install {names}: {_last_line(done.stderr)}")


@contextmanager
def _daemon(scratch: Path, environment: Mapping[str, str]) -> Iterator[None]:
    if os.geteuid() != 0:
        raise CannotRunError("no container engine runs, and only root can start one")
    say("starting a container engine of our own")
    log = scratch / "dockerd.log"
    command = ["dockerd", "--host", environment["DOCKER_HOST"], "--iptables=false"]
    command += ["--bridge=none", "--data-root", str(scratch / "data")]
    command += ["--exec-root", str(scratch / "exec"), "--pidfile", str(scratch / "dockerd.pid")]
    with log.open("wb") as stream:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + DAEMON_START_S
        while not _answers(environment):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise CannotRunError(f"dockerd does not start: {_last_line(log.read_text())}")
            time.sleep(0.2)
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(DAEMON_STOP_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        say("the container engine is stopped")


def _stand_in(chosen: Engine, scratch: Path) -> None:
    """A small Debian with Python 3.11, in place of the image that cannot be pulled."""
    if os.geteuid() != 0:
        raise CannotRunError("no image registry can be reached, and only root can debootstrap")
    _install({"debootstrap": "debootstrap"})
    say("making a stand-in for the base image with debootstrap")
    root = scratch / "root"
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm"]
    done = _run([*command, str(root)], os.environ, STEP_S)
    if done.returncode != 0:
        raise CannotRunError(f"debootstrap: {_last_line(done.stdout)} {_last_line(done.stderr)}")
    archive = scratch / "root.tar"
    done = _run(["tar", "-C", str(root), "-cf", str(archive), "."], os.environ, STEP_S)
    if done.returncode != 0 or chosen.docker("import", str(archive), STAND_IN).returncode != 0:
        raise CannotRunError(f"the stand-in image cannot be imported: {_last_line(done.stderr)}")


def _run(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
