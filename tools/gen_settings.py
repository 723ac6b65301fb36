"""Write docs/settings.md from the tables of settings; with `--check` only compare."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from logd.model.node_settings import ALIASES, NODE_SETTINGS, environment_name
from logd.model.settings import Setting
from logd.model.topic_config import TOPIC_SETTINGS

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

_HEAD = """# Settings

Written by `python -m tools.gen_settings` from the tables in `logd/model`; do not edit.

Durations take `500ms`, `10s`, `5m`, `2h`, `7d`, sizes `64KiB`, `1GB`; plain numbers are
milliseconds and bytes, as in Kafka. *Dynamic* settings can be changed while they are in use.
"""

_NODE = """
## Node

From the highest to the lowest: flag, environment, file (`logd serve --config logd.toml`), default.
`logd serve --print-config` shows each value and where it comes from; an unknown name is an error.
In the environment a setting has the name that stands under its own.
"""

_ALIASES = """
These names of Kafka's, and of the sections of the file, mean the same:

"""

_TOPIC = """
## Topic

`logd topic create NAME -c name=value`, `logd topic alter NAME -c name=value`, and
`[topic_defaults]` in the file of the node.
"""


def render() -> str:
    """Return the text of the page."""
    node = _table(
        (f"`{setting.name}`<br>`{environment_name(setting.name)}`", setting)
        for _, setting in NODE_SETTINGS
    )
    topic = _table((f"`{setting.name}`", setting) for setting in TOPIC_SETTINGS)
    aliases = "".join(f"- `{alias}`: `{name}`\n" for alias, name in ALIASES.items())
    return "".join([_HEAD, _NODE, node, _ALIASES, aliases, _TOPIC, topic])


def _table(settings: Iterable[tuple[str, Setting]]) -> str:
    rows = ["\n| Name | Type | Default | Dynamic | Meaning |\n| --- | --- | --- | --- | --- |\n"]
    for name, setting in settings:
        kind = " or ".join(f"`{c}`" if c else "empty" for c in setting.choices)
        default = f"`{setting.default}`" if setting.default else "empty"
        dynamic = "yes" if setting.dynamic else "no"
        meaning = setting.doc.replace("|", "\\|")
        rows.append(
            f"| {name} | {kind or setting.kind.value} | {default} | {dynamic} | {meaning} |\n"
        )
    return "".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale")
    text = render()
    if parser.parse_args().check:
        if not TARGET.exists() or TARGET.read_text() != text:
            sys.exit("docs/settings.md is stale: run 'python -m tools.gen_settings'")
        return
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
