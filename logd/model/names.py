"""Rules for topic names."""

from __future__ import annotations

import re
from typing import Final

from logd_wire.errors import InvalidRequestError, InvalidTopicNameError
from logd_wire.limits import TOPIC_NAME_CHARACTERS_MAX

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)
#: Topics of the system itself begin so.
INTERNAL_PREFIX: Final = "__"
#: What consumer groups keep: members, assignments, committed offsets.
GROUP_TOPIC: Final = "__consumer_offsets"
_RULE: Final = f"use 1 to {TOPIC_NAME_CHARACTERS_MAX} characters of a-z A-Z 0-9 . _ -"


def is_internal(name: str) -> bool:
    """Whether this is the name of a topic of the system itself."""
    return name.startswith(INTERNAL_PREFIX)


def check_topic_name(name: str) -> None:
    """Raise InvalidTopicNameError unless a user may name a topic so."""
    if not name:
        raise InvalidTopicNameError("a topic name is empty", hint=_RULE)
    if len(name) > TOPIC_NAME_CHARACTERS_MAX:
        raise InvalidTopicNameError(
            f"topic name {_shown(name)} has {len(name)} characters", hint=_RULE
        )
    if name in {".", ".."} or _NAME.fullmatch(name) is None:
        raise InvalidTopicNameError(f"{_shown(name)} cannot name a topic", hint=_RULE)
    if is_internal(name):
        raise InvalidTopicNameError(
            f"topic name {_shown(name)} begins with {INTERNAL_PREFIX}",
            hint="such names are kept for the system itself",
        )


def check_not_internal(name: str, what: str) -> None:
    """Raise InvalidRequestError for a topic of the system itself; `what` is not done to it."""
    if is_internal(name):
        raise InvalidRequestError(
            f"topic {_shown(name)} is the system's own and cannot be {what}",
            hint="only the nodes write and shape it; it can be described and consumed",
        )


def collision_key(name: str) -> str:
    """Return what two topic names may not share: names that differ only in `.` and `_` collide.

    They would fall together where a name becomes part of a metric's name.
    """
    return name.replace(".", "_")


def _shown(name: str) -> str:
    """Return the name for a message: escaped, and cut when long."""
    return ascii(name if len(name) <= 64 else name[:61] + "...")
