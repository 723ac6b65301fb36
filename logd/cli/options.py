"""The global options, which every command takes before and after its name.

They are attached to every command and group by `Command` and `Group`, parsed where they stand,
and gathered in one `Invocation` for the whole run: what stands later wins, `-X` adds up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from logd.cli.times import parse_timeout_seconds


class Format(StrEnum):
    """How lists and descriptions are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass
class Invocation:
    """The global options of one run of `logd`."""

    bootstrap: str | None = None
    profile: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    format: Format | None = None
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    timeout_seconds: float | None = None
    yes: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def colored(self, stream: Any = None) -> bool:
        """Whether `stream` (stdout) may carry colour: a terminal, and nobody said no."""
        stream = sys.stdout if stream is None else stream
        return bool(stream.isatty()) and not (self.no_color or self.environ.get("NO_COLOR"))

    def say(self, message: str) -> None:
        """Tell the user something that is not data: stderr, silent with -q."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)


_META_KEY = "logd.cli.invocation"


def invocation_of(context: typer.Context) -> Invocation:
    """The invocation that `context` belongs to."""
    found = context.meta.setdefault(_META_KEY, Invocation())
    assert isinstance(found, Invocation)
    return found


def _store(name: str) -> Callable[[typer.Context, Any], None]:
    def callback(ctx: typer.Context, value: Any) -> None:
        if value is not None and value is not False:
            setattr(invocation_of(ctx), name, value)

    return callback


def _store_property(ctx: typer.Context, value: Any) -> None:
    for item in value or ():
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{item!r} is not KEY=VALUE, as in -X linger.ms=5")
        invocation_of(ctx).properties[key] = text


def _store_timeout(ctx: typer.Context, value: Any) -> None:
    if value is None:
        return
    try:
        invocation_of(ctx).timeout_seconds = parse_timeout_seconds(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _count_verbose(ctx: typer.Context, value: Any) -> None:
    invocation_of(ctx).verbose += value or 0


def _complete_profile(incomplete: str) -> list[str]:
    from logd.cli.profile_file import profile_names

    return profile_names(incomplete)


_Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        metavar="HOST:PORT[,…]",
        callback=_store("bootstrap"),
        expose_value=False,
        help="Nodes to connect to first. Env LOGD_BOOTSTRAP; else the profile's, else "
        "localhost:7171.",
    ),
]
_Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        callback=_store("profile"),
        expose_value=False,
        autocompletion=_complete_profile,
        help="Profile of the configuration file. Env LOGD_PROFILE.",
    ),
]
_Properties = Annotated[
    list[str] | None,
    typer.Option(
        "-X",
        metavar="KEY=VALUE",
        callback=_store_property,
        expose_value=False,
        help="Client setting, such as linger.ms=5; repeatable. Env LOGD_LINGER_MS.",
    ),
]
_Format = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-F",
        callback=_store("format"),
        expose_value=False,
        help="How to print. Default: a table on a terminal, else tab-separated.",
    ),
]
_Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_store("quiet"),
        expose_value=False,
        help="Only data and errors.",
    ),
]
_Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        callback=_count_verbose,
        expose_value=False,
        show_default=False,
        metavar="",
        help="Say more; -vv adds tracebacks and the client's log.",
    ),
]
_NoColor = Annotated[
    bool,
    typer.Option(
        "--no-color",
        callback=_store("no_color"),
        expose_value=False,
        help="No colour, as with env NO_COLOR.",
    ),
]
_Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        callback=_store_timeout,
        expose_value=False,
        help="Give up after so long (5, 500ms, 2m) with exit code 124.",
    ),
]
_Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        callback=_store("yes"),
        expose_value=False,
        help="Do it without asking: delete, move.",
    ),
]


def _declare(
    bootstrap: _Bootstrap = None,
    profile: _Profile = None,
    properties: _Properties = None,
    format_: _Format = None,
    quiet: _Quiet = False,
    verbose: _Verbose = 0,
    no_color: _NoColor = False,
    timeout: _Timeout = None,
    yes: _Yes = False,
) -> None:
    """Carry the declarations; never called."""


def _global_parameters() -> list[Any]:
    declaring = typer.Typer(add_completion=False)
    declaring.command()(_declare)
    return list(typer.main.get_command(declaring).params)


_GLOBAL_PARAMETERS = _global_parameters()
_GLOBAL_NAMES = frozenset(parameter.name for parameter in _GLOBAL_PARAMETERS)
_SECTION = "Global options, before or after the command"


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the command's own options first and the global ones in a section of their own."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], _SECTION: []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            sections["Arguments"].append(record)
        elif parameter.name in _GLOBAL_NAMES:
            sections[_SECTION].append(record)
        else:
            sections["Options"].append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


class Command(TyperCommand):
    """A command that also takes the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_GLOBAL_PARAMETERS]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _format_options(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands that also takes the global options."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params = [*self.params, *_GLOBAL_PARAMETERS]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def group(help_text: str, *, name: str | None = None, cls: type[Group] = Group) -> typer.Typer:
    """A Typer application whose groups and commands take the global options."""
    return typer.Typer(
        name=name,
        cls=cls,
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
