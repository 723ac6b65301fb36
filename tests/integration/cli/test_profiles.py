"""Profiles, and where a setting comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logd_wire.errors import ConfigError

from logd.cli.options import Invocation
from logd.cli.profile_file import (
    Profiles,
    Scalar,
    config_path,
    load_profiles,
    render_profiles,
    save_profiles,
)
from logd.cli.settings import client_settings


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/nowhere"}


def saved(environ: dict[str, str], **profiles: dict[str, Scalar]) -> None:
    save_profiles(config_path(environ), Profiles("home", dict(profiles)))


def test_where_the_file_is() -> None:
    assert config_path({"HOME": "/h"}) == Path("/h/.config/logd/config.toml")
    assert config_path({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/logd/config.toml")
    assert config_path({"LOGD_CONFIG": "/c.toml"}) == Path("/c.toml")


def test_without_anything_the_default(environ: dict[str, str]) -> None:
    settings = client_settings(Invocation(environ=environ))
    assert (settings.bootstrap, settings.bootstrap_source) == ("localhost:7171", "default")
    assert settings.profile is None
    assert not settings.properties


def test_flag_before_environment_before_profile(environ: dict[str, str]) -> None:
    saved(environ, home={"bootstrap": "p:1", "linger.ms": 1, "acks": "1", "batch_size": 7})
    settings = client_settings(Invocation(environ=environ))
    assert (settings.bootstrap, settings.bootstrap_source) == ("p:1", "profile home")
    environ |= {"LOGD_BOOTSTRAP": "e:1", "LOGD_LINGER_MS": "2", "LOGD__NODE__ID": "9"}
    settings = client_settings(Invocation(environ=environ))
    assert (settings.bootstrap, settings.bootstrap_source) == ("e:1", "env LOGD_BOOTSTRAP")
    assert settings.properties["linger_ms"] == ("2", "env LOGD_LINGER_MS")
    assert settings.properties["acks"] == ("1", "profile home")
    assert settings.properties["batch_size"] == (7, "profile home")
    assert not any("node" in name for name in settings.properties)
    given = Invocation(bootstrap="f:1", properties={"linger.ms": "3"}, environ=environ)
    settings = client_settings(given)
    assert (settings.bootstrap, settings.bootstrap_source) == ("f:1", "flag --bootstrap")
    assert settings.properties["linger_ms"] == ("3", "flag -X")


def test_bootstrap_has_other_names(environ: dict[str, str]) -> None:
    by_flag = Invocation(properties={"bootstrap.servers": "x:1"}, environ=environ)
    assert client_settings(by_flag).bootstrap == "x:1"
    saved(environ, home={"bootstrap.servers": "p:1"})
    assert client_settings(Invocation(environ=environ)).bootstrap == "p:1"


def test_the_chosen_profile(environ: dict[str, str]) -> None:
    saved(environ, home={"bootstrap": "h:1"}, prod={"bootstrap": "p:1"})
    assert client_settings(Invocation(environ=environ)).bootstrap == "h:1"
    environ["LOGD_PROFILE"] = "prod"
    assert client_settings(Invocation(environ=environ)).bootstrap == "p:1"
    assert client_settings(Invocation(profile="home", environ=environ)).bootstrap == "h:1"
    with pytest.raises(ConfigError, match=r"'prd', chosen by --profile.*did you mean 'prod'"):
        client_settings(Invocation(profile="prd", environ=environ))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "not valid TOML"),
        ("profile = 1", "unknown key 'profile'"),
        ("current = 1", "`current` is a name"),
        ("[profiles]\na = 1", "'a' is not a table"),
        ("[profiles.a.b]\nc = 1", "not text, a number"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)


_NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,9}", fullmatch=True)
_SCALARS = st.text().filter(lambda text: "\x7f" not in text and text.isprintable())


@settings(max_examples=50)
@given(
    st.dictionaries(
        _NAMES,
        st.dictionaries(
            st.from_regex(r"[a-z.]{1,9}", fullmatch=True),
            _SCALARS | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(-1e9, 1e9),
        ),
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, profiles: dict[str, dict[str, Scalar]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(render_profiles(Profiles("a", profiles)), encoding="utf-8")
    assert load_profiles(path) == Profiles("a", profiles)
