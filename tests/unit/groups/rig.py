"""A coordinator that replays what it decides, and says who holds what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from logd_wire.errors import ErrorCode, InvalidGroupError, LogdError

from logd.groups import (
    Commit,
    Decision,
    FetchOffsets,
    GroupRecord,
    Groups,
    GroupSettings,
    Heartbeat,
    HeartbeatReply,
    MemberDescription,
    OffsetToCommit,
    Partitions,
    Pattern,
    Topics,
    TopicView,
)
from logd.model.ids import TopicId, TopicPartitionId

R = TypeVar("R")
GROUP = "mailers"
SESSION_MS = 6_000
REBALANCE_MS = 10_000
SETTINGS = GroupSettings(members_max=50)


def topic_id(name: str, life: int = 0) -> TopicId:
    return TopicId(f"{name}#{life}".encode().ljust(16, b"."))


def topics(**partitions: int) -> dict[str, TopicView]:
    return {name: TopicView(topic_id(name), count) for name, count in partitions.items()}


def parts(name: str, *numbers: int) -> Partitions:
    return frozenset(TopicPartitionId(topic_id(name), number) for number in numbers)


def new_pattern(text: str) -> Pattern:
    """As the node's: RE2 in place of `re`."""
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidGroupError(str(error), code=ErrorCode.INVALID_PATTERN) from None


class Coordinator:
    """The machine, its log, and its clocks in milliseconds."""

    def __init__(
        self,
        known: Topics | None = None,
        *,
        log: Iterable[GroupRecord] = (),
        settings: GroupSettings = SETTINGS,
        now_ms: int = 0,
        wall_ms: int = 1_000_000,
    ) -> None:
        self.settings = settings
        self.topics: Mapping[str, TopicView] = topics(orders=4) if known is None else known
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.log = list(log)
        self.groups = Groups(settings, new_pattern=new_pattern)
        for record in self.log:
            self.groups.replay(record)
        self.groups.loaded(now_ms)
        self.change_topics(self.topics)

    def failed_over(self, log: Iterable[GroupRecord] | None = None) -> Coordinator:
        """Another coordinator of the same log, or of what compaction left of it."""
        return Coordinator(
            self.topics,
            log=self.log if log is None else log,
            settings=self.settings,
            now_ms=self.now_ms,
            wall_ms=self.wall_ms,
        )

    def take(self, decision: Decision[R]) -> R:
        for record in decision.records:
            self.log.append(record)
            self.groups.replay(record)
        return decision.reply

    def change_topics(self, known: Topics) -> None:
        self.topics = known
        self.take(self.groups.topics_changed(known, self.now_ms))

    def heartbeat(
        self, member_id: str, epoch: int = 0, *, group: str = GROUP, **said: Any
    ) -> HeartbeatReply:
        request = Heartbeat(group, member_id, epoch, **said)
        return self.take(self.groups.heartbeat(request, self.now_ms))

    def join(self, member_id: str, *names: str, group: str = GROUP, **said: Any) -> HeartbeatReply:
        return self.heartbeat(
            member_id,
            group=group,
            **{
                "topics": names or ("orders",),
                "session_timeout_ms": SESSION_MS,
                "rebalance_timeout_ms": REBALANCE_MS,
                **said,
            },
        )

    def stay(self, member_id: str, *, group: str = GROUP, **said: Any) -> HeartbeatReply:
        """A heartbeat with the newest epoch."""
        return self.heartbeat(member_id, self.member(member_id, group).member_epoch, **said)

    def settle(self, rounds: int = 4, *, but: Iterable[str] = ()) -> None:
        """Members do what they are told, until nothing is left to do."""
        for _ in range(rounds):
            for member in self.members():
                if member.member_id not in but and member.member_epoch > 0:
                    self.stay(member.member_id, owned=member.assigned)

    def after(self, ms: int) -> None:
        self.now_ms += ms
        self.wall_ms += ms
        self.tick()

    def tick(self) -> None:
        self.take(self.groups.tick(self.now_ms, self.wall_ms))

    def members(self, group: str = GROUP) -> tuple[MemberDescription, ...]:
        return self.groups.describe(group, self.now_ms).members

    def member(self, member_id: str, group: str = GROUP) -> MemberDescription:
        return next(each for each in self.members(group) if each.member_id == member_id)

    def holds(self, group: str = GROUP) -> dict[str, Partitions]:
        return {each.member_id: each.assigned for each in self.members(group)}

    def counts(self, group: str = GROUP) -> dict[str, int]:
        return {member_id: len(held) for member_id, held in self.holds(group).items()}

    def state(self, group: str = GROUP) -> str:
        return self.groups.describe(group, self.now_ms).state

    def commit(
        self,
        member_id: str,
        epoch: int,
        offset: int,
        *partitions: TopicPartitionId,
        **said: Any,
    ) -> tuple[LogdError | None, ...]:
        ends = said.pop("ends", None)
        group = said.pop("group", GROUP)
        asked = tuple(
            OffsetToCommit(each.topic_id, each.partition, offset, metadata=said.get("metadata", ""))
            for each in partitions or parts("orders", 0)
        )
        request = Commit(group, member_id, epoch, asked, sequence=said.get("sequence", 0))
        return self.take(self.groups.commit(request, self.wall_ms, ends))

    def offsets(self, group: str = GROUP) -> dict[TopicPartitionId, int]:
        stored = self.groups.fetch_offsets(FetchOffsets(group))
        return {TopicPartitionId(each.topic_id, each.partition): each.offset for each in stored}


def image(coordinator: Coordinator) -> object:
    """Everything that a log says, whatever coordinator read it."""
    groups = coordinator.groups
    listing = groups.listing()
    described = [groups.describe(each.group_id, 0) for each in listing]
    members = [
        (group.group_id, member.member_id, member.member_epoch, member.state, member.target)
        for group in described
        for member in group.members
    ]
    holds = [groups.assigned(each.group_id) for each in listing]
    offsets = [groups.fetch_offsets(FetchOffsets(each.group_id)) for each in listing]
    return listing, members, holds, offsets
