"""Which topics a member reads: names, and a pattern that the coordinator looks up itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from logd_wire.errors import InvalidGroupError

from logd.groups.records import MemberKept
from logd.model.ids import TopicId
from logd.model.names import is_internal


class Pattern(Protocol):
    """A compiled pattern, from an engine that takes time in proportion to the text."""

    def fullmatch(self, text: str, /) -> object:
        """Truthy when the whole text matches."""


#: Compiles a pattern; raises InvalidGroupError (INVALID_PATTERN) for what is none.
NewPattern = Callable[[str], Pattern]


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic as assignments need it."""

    topic_id: TopicId
    #: How many.
    partitions: int
    #: Racks that have a replica, for each partition; empty: not known.
    racks: tuple[frozenset[str], ...] = ()


#: By name.
Topics = Mapping[str, TopicView]
_NONE: Final[frozenset[str]] = frozenset()


class Subscriptions:
    """Topics as they are, and what each subscription comes to with them."""

    def __init__(self, new_pattern: NewPattern) -> None:
        self._new_pattern = new_pattern
        self._topics: Topics = {}
        self._names: dict[TopicId, str] = {}
        self._matching: dict[str, frozenset[str]] = {}
        self._known = False

    @property
    def known(self) -> bool:
        """Whether the topics were told at all."""
        return self._known

    @property
    def topics(self) -> Topics:
        return self._topics

    def changed(self, topics: Topics) -> frozenset[str]:
        """Names of topics that come, go, or are others than before."""
        before = self._topics
        names = (*before, *(name for name in topics if name not in before))
        return frozenset(name for name in names if before.get(name) != topics.get(name))

    def change(self, topics: Topics) -> None:
        """From now on the topics are these."""
        self._topics = dict(topics)
        self._names = {view.topic_id: name for name, view in topics.items()}
        self._matching.clear()
        self._known = True

    def name_of(self, topic_id: TopicId) -> str | None:
        """The topic's name; None: there is no such topic."""
        return self._names.get(topic_id)

    def view_of(self, topic_id: TopicId) -> TopicView | None:
        """The topic; None: there is no such topic."""
        name = self._names.get(topic_id)
        return None if name is None else self._topics[name]

    def check_pattern(self, pattern: str) -> None:
        """Raise InvalidGroupError unless this is a pattern."""
        if pattern not in self._matching:
            self._new_pattern(pattern)

    def of(self, member: MemberKept) -> frozenset[str]:
        """Names of topics that the member reads; those that do not exist yet included."""
        names = frozenset(member.topics)
        return names | self._matches(member.pattern) if member.pattern else names

    def _matches(self, pattern: str) -> frozenset[str]:
        found = self._matching.get(pattern)
        if found is None:
            found = self._matching[pattern] = self._search(pattern)
        return found

    def _search(self, pattern: str) -> frozenset[str]:
        try:
            compiled = self._new_pattern(pattern)
        except InvalidGroupError:
            # It was one when the member joined: by the engine of another version.
            return _NONE
        names = (name for name in self._topics if not is_internal(name))
        return frozenset(name for name in names if compiled.fullmatch(name))
