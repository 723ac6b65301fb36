from __future__ import annotations

from logd.model.node_settings import NODE_SETTINGS
from logd.model.settings import Setting
from logd.model.topic_config import TOPIC_SETTINGS
from tests.architecture.sources import ROOT
from tools import gen_settings

SETTINGS = [*TOPIC_SETTINGS, *(setting for _, setting in NODE_SETTINGS)]


def undocumented(setting: Setting) -> bool:
    """A meaning is a sentence, and not the name once more."""
    words = setting.doc.lower().rstrip(".").split()
    return len(words) < 3 or not setting.doc.endswith(".") or words == setting.name.split(".")


def test_every_setting_says_what_it_means() -> None:
    assert [setting.name for setting in SETTINGS if undocumented(setting)] == []


def test_an_undocumented_setting_is_seen() -> None:
    kind, good = TOPIC_SETTINGS[0].kind, "How many of them there may be."
    assert not undocumented(Setting("a.b.c", kind, "", good))
    for doc in ("", "The b.", "How many of them there may be", "A b c."):
        assert undocumented(Setting("a.b.c", kind, "", doc)), doc


def test_the_page_of_settings_is_up_to_date() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    assert page == gen_settings.render(), "run 'python -m tools.gen_settings'"
    for setting in SETTINGS:
        assert f"`{setting.name}`" in page
