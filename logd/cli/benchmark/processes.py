"""The processes a benchmark starts by itself: a node, and the two sides of the bare stream."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from logd_wire.errors import BootstrapError, LogdError, NetworkError

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def own_node(data_dir: str | None) -> Iterator[str]:
    """A node in a child process; yields `host:port` once it answers.

    Its folder is made inside `data_dir` (None: where temporary files go) and removed afterwards.
    """
    with tempfile.TemporaryDirectory(
        prefix="logd-bench-", dir=data_dir, ignore_cleanup_errors=True
    ) as folder:
        port = free_port()
        log_path = os.path.join(folder, "node.log")
        command = [sys.executable, "-m", "logd", "serve", "--port", str(port)]
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                [*command, "--data-dir", os.path.join(folder, "data")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until_it_answers(f"127.0.0.1:{port}", process, log_path)
            yield f"127.0.0.1:{port}"
        finally:
            stop(process)


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log_path: str) -> None:
    """Return when the node at `address` describes its cluster; raises when it does not come up."""
    from logd_client import Admin

    deadline = time.monotonic() + _START_SECONDS
    while True:
        if process.poll() is not None:
            raise BootstrapError(
                f"the node ended with code {process.returncode}: {_last_line(log_path)}"
            )
        try:
            with socket.create_connection(tuple_of(address), timeout=1):
                pass
            with Admin(address) as admin:
                admin.describe_cluster()
                return
        except (OSError, BootstrapError, NetworkError) as error:
            if time.monotonic() > deadline:
                raise BootstrapError(
                    f"the node at {address} did not answer within {_START_SECONDS:g} s: {error}"
                ) from None
            time.sleep(0.05)


def tuple_of(address: str) -> tuple[str, int]:
    """`host:port` as a pair."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def _last_line(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
        text = [line.strip() for line in lines if line.strip()]
        return text[-1] if text else "it wrote nothing"
    return "its output is lost"


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when that does not end it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bare_messages_per_second(way: str, form: str, message_bytes: int, messages: int) -> float:
    """Throughput of the bare stream: `way` is `push` (client to server) or `pull`, `form` is
    `messages` or `bytes`."""
    module = [sys.executable, "-m", "logd.cli.benchmark.bare"]
    server = subprocess.Popen([*module, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        done = subprocess.run(
            [*module, way, form, port, str(message_bytes), str(messages)],
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise LogdError(f"the bare stream's client ended with code {done.returncode}")
        return messages / float(done.stdout)
    finally:
        server.communicate()
