"""The root of the command tree, and the way out of it: one error line and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from logd import __version__
from logd.cli import (
    bench,
    cluster,
    consume,
    dev,
    get,
    log,
    node,
    produce,
    profile,
    raft,
    serve,
    topic,
)
from logd.cli import group as groups
from logd.cli.connect import stop_time_limit
from logd.cli.exits import EXIT_CODES_HELP, ExitCode, TimeLimitPassed, complain, report
from logd.cli.options import Command, Group, group, invocation_of

HELP = f"""logd: a partitioned, append-only log, with Kafka's model and Kafka's words.

\b
Begin with:
  logd serve --dev                      a node of your own, gone when it stops
  logd dev up                           or three of them, which stay
  echo hello | logd produce greetings
  logd consume greetings -e             read it, to the end
  logd COMMAND --help                   every command has examples

Data goes to stdout, everything else to stderr. Lists are tables on a terminal and tab-separated
otherwise; -F json is a stable interface. Settings: flag, then environment, then profile.

{EXIT_CODES_HELP}
"""


class Root(Group):
    """The group `logd`: turns every exception into one line and an exit code."""

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        code: Any
        try:
            code = super().main(
                args=args,
                prog_name=prog_name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        except typer.TyperException as error:
            code = _usage_error(error)
        code = code if isinstance(code, int) else ExitCode.OK
        if standalone_mode:
            sys.exit(int(code))
        return int(code)

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                super().invoke(ctx)
                sys.stdout.flush()
            finally:
                stop_time_limit()
        except (typer.TyperException, typer.Abort, typer.Exit, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            _reader_went_away()
        except (Exception, TimeLimitPassed) as error:
            raise typer.Exit(report(error, verbose=invocation_of(ctx).verbose)) from None


def _usage_error(error: typer.TyperException) -> int:
    """Say what is wrong with the arguments, in one line that names the help to read."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if "\n" in message and message.lstrip().startswith("Usage:"):
        print(message, file=sys.stderr)
    else:
        where = f" (see {context.command_path} --help)" if context is not None else ""
        complain(" ".join(message.split()).rstrip(".") + where)
    return int(getattr(error, "exit_code", ExitCode.USAGE))


def _reader_went_away() -> None:
    """Whoever read our output has had enough: be quiet, also when Python flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = group(HELP, name="logd", cls=Root)


def _show_version(value: bool) -> None:
    if value:
        print(f"logd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Carry the options of `logd` itself."""


VERSION_HELP = """Print the version of logd, and with -v those of what it stands on."""


def version(ctx: typer.Context) -> None:
    from logd.cli.output import emit

    invocation = invocation_of(ctx)
    if invocation.format is None and not invocation.verbose:
        print(f"logd {__version__}")
        return
    from logd.cli.machine import versions

    found = {"logd": __version__, **versions()}
    emit(
        invocation,
        document=found,
        tables=[("versions", ["PACKAGE", "VERSION"], list(found.items()))],
        names=list(found),
    )


app.command("serve", cls=Command, help=serve.HELP)(serve.serve)
app.command("produce", cls=Command, help=produce.HELP)(produce.produce)
app.command("consume", cls=Command, help=consume.HELP)(consume.consume)
app.command("get", cls=Command, help=get.HELP)(get.get)
app.command("version", cls=Command, help=VERSION_HELP)(version)
app.add_typer(dev.app, name="dev")
app.add_typer(topic.app, name="topic")
app.add_typer(groups.app, name="group")
app.add_typer(cluster.app, name="cluster")
app.add_typer(cluster.config_app, name="config")
app.add_typer(profile.app, name="profile")
app.add_typer(bench.app, name="bench")
app.add_typer(log.app, name="log")
app.add_typer(node.app, name="node")
app.add_typer(raft.app, name="raft")


def main() -> NoReturn:
    """Entry point of the command `logd`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character gets its escape, not an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    # What goes wrong is said once, by us; gRPC would add lines of its own to stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    app(prog_name="logd")
    raise AssertionError("a Typer application exits by itself")
