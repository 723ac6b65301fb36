"""`make demo`: real records of this machine, through the commands a user would type.

Starts a node in a temporary folder, creates a topic, produces, consumes, replays from an offset and
from a point in time, describes and verifies. Every command is shown, every output is checked
against the input; the exit code is not 0 when one is not what it must be. Needs the standard
library and an installed `logd`, nothing else; leaves nothing behind.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: The first two of these that have enough lines are the input.
SOURCES = (
    ROOT / "README.md",
    ROOT / "LICENSE",
    Path("/etc/services"),
    Path("/etc/protocols"),
    Path(__file__),
)
LINES_MIN = 20
LINES_SHOWN_MAX = 24
START_SECONDS = 30.0
TOPIC = "lines"

TEN_LINES = """\
from logd_client import Consumer, Producer, TopicPartition

with Producer("localhost:7171") as producer:
    sent = producer.send_and_wait("greetings", "hello", key="world")
    print(f"partition {sent.partition}, offset {sent.offset}")

with Consumer(bootstrap_servers="localhost:7171") as consumer:
    consumer.assign([TopicPartition("greetings", sent.partition)])
    consumer.seek_to_beginning()
    print(consumer.getone(timeout=5))
"""


class DemoError(Exception):
    """A step's output was not what it must be."""


class Terminal:
    """Shows commands and their output."""

    def __init__(self) -> None:
        self._color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def heading(self, text: str) -> None:
        print(f"\n\x1b[1m# {text}\x1b[0m" if self._color else f"\n# {text}", flush=True)

    def command(self, arguments: Sequence[str], *, background: bool = False) -> None:
        text = shlex.join(["logd", *arguments]) + (" &" if background else "")
        print(f"\x1b[36m$ {text}\x1b[0m" if self._color else f"$ {text}", flush=True)

    def output(self, text: str) -> None:
        lines = text.splitlines()
        for line in lines[:LINES_SHOWN_MAX]:
            print(f"  {line[:150]}")
        if len(lines) > LINES_SHOWN_MAX:
            print(f"  … and {len(lines) - LINES_SHOWN_MAX} lines more")
        sys.stdout.flush()


