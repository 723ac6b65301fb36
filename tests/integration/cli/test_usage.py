"""What the command line says without a node: help, wrong usage, an unreachable cluster."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from logd_wire import CODEC
from typer.testing import CliRunner, Result

from logd.cli.main import app
from tests.integration.cli.conftest import Shell

COMMANDS = (
    "serve",
    "produce",
    "consume",
    "version",
    "topic create",
    "topic list",
    "topic describe",
    "topic alter",
    "topic delete",
    "topic trim",
    "topic compact",
    "get",
    "topic offsets",
    "cluster info",
    "cluster nodes",
    "cluster partitions",
    "cluster transfer-leader",
    "cluster reassign",
    "cluster drain",
    "raft status",
    "raft log",
    "node add",
    "node remove",
    "node replace",
    "cluster health",
    "config describe",
    "profile list",
    "profile use",
    "profile show",
    "profile set",
    "profile edit",
    "log dump",
    "log verify",
    "bench produce",
    "bench consume",
    "bench e2e",
)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens, for the time of the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def logd(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_help_names_the_commands_and_the_exit_codes() -> None:
    result = logd("--help")
    assert result.exit_code == 0
    for command in {name.split()[0] for name in COMMANDS}:
        assert f"\n  {command} " in result.stdout
    for code in ("0 done", "1 the", "2 wrong", "3 the", "4 not", "5 not", "10 ", "124 ", "130 "):
        assert code in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_the_global_options(command: str) -> None:
    result = logd(*command.split(), "--help")
    assert result.exit_code == 0
    assert "\\b" not in result.stdout
    assert "\b" not in result.stdout
    for option in ("--bootstrap", "--profile", "-X", "--format", "-q", "-v", "--timeout", "--yes"):
        assert option in result.stdout
    assert result.stdout == logd(*command.split(), "-h").stdout


def test_help_is_quick(shell: Shell) -> None:
    """CPU time, best of five, as a new process: nothing heavy may be imported for it."""
    best = min(_cpu_seconds_of_help(shell) for _ in range(5))
    assert best < 0.25
    code = (
        "import sys, logd.cli.main;"
        "print([name for name in ('grpc', 'rich', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.environ, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[]"


def _cpu_seconds_of_help(shell: Shell) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert shell.process("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("topic lst", "No such command 'lst'. Did you mean 'list', 'ls'? (see logd topic --help)"),
        ("topic list --formt json", "Possible options: --format"),
        ("topic list -F jsn", "'jsn'"),
        ("consume", "Missing argument"),
        ("consume t -g workers -o 5", "-o 5 with -g: a group goes on where it has committed"),
        ("consume t -o nowhere", "-o: 'nowhere' is not a place in a log: give start, end"),
        ("consume t -p 0,x", "-p: '0,x' is not a list of partition numbers"),
        ("consume t -f %q", "-f: %q in '%q' is not known here"),
        ("consume t -f %v -J", "exclude each other"),
        ("consume t --grep (", "--grep: '(' is not a regular expression"),
        ("consume t -F yaml", "-F yaml is for lists"),
        ("produce t -K : -f %v", "-K and -f exclude each other"),
        ("produce t -f %k%v", "put something between %k and %v"),
        ("produce t -H =x", "has no name"),
        ("produce t -z brotli", "'brotli'"),
        ("produce t --acks 2", "'2'"),
        ("topic create t -c x", "write KEY=VALUE"),
        ("topic alter t", "nothing to change"),
        ("topic trim t", "--before"),
        ("topic trim t --before 1:2", "is a range"),
        ("topic offsets t --at soon", "--at: 'soon' is not a time"),
        ("topic list -r (", "-r: '(' is not a regular expression"),
        ("topic list --timeout never", "'never' is not a duration"),
        ("topic list -X linger", "is not KEY=VALUE"),
        ("topic list -X lingr.ms=1", "did you mean linger.ms?"),
        ("topic list -X request.timeout.ms=soon", "is not understood"),
        ("topic list --profile prod", "profile 'prod', chosen by --profile, does not exist"),
        ("config describe topic", "config describe topic NAME"),
        ("node add", "Missing argument 'N'"),
        ("node add two", "Invalid value for 'N'"),
        ("node add -1", "No such option: -1"),
        ("node add 2 --wait soon", "--wait: 'soon' is not a duration"),
        ("node remove 2 --accept-data-loss", "No such option: --accept-data-loss"),
        ("node drop 2", "No such command 'drop'"),
        ("raft log --from -1", "'--from'"),
        ("raft log -n 0", "'-n'"),
        ("raft log --data-dir . --follow", "--data-dir reads a folder at rest"),
        ("raft log --data-dir . --node 1", "it excludes --node"),
        ("raft log -f -F yaml", "with --follow use table or json"),
        ("raft log --data-dir .", "holds no metadata log"),
        ("profile set p x", "not KEY=VALUE"),
        ("profile set a/b x=1", "not a profile name"),
        ("serve --config none.toml", "cannot read none.toml"),
        ("serve --port 70000", "'--port': Input should be less than or equal to 65535"),
        ("bench produce --api getmany", "producing has send and send_many"),
        ("bench consume --api send", "consuming has getmany and iterate"),
        ("bench produce --records many", "not a whole number"),
        ("bench e2e --size 4", "--size must be 8 or more"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments: str, said: str) -> None:
    result = logd(*arguments.split(), stdin="x\n")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_without_a_command_the_help_and_code_2() -> None:
    for arguments in ([], ["topic"]):
        result = logd(*arguments)
        assert result.exit_code == 2
        assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "topic list",
        "topic describe t",
        "consume t -e",
        "produce t",
        "cluster info",
        "cluster nodes",
        "cluster partitions",
        "cluster transfer-leader t:0 1",
        "cluster reassign t:0 --to 1,2",
        "cluster drain 1",
        "raft status",
        "raft log",
        "node add 2",
        "cluster health",
        "bench produce --records 10",
    ],
)
def test_an_unreachable_cluster_is_code_3(arguments: str, nobody: str) -> None:
    result = logd(*arguments.split(), "-b", nobody, "--timeout", "20", stdin="x\n")
    assert result.exit_code == 3, result.output
    assert nobody in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_the_traceback_only_with_vv(nobody: str) -> None:
    assert "Traceback" not in logd("-v", "topic", "list", "-b", nobody).output
    assert "Traceback" in logd("-v", "topic", "list", "-b", nobody, "-v").output


def test_global_options_before_and_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    # `profile show` lists settings of the environment, too.
    monkeypatch.delenv("LOGD_CODEC", raising=False)
    logd("profile", "set", "a", "bootstrap=one:1", "linger.ms=5")
    expected = {
        "bootstrap": {"value": "two:2", "source": "flag --bootstrap"},
        "linger.ms": {"value": "9", "source": "flag -X"},
    }
    for arguments in (
        "-F json -b two:2 -X linger.ms=9 profile --profile a show",
        "profile -b two:2 show -F json --profile a -X linger.ms=9",
        "-F yaml -b x:3 profile -X linger.ms=8 show -F json --profile a -X linger.ms=9 -b two:2",
    ):
        result = logd(*arguments.split())
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == expected


def test_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert logd("profile", "list", "-F", "json").stdout == "[]\n"
    assert logd("profile", "set", "prod", "bootstrap=n1:7171", "acks=1").exit_code == 0
    assert logd("profile", "use", "prd").exit_code == 2
    assert logd("profile", "use", "prod", "-q").output == ""
    assert logd("profile", "list").stdout == "USED\tNAME\tBOOTSTRAP\n*\tprod\tn1:7171\n"
    assert logd("profile", "set", "prod", "acks=", "-q").exit_code == 0
    assert "acks" not in (tmp_path / "logd" / "config.toml").read_text()
    assert "n1:7171\tprofile prod" in logd("profile", "show").stdout
    monkeypatch.setenv("EDITOR", "false")
    assert logd("profile", "edit").exit_code == 2
    monkeypatch.setenv("EDITOR", "true")
    assert logd("profile", "edit").exit_code == 0


def test_print_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "logd.toml"
    file.write_text('[node]\nrack = "a"\n[topic_defaults]\n"retention.ms" = 1000\n')
    monkeypatch.setenv("LOGD__NODE__ID", "7")
    monkeypatch.setenv("LOGD__NODE__RACK", "b")
    result = logd("serve", "--config", str(file), "--print-config", "--port", "1234", "-F", "json")
    found = json.loads(result.stdout)
    assert found["node.id"] == {"value": "7", "source": "environment"}
    assert found["node.rack"] == {"value": "b", "source": "environment"}
    assert found["topic_defaults.retention.ms"] == {"value": "1000", "source": "file"}
    assert found["listeners.grpc"] == {"value": "127.0.0.1:1234", "source": "flag"}
    assert found["node.data_dir"]["source"] == "default"


def test_version() -> None:
    plain = logd("version").stdout
    assert plain.startswith("logd ")
    assert logd("--version").stdout == plain
    found = json.loads(logd("version", "-F", "json").stdout)
    assert set(found) > {"logd", "python", "codec", "grpcio"}
    assert found["codec"] == CODEC
    assert CODEC in logd("version", "-v").stdout


def test_completion_is_silent_without_a_cluster(shell: Shell, nobody: str) -> None:
    """A terminal must never see an error because of the tab key."""
    done = shell.process(
        environ={
            "LOGD_BOOTSTRAP": nobody,
            "_LOGD_COMPLETE": "complete_bash",
            "COMP_WORDS": "logd consume o",
            "COMP_CWORD": "2",
        }
    )
    assert done.stdout.strip() == b""
    assert done.stderr == b""
