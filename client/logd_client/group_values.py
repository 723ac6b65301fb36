"""Consumer groups as the admin client tells of them."""

from __future__ import annotations

from dataclasses import dataclass

from logd_client.values import TopicPartition


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """One group in brief. `state`: `empty`, `assigning`, `reconciling` or `stable`."""

    group_id: str
    state: str
    members: int
    group_epoch: int


@dataclass(frozen=True, slots=True)
class GroupMemberInfo:
    """One member. It may hold what is `assigned`, has to give up what is `revoking`, and shall hold
    `target` in the end. `silent_ms`: since it was last heard; None: not since its coordinator took
    over."""

    member_id: str
    instance_id: str | None
    rack: str
    client_id: str
    client_host: str
    epoch: int
    state: str
    topics: tuple[str, ...]
    pattern: str
    assigned: tuple[TopicPartition, ...]
    revoking: tuple[TopicPartition, ...]
    target: tuple[TopicPartition, ...]
    session_timeout_ms: int
    rebalance_timeout_ms: int
    silent_ms: int | None


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One group, whole. `coordinator`: the node that answered."""

    group_id: str
    state: str
    group_epoch: int
    assignment_epoch: int
    assignor: str
    members: tuple[GroupMemberInfo, ...]
    coordinator: int


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind in one partition; None: nobody knows.

    `lag_ms` is now minus the append time of the first unfinished record, 0 when there is none.
    `error` says why the partition's leader could not be asked.
    """

    partition: TopicPartition
    member_id: str
    committed: int | None
    start_offset: int | None
    end_offset: int | None
    records: int | None
    lag_ms: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class OffsetChange:
    """Where a group went on with a partition before, None: nowhere, and where it does now."""

    partition: TopicPartition
    before: int | None
    after: int