class Logd:
    """Runs `logd` with an environment of its own, away from the user's profiles."""

    def __init__(self, terminal: Terminal, folder: Path, port: int) -> None:
        self._terminal = terminal
        found = shutil.which("logd")
        self._program = [found] if found else [sys.executable, "-m", "logd"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOGD_")}
        self.environment = {
            **kept,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "LOGD_BOOTSTRAP": f"localhost:{port}",
        }

    def run(self, *arguments: str, quiet: bool = False, stdin: str = "") -> str:
        """Run one command, show it with its output, and return what it wrote to stdout."""
        if not quiet:
            self._terminal.command(arguments)
        done = subprocess.run(
            [*self._program, *arguments],
            env=self.environment,
            input=stdin.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        said = done.stderr.decode(errors="replace")
        output = done.stdout.decode(errors="replace")
        if not quiet or done.returncode:
            self._terminal.output(said + output)
        if done.returncode:
            raise DemoError(f"`logd {shlex.join(arguments)}` ended with code {done.returncode}")
        return output

    def show(self, *arguments: str) -> None:
        """Run one command; at a terminal it writes to that itself, and so prints its tables."""
        if not sys.stdout.isatty():
            self.run(*arguments)
            return
        self._terminal.command(arguments)
        code = subprocess.run(
            [*self._program, *arguments], env=self.environment, timeout=60, check=False
        ).returncode
        if code:
            raise DemoError(f"`logd {shlex.join(arguments)}` ended with code {code}")

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a node in the background; its log goes to a file."""
        self._terminal.command(arguments, background=True)
        with log.open("wb") as stream:
            return subprocess.Popen(
                [*self._program, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until_ready(node: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the node accepts connections; raises DemoError with its log when it ends."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if node.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise DemoError("the node did not start:\n" + log.read_text(errors="replace")[-2000:])


def check(condition: bool, what: str) -> None:
    """Raise DemoError unless `condition` holds; say so when it does."""
    if not condition:
        raise DemoError(f"not so: {what}")
    print(f"  ✓ {what}", flush=True)


def choose_sources() -> list[Path]:
    """Two files of this machine with lines enough."""
    chosen = []
    for path in SOURCES:
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            continue
        if len(lines) >= LINES_MIN and b"\0" not in path.read_bytes():
            chosen.append(path)
    if not chosen:
        raise DemoError(f"none of {', '.join(map(str, SOURCES))} can be read")
    return [chosen[0], chosen[min(1, len(chosen) - 1)]]


def lines_of(path: Path) -> list[bytes]:
    """Lines as `logd produce` reads them."""
    lines = path.read_bytes().split(b"\n")
    return lines if lines[-1] else lines[:-1]


def line_of(record: dict[str, Any]) -> bytes:
    """The line that a record was made of: its key, a blank and its value."""
    value = (record["payload"] or "").encode()
    return value if record["key"] is None else record["key"].encode() + b" " + value


def records_of(output: str) -> list[dict[str, Any]]:
    """What `consume -J` printed."""
    return [json.loads(line) for line in output.splitlines()]


def in_order(records: Sequence[dict[str, Any]]) -> bool:
    """Whether every partition's offsets follow each other without a gap."""
    offsets: dict[object, list[object]] = defaultdict(list)
    for record in records:
        offsets[record["partition"]].append(record["offset"])
    return all(found == list(range(len(found))) for found in offsets.values())


def produce_and_consume(terminal: Terminal, logd: Logd, first: Path) -> str:
    """Create, produce, consume; returns the first read as JSON lines."""
    terminal.heading("A topic with three partitions")
    logd.run("topic", "create", TOPIC, "--partitions", "3")
    terminal.heading(f"Every line of {first}: the first word is the key, the rest the value")
    logd.run("produce", TOPIC, "-K", " ", "-l", str(first))
    terminal.heading("The last three records of each partition, and then all of them")
    logd.run("consume", TOPIC, "-e", "-o", "-3", "-f", "%t[%p]@%o  %k | %v\\n")
    everything = logd.run("consume", TOPIC, "-e", "-J", quiet=True)
    records = records_of(everything)
    expected = lines_of(first)
    check(
        sorted(map(line_of, records)) == sorted(expected),
        f"all {len(expected)} lines came back, byte for byte",
    )
    check(in_order(records), "offsets count up from 0 in each partition, without a gap")
    homes = defaultdict(set)
    for record in records:
        if record["key"] is not None:
            homes[record["key"]].add(record["partition"])
    check(all(len(home) == 1 for home in homes.values()), "the same key, the same partition")
    return everything


def replay(terminal: Terminal, logd: Logd, everything: str, second: Path) -> None:
    """Replay from an offset, then from a point in time."""
    records = records_of(everything)
    biggest = max(
        {record["partition"] for record in records},
        key=lambda number: sum(record["partition"] == number for record in records),
    )
    held = [record for record in records if record["partition"] == biggest]
    start = len(held) // 2
    terminal.heading(f"Replay: partition {biggest} again, from offset {start} on")
    shape = ("-f", "@%o %k %v\\n")
    output = logd.run("consume", TOPIC, "-p", str(biggest), "-o", str(start), "-n", "3", *shape)
    expected = b"".join(
        b"@%d %s %s\n"
        % (
            start + index,
            (record["key"] or "").encode(),
            (record["payload"] or "").encode(),
        )
        for index, record in enumerate(held[start : start + 3])
    )
    check(output.encode() == expected, "exactly the records that were there before")

    terminal.heading("Replay from a time: note the clock, write more, read from that moment on")
    time.sleep(0.02)
    moment_ms = int(time.time() * 1000)
    time.sleep(0.02)
    print(f"  it is {moment_ms} ms since 1970")
    logd.run("produce", TOPIC, "-K", " ", "-l", str(second))
    later = logd.run("consume", TOPIC, "-o", f"@{moment_ms}:end", "-J", quiet=True)
    logd.run("consume", TOPIC, "-o", f"@{moment_ms}:end", "-n", "3", *shape)
    check(
        sorted(map(line_of, records_of(later))) == sorted(lines_of(second)),
        f"from that moment on exactly the {len(lines_of(second))} lines of {second.name}",
    )


def describe(terminal: Terminal, logd: Logd, first: Path, second: Path) -> None:
    """Describe the topic, for people and for programs."""
    terminal.heading("What the topic looks like now")
    logd.show("topic", "describe", TOPIC, "--summary", "--partitions")
    described = json.loads(logd.run("topic", "describe", TOPIC, "-F", "json", quiet=True))
    ends = sum(item["end_offset"] for item in described["partitions"])
    check(
        ends == len(lines_of(first)) + len(lines_of(second)),
        f"the end offsets add up to {ends}, the lines of both files",
    )


def ten_lines(terminal: Terminal, logd: Logd) -> None:
    """Run the ten lines that are printed at the end, against this node."""
    terminal.heading("The same from Python (the ten lines that follow below)")
    address = logd.environment["LOGD_BOOTSTRAP"]
    done = subprocess.run(
        [sys.executable, "-c", TEN_LINES.replace("localhost:7171", address)],
        env=logd.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    terminal.output(output + done.stderr.decode(errors="replace"))
    check(
        done.returncode == 0 and "offset 0" in output and "value=b'hello'" in output,
        "written at offset 0 and read back",
    )


def stop_and_verify(
    terminal: Terminal, logd: Logd, node: subprocess.Popen[bytes], data: Path
) -> None:
    """Stop the node and check every byte of its folder offline."""
    terminal.heading("Stop the node, and check every batch in its folder")
    node.send_signal(signal.SIGTERM)
    code = node.wait(30)
    check(code == 0, "the node stopped in good order")
    logd.run("log", "verify", str(data))


def farewell() -> None:
    """How to go on."""
    bin_dir = Path(sys.executable).parent
    print(f"""
Everything was as it must be, and nothing is left behind. To go on by yourself:

  export PATH="{bin_dir}:$PATH"       # puts `logd` onto the PATH

  logd serve --dev                     # a node of your own; leave it running, and elsewhere:
  echo hello | logd produce greetings
  logd consume greetings -e

Ten lines of Python ({bin_dir / "python"} knows logd_client):
""")
    print("".join(f"  {line}".rstrip() + "\n" for line in TEN_LINES.splitlines()))


def run() -> None:
    """The whole demo; raises DemoError."""
    terminal = Terminal()
    first, second = choose_sources()
    with tempfile.TemporaryDirectory(prefix="logd-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port = free_port()
        logd = Logd(terminal, folder, port)
        data, log = folder / "data", folder / "node.log"
        terminal.heading("A node in a temporary folder")
        print(f"  export LOGD_BOOTSTRAP={logd.environment['LOGD_BOOTSTRAP']}")
        serve = ["serve", "--dev", "--data-dir", str(data), "--port", str(port)]
        node = logd.start(*serve, log=log)
        try:
            wait_until_ready(node, port, log)
            everything = produce_and_consume(terminal, logd, first)
            replay(terminal, logd, everything, second)
            describe(terminal, logd, first, second)
            ten_lines(terminal, logd)
            stop_and_verify(terminal, logd, node, data)
        finally:
            if node.poll() is None:
                node.kill()
                node.wait()
    farewell()


def main() -> None:
    """Run the demo and end with the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        run()
    except (DemoError, OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
