"""Where a run's client settings come from: flags, environment, profile, defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logd.cli.options import Invocation
from logd.cli.profile_file import Scalar, config_path, load_profiles

DEFAULT_BOOTSTRAP = "localhost:7171"


@dataclass(frozen=True)
class ClientSettings:
    """Where to connect and how, each with its source: flag, env, profile or default."""

    bootstrap: str
    bootstrap_source: str
    profile: str | None
    #: Client options by their name with underscores (`linger_ms`): (value, source).
    properties: Mapping[str, tuple[Scalar, str]]


def client_settings(invocation: Invocation) -> ClientSettings:
    """Join flags, environment and profile; the former wins over the latter."""
    environ = invocation.environ
    name, settings = _chosen_profile(invocation)
    properties: dict[str, tuple[Scalar, str]] = {}
    source = f"profile {name}"
    for key, value in settings.items():
        properties[_option_name(key)] = (value, source)
    for variable, text in environ.items():
        if variable.startswith("LOGD_") and not variable.startswith("LOGD__"):
            properties[variable[5:].lower()] = (text, f"env {variable}")
    for key, text in invocation.properties.items():
        properties[_option_name(key)] = (text, "flag -X")
    bootstrap, bootstrap_source = _bootstrap(invocation, properties)
    return ClientSettings(bootstrap, bootstrap_source, name, properties)


def _chosen_profile(invocation: Invocation) -> tuple[str | None, dict[str, Scalar]]:
    profiles = load_profiles(config_path(invocation.environ))
    if invocation.profile:
        name, where = invocation.profile, "--profile"
    elif invocation.environ.get("LOGD_PROFILE"):
        name, where = invocation.environ["LOGD_PROFILE"], "LOGD_PROFILE"
    elif profiles.current:
        name, where = profiles.current, str(config_path(invocation.environ))
    else:
        return None, {}
    return name, profiles.named(name, where=where)


def _bootstrap(
    invocation: Invocation, properties: dict[str, tuple[Scalar, str]]
) -> tuple[str, str]:
    """Take the bootstrap addresses, under each of their names, out of the properties."""
    given = [properties.pop("bootstrap", None), properties.pop("bootstrap_servers", None)]
    if invocation.bootstrap:
        return invocation.bootstrap, "flag --bootstrap"
    for source in ("flag", "env", "profile"):
        for found in given:
            if found is not None and found[0] and found[1].startswith(source):
                return str(found[0]), found[1]
    return DEFAULT_BOOTSTRAP, "default"


def _option_name(key: str) -> str:
    return key.strip().lower().replace(".", "_").replace("-", "_")
