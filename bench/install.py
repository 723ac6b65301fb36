"""Gets the peers, each with the ordinary client of its registry, into a folder of their own.

    python -m bench.install          everything that `make bench` compares with

The folder is $LOGD_BENCH_CACHE, else $XDG_CACHE_HOME/logd-bench (~/.cache/logd-bench). Nothing is
installed into the system, no service is started, and what is there is not fetched again. What
cannot be had is skipped, and said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KAFKA_VERSION = "4.3.1"
NATS_VERSION = "latest"
_REQUIREMENTS = Path(__file__).resolve().parent / "peers-requirements.txt"
_MINUTES = 10
_DEBIAN_REDIS = ("libjemalloc2", "liblzf1", "redis-tools", "redis-server")
_ERLANG = (
    "asn1",
    "base",
    "crypto",
    "eldap",
    "ftp",
    "inets",
    "mnesia",
    "os-mon",
    "parsetools",
    "public-key",
    "runtime-tools",
    "snmp",
    "ssl",
    "syntax-tools",
    "tftp",
    "tools",
    "xmerl",
)
_DEBIAN_RABBITMQ = (*(f"erlang-{name}" for name in _ERLANG), "rabbitmq-server")
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class NotToBeHadError(Exception):
    """A peer cannot be installed here; the text says why."""


def cache() -> Path:
    """The folder of everything that is fetched."""
    given = os.environ.get("LOGD_BENCH_CACHE")
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "logd-bench"


def clients() -> Path:
    """The Python that has the peers' clients."""
    return cache() / "clients" / "bin" / "python"


def kafka_libraries() -> Path:
    return cache() / f"kafka-{KAFKA_VERSION}"


def nats_server() -> Path:
    return cache() / "nats" / "nats-server"


def debian_root() -> Path:
    """Where Debian's packages are unpacked, as if it were the root of a system."""
    return cache() / "debian"


def _run(command: Sequence[str], *, cwd: Path, extra: Mapping[str, str] | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise NotToBeHadError(f"there is no {command[0]} here")
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60 * _MINUTES,
        )
    except subprocess.TimeoutExpired:
        raise NotToBeHadError(f"{command[0]} took more than {_MINUTES} minutes") from None
    if done.returncode:
        raise NotToBeHadError(f"{' '.join(command[:3])} failed: {done.stdout.strip()[-300:]}")
    return done.stdout


def install_clients(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], cwd=folder)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "-r", str(_REQUIREMENTS)], cwd=folder)


def install_kafka(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    _run([*copy, f"-DoutputDirectory={folder}"], cwd=folder)


def install_nats(folder: Path) -> None:
    module = f"github.com/nats-io/nats-server/v2@{NATS_VERSION}"
    _run(["go", "install", module], cwd=folder, extra={"GOBIN": str(folder)})


def _unpack(folder: Path, packages: Sequence[str]) -> None:
    downloads = folder / "downloads"
    downloads.mkdir(exist_ok=True)
    _run(["apt-get", "download", *packages], cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], cwd=downloads)
    shutil.rmtree(downloads)


def install_redis(folder: Path) -> None:
    _unpack(folder, _DEBIAN_REDIS)


def install_rabbitmq(folder: Path) -> None:
    """Erlang's start script names its own folder, which is another one here."""
    _unpack(folder, _DEBIAN_RABBITMQ)
    home = folder / "usr" / "lib" / "erlang"
    for script in (home / "bin" / "erl", *home.glob("erts-*/bin/erl")):
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={home}"))


#: What there is to get: name -> (what makes it, its folder below the cache).
_PARTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "clients": (install_clients, "clients"),
    "kafka": (install_kafka, f"kafka-{KAFKA_VERSION}"),
    "nats": (install_nats, "nats"),
    "redis": (install_redis, "debian"),
    "rabbitmq": (install_rabbitmq, "debian"),
}


def ensure(name: str) -> None:
    """Install a part unless it is here; raises NotToBeHadError that says why it cannot be."""
    install, below = _PARTS[name]
    folder = cache() / below
    mark = cache() / f"{name}.installed"
    if mark.exists() and folder.exists():
        return
    print(f"installing {name} for comparison", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    install(folder)
    mark.touch()


def main() -> None:
    for name in _PARTS:
        try:
            ensure(name)
            print(f"{name}: here")
        except NotToBeHadError as error:
            print(f"{name}: SKIPPED, {error}")


if __name__ == "__main__":
    main()
