"""The configuration file with its profiles."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logd_wire.errors import ConfigError, LogdError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Scalar = str | int | float | bool


@dataclass
class Profiles:
    """What the configuration file holds: profiles by name, and which one is in use."""

    current: str | None = None
    profiles: dict[str, dict[str, Scalar]] = field(default_factory=dict)

    def named(self, name: str, *, where: str) -> dict[str, Scalar]:
        """The settings of one profile. Raises ConfigError with a suggestion."""
        if name in self.profiles:
            return self.profiles[name]
        close = difflib.get_close_matches(name, self.profiles, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see `logd profile list`"
        raise ConfigError(f"profile {name!r}, chosen by {where}, does not exist", hint=hint)


def config_path(environ: Mapping[str, str]) -> Path:
    """`$LOGD_CONFIG`, else `$XDG_CONFIG_HOME/logd/config.toml`, else below `~/.config`."""
    if chosen := environ.get("LOGD_CONFIG"):
        return Path(chosen)
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".config"
    )
    return Path(base) / "logd" / "config.toml"


def load_profiles(path: Path) -> Profiles:
    """Read the file; a missing one is empty. Raises ConfigError that names the file."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", hint="see `logd profile edit`"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return _checked(document, path)


def _checked(document: dict[str, Any], path: Path) -> Profiles:
    unknown = sorted(document.keys() - {"current", "profiles"})
    if unknown:
        raise ConfigError(
            f"{path}: unknown key {unknown[0]!r}",
            hint="it holds `current` and `[profiles.NAME]` sections",
        )
    current = document.get("current")
    profiles = document.get("profiles", {})
    if not isinstance(current, str | None) or not isinstance(profiles, dict):
        raise ConfigError(f"{path}: `current` is a name and `profiles` a table")
    for name, settings in profiles.items():
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: profile {name!r} is not a table")
        for key, value in settings.items():
            if not isinstance(value, str | int | float):
                raise ConfigError(
                    f"{path}: profile {name!r}: {key} is not text, a number or true/false",
                    hint=f'quote dotted names: "{key}" = …',
                )
    return Profiles(current=current, profiles=profiles)


def save_profiles(path: Path, profiles: Profiles) -> None:
    """Write the file in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(render_profiles(profiles), encoding="utf-8")
    temporary.replace(path)


def render_profiles(profiles: Profiles) -> str:
    """The file as TOML."""
    lines = []
    if profiles.current is not None:
        lines.append(f"current = {json.dumps(profiles.current)}")
    for name, settings in sorted(profiles.profiles.items()):
        lines += ["", f"[profiles.{_key(name)}]"]
        lines += [f"{_key(key)} = {_scalar(value)}" for key, value in sorted(settings.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def check_profile_name(name: str) -> str:
    """Return `name`. Raises ConfigError unless it is 1 to 64 of A-Z a-z 0-9 _ -."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not a profile name", hint="use 1 to 64 of A-Z a-z 0-9 _ -")
    return name


def profile_names(incomplete: str) -> list[str]:
    """Profiles that begin with what was typed, for completion: nothing where there is an error."""
    with contextlib.suppress(LogdError):
        names = load_profiles(config_path(os.environ)).profiles
        return sorted(name for name in names if name.startswith(incomplete))
    return []
