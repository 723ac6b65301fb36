"""The wheels in an empty environment: what they hold, and one produce and consume."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import codec_build
from tools import demo, dist

# One worker has the whole module, and so makes the environment once.
pytestmark = [pytest.mark.dist, pytest.mark.timeout(400), pytest.mark.xdist_group("dist")]

ROOT = Path(__file__).resolve().parents[3]
START_S = 30


class Installed(NamedTuple):
    """An environment that holds both wheels and what they require, and nothing else."""

    bin: Path
    wheels: list[Path]
    environ: dict[str, str]

    def run(self, *command: str, **more: str) -> str:
        """Run a command of the environment, away from the sources; return its stdout."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.bin,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("dist")
    wheels = dist.build(folder / "wheels")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    bin_folder = folder / "venv" / "bin"
    # Neither the sources nor the caller's settings may be seen from in there.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOGD_", "PYTHON", "PYTEST", "VIRTUAL_ENV"))
    }
    path = f"{bin_folder}:{kept.get('PATH', '')}"
    home = {"XDG_CONFIG_HOME": str(folder / "config"), "PATH": path}
    environment = Installed(bin_folder, wheels, {**kept, **home})
    pip = ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", str(ROOT / "constraints.txt")]
    # First the client alone: an application installs no node.
    environment.run(*pip, str(wheels[0]))
    environment.run("python", "-W", "error", "-c", "import logd_client, logd_client.aio, logd_wire")
    absent = "import importlib.util as u; assert not any(map(u.find_spec, ('logd', 'typer')))"
    environment.run("python", "-c", absent)
    environment.run(*pip, *map(str, wheels))
    environment.run("python", "-m", "pip", "check")
    return environment


@pytest.fixture(scope="module")
def address(installed: Installed) -> Iterator[str]:
    """Address of a node that runs from the wheels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed.bin / "logd"), "serve", "--dev", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=installed.bin, env=installed.environ, stderr=subprocess.PIPE, text=True
    ) as node:
        try:
            _wait_until_listening(node, port)
            yield f"localhost:{port}"
        finally:
            node.terminate()
            _, said = node.communicate(timeout=30)
    assert node.returncode == 0, said


def _wait_until_listening(node: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + START_S
    while node.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    node.kill()
    pytest.fail(f"the node did not start: {node.communicate()[1]}")


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def readme_blocks(language: str) -> list[str]:
    """The README's examples in one language."""
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_each_wheel_holds_its_packages_and_nothing_else(installed: Installed) -> None:
    tops = []
    for wheel in installed.wheels:
        names = names_in(wheel)
        tops.append({name.partition("/")[0] for name in names if ".dist-info/" not in name})
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
        for top in tops[-1]:
            assert f"{top}/py.typed" in names
    assert tops == [{"logd_client", "logd_proto", "logd_wire"}, {"logd"}]


def test_every_module_of_the_sources_is_in_a_wheel(installed: Installed) -> None:
    held = {name for wheel in installed.wheels for name in names_in(wheel)}
    for folder, parts in dist.PARTS.items():
        for package in (part for part in parts if (ROOT / folder / part).is_dir()):
            for path in (ROOT / folder / package).rglob("*.py*"):
                if path.suffix in {".py", ".pyi"}:
                    assert path.relative_to(ROOT / folder).as_posix() in held


def speed_in(wheel: Path) -> list[str]:
    return [name for name in names_in(wheel) if name.startswith("logd_wire/_speed.cpython")]


WHICH = "import logd_wire as w; print(w.CODEC)"
ROUND_TRIP = """
import logd_wire as w
builder = w.BatchBuilder()
builder.append(5, b"key", b"value")
print(w.CODEC, w.decode_batch(builder.build()))
"""


@pytest.mark.skipif(codec_build.compiler() is None, reason="no C compiler: pure wheels only")
def test_the_clients_wheel_holds_the_compiled_codec(installed: Installed) -> None:
    client, node = installed.wheels
    assert len(speed_in(client)) == 1
    assert not client.name.endswith("-none-any.whl")
    assert node.name.endswith("-none-any.whl")
    assert not [name for name in names_in(client) if name.endswith((".c", ".h"))]
    assert installed.run("python", "-W", "error", "-c", WHICH) == "compiled\n"
    assert installed.run("python", "-c", WHICH, LOGD_CODEC="pure") == "pure\n"
    assert "codec" in installed.run("logd", "version", "-v")


def test_without_a_compiler_the_wheel_is_a_working_pure_one(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")
    client, _ = dist.build(tmp_path / "wheels")
    assert client.name.endswith("-py3-none-any.whl")
    assert speed_in(client) == []
    compiled = set(speed_in(installed.wheels[0]))
    metadata = "-".join(client.name.split("-")[:2]) + ".dist-info/"
    assert set(names_in(client)) == set(names_in(installed.wheels[0])) - compiled
    assert f"{metadata}METADATA" in names_in(client)
    target = tmp_path / "target"
    pip = ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    installed.run(*pip, "--target", str(target), str(client))
    said = installed.run("python", "-W", "error", "-c", ROUND_TRIP, PYTHONPATH=str(target))
    assert said.startswith("pure [WireRecord(offset=0, timestamp=5, key=b'key', value=b'value'")
    shutil.rmtree(target)


def test_a_build_without_a_compiler_says_one_line(tmp_path: Path) -> None:
    copy = codec_build.copy_client(tmp_path / "client")
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=copy,
        env={**os.environ, "CC": "false"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if "without its compiled codec" in line] == said
    assert len(said) == 1


def test_the_sdist_carries_the_sources_of_the_codec(tmp_path: Path) -> None:
    copy = tmp_path / "client"
    shutil.copytree(
        ROOT / "client",
        copy,
        ignore=shutil.ignore_patterns("__pycache__", "*.so", "build", "dist", "*.egg-info"),
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir"]
    done = subprocess.run(
        [*command, str(tmp_path / "out"), str(copy)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = (tmp_path / "out").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    native = {f"native/{path.name}" for path in (ROOT / "client" / "native").iterdir()}
    assert {"native/speed.h", "native/decode.c"} <= native
    assert held >= {*native, "setup.py", "logd_wire/_codec.py", "logd_wire/_speed.pyi"}


def test_the_readme_has_the_ten_lines_of_the_demo() -> None:
    assert readme_blocks("python")[0] == demo.TEN_LINES


def test_the_readmes_ten_lines_produce_and_consume(installed: Installed, address: str) -> None:
    lines = readme_blocks("python")[0]
    assert "localhost:7171" in lines
    # `-W error`: what is left open, or never awaited, fails.
    code = lines.replace("localhost:7171", address)
    said = installed.run("python", "-W", "error", "-c", code)
    assert "offset 0" in said
    assert "b'hello'" in said


def test_the_readmes_commands_work(installed: Installed, address: str) -> None:
    (tour,) = (block for block in readme_blocks("sh") if "logd topic create" in block)
    script = installed.bin / "tour.sh"
    script.write_text("set -eux -o pipefail\n" + tour)
    bash = subprocess.run(
        ["bash", str(script)],
        cwd=installed.bin,
        env={**installed.environ, "LOGD_BOOTSTRAP": address},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert bash.returncode == 0, f"{bash.stdout}\n{bash.stderr}"
    for line in ("tea", "coffee", "cake", "ann=cake"):
        assert line in bash.stdout


def test_the_version_is_that_of_the_wheel(installed: Installed) -> None:
    version = installed.run("logd", "--version").split()[-1]
    assert all(f"-{version}-" in wheel.name for wheel in installed.wheels)
