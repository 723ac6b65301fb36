"""`logd serve`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logd.cli.exits import UsageProblem
from logd.cli.options import Invocation, invocation_of

if TYPE_CHECKING:
    from logd.model.node_config import NodeConfig, NodeConfigEntry

HELP = """Run a node until Ctrl-C or SIGTERM.

Settings come from flags, then LOGD__SECTION__KEY variables, then the file, then the defaults;
--print-config shows each with its source.

\b
Examples:
  logd serve --dev                         a folder in /tmp, topics made when written to
  logd serve --dev --data-dir ./data       the same, and the data stays
  logd serve --config logd.toml
  LOGD__LISTENERS__GRPC=0.0.0.0:7171 logd serve --data-dir /var/lib/logd
  logd serve --config logd.toml --print-config
"""


def serve(
    ctx: typer.Context,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Configuration, TOML.")
    ] = None,
    node_id: Annotated[
        int | None, typer.Option("--node-id", min=0, metavar="N", help="Number of this node.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="Where everything is stored.")
    ] = None,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev",
            help="For development: a temporary folder unless --data-dir is given, and topics are "
            "created by producing to them.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="N", help="Port for clients; 0: a free one."
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print every setting with its source and stop.")
    ] = False,
) -> None:
    """Run a node until Ctrl-C or SIGTERM."""
    from logd.model.node_config import load_node_config

    invocation = invocation_of(ctx)
    flags = _flags(node_id=node_id, data_dir=data_dir, dev=dev)
    text = _read(config)
    if port is not None:
        before, _ = load_node_config(file_text=text, environ=invocation.environ, flags=flags)
        flags["listeners.grpc"] = _with_port(before.listeners.grpc, port)
    with contextlib.ExitStack() as stack:
        if dev and not print_config and not _data_dir_chosen(flags, text, invocation.environ):
            flags["node.data_dir"] = stack.enter_context(_temporary_folder())
        node_config, entries = load_node_config(
            file_text=text, environ=invocation.environ, flags=flags
        )
        if print_config:
            _print_config(invocation, entries)
        else:
            _run(invocation, node_config, entries)


def _flags(*, node_id: int | None, data_dir: str | None, dev: bool) -> dict[str, str]:
    flags = {}
    if node_id is not None:
        flags["node.id"] = str(node_id)
    if data_dir is not None:
        flags["node.data_dir"] = data_dir
    if dev:
        flags["auto.create.topics.enable"] = "true"
    return flags


def _read(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise UsageProblem(f"--config: {path} is not UTF-8 text") from None
    except OSError as error:
        raise UsageProblem(f"--config: cannot read {path}: {error.strerror}") from None


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"


def _data_dir_chosen(
    flags: Mapping[str, str], text: str | None, environ: Mapping[str, str]
) -> bool:
    from logd.model.node_config import load_node_config

    _config, entries = load_node_config(file_text=text, environ=environ, flags=flags)
    return any(entry.name == "node.data_dir" and entry.source != "default" for entry in entries)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="logd-dev-", ignore_cleanup_errors=True) as folder:
        yield folder


def _print_config(invocation: Invocation, entries: Sequence[NodeConfigEntry]) -> None:
    from logd.cli.output import emit

    emit(
        invocation,
        document={entry.name: {"value": entry.value, "source": entry.source} for entry in entries},
        tables=[
            (
                "config",
                ["KEY", "VALUE", "SOURCE"],
                [[entry.name, entry.value, entry.source] for entry in entries],
            )
        ],
        names=[entry.name for entry in entries],
    )


def _run(invocation: Invocation, config: NodeConfig, entries: Sequence[NodeConfigEntry]) -> None:
    from logd.app import serve as serve_node
    from logd.cli.logs import log_to_stderr

    log_to_stderr(invocation, node_id=config.node.id)
    os.umask(0o077)
    _runner()(serve_node(config, entries, ready=_print_address))


def _print_address(address: str) -> None:
    """The node's only line on stdout: where it answers, for scripts that asked for port 0."""
    print(address, flush=True)


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    """uvloop's `run` where it is installed, else asyncio's."""
    import asyncio
    from importlib import import_module

    with contextlib.suppress(ImportError):
        run: Callable[[Coroutine[Any, Any, None]], None] = import_module("uvloop").run
        return run
    return asyncio.run
