"""`logd profile …`."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from logd_wire.errors import ConfigError

from logd.cli.options import Command, Invocation, group, invocation_of
from logd.cli.output import emit
from logd.cli.profile_file import (
    Profiles,
    Scalar,
    check_profile_name,
    config_path,
    load_profiles,
    profile_names,
    save_profiles,
)
from logd.cli.settings import client_settings

app = group(
    "Named sets of connection settings, in ~/.config/logd/config.toml.",
    name="profile",
)

ProfileName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=profile_names)]


def _load(invocation: Invocation) -> tuple[Path, Profiles]:
    path = config_path(invocation.environ)
    return path, load_profiles(path)


@app.command("list", cls=Command, help="List the profiles; * marks the one in use.")
def list_profiles(ctx: typer.Context) -> None:
    invocation = invocation_of(ctx)
    _path, profiles = _load(invocation)
    document = [
        {"name": name, "current": name == profiles.current, "settings": settings}
        for name, settings in sorted(profiles.profiles.items())
    ]
    rows = [
        ["*" if name == profiles.current else "", name, str(settings.get("bootstrap", "-"))]
        for name, settings in sorted(profiles.profiles.items())
    ]
    emit(
        invocation,
        document=document,
        tables=[("profiles", ["USED", "NAME", "BOOTSTRAP"], rows)],
        names=sorted(profiles.profiles),
    )


@app.command("use", cls=Command, help="Use this profile from now on.")
def use(ctx: typer.Context, name: ProfileName) -> None:
    invocation = invocation_of(ctx)
    path, profiles = _load(invocation)
    profiles.named(name, where="the command")
    profiles.current = name
    save_profiles(path, profiles)
    invocation.say(f"profile {name} is in use")


SHOW_HELP = """Show the settings in force, each with where it comes from.

With NAME: what that profile holds.
"""


@app.command("show", cls=Command, help=SHOW_HELP)
def show(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", autocompletion=profile_names)
    ] = None,
) -> None:
    invocation = invocation_of(ctx)
    path, profiles = _load(invocation)
    if name is not None:
        held = sorted(profiles.named(name, where="the command").items())
        entries: list[tuple[str, Scalar, str]] = [(key, value, str(path)) for key, value in held]
    else:
        settings = client_settings(invocation)
        entries = [("bootstrap", settings.bootstrap, settings.bootstrap_source)]
        entries += [
            (key.replace("_", "."), value, source)
            for key, (value, source) in sorted(settings.properties.items())
            if not source.startswith("env") or key not in ("profile", "config")
        ]
    emit(
        invocation,
        document={key: {"value": value, "source": source} for key, value, source in entries},
        tables=[("settings", ["KEY", "VALUE", "SOURCE"], entries)],
        names=[key for key, _value, _source in entries],
    )


SET_HELP = """Set values of a profile; it is made when it does not exist. KEY= removes a key.

The file is written anew: comments in it are lost.

\b
Examples:
  logd profile set prod bootstrap=node1:7171,node2:7171
  logd profile set prod linger.ms=20 compression.type=zstd
"""


@app.command("set", cls=Command, help=SET_HELP)
def set_values(
    ctx: typer.Context,
    name: ProfileName,
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE")],
) -> None:
    invocation = invocation_of(ctx)
    path, profiles = _load(invocation)
    settings = profiles.profiles.setdefault(check_profile_name(name), {})
    for item in pairs:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise ConfigError(f"{item!r} is not KEY=VALUE", hint="as in bootstrap=node1:7171")
        if value:
            settings[key] = value
        else:
            settings.pop(key, None)
    save_profiles(path, profiles)
    invocation.say(f"profile {name} saved in {path}")


@app.command("edit", cls=Command, help="Open the file in $VISUAL or $EDITOR.")
def edit(ctx: typer.Context) -> None:
    invocation = invocation_of(ctx)
    path = config_path(invocation.environ)
    editor = invocation.environ.get("VISUAL") or invocation.environ.get("EDITOR") or "vi"
    if not path.exists():
        save_profiles(path, Profiles())
    try:
        code = subprocess.run([*shlex.split(editor), os.fspath(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot start the editor {editor!r}: {error}", hint="set EDITOR, or edit " + str(path)
        ) from None
    if code:
        raise ConfigError(f"the editor {editor!r} ended with code {code}")
    load_profiles(path)
