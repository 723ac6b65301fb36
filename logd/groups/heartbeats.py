"""What is refused of a heartbeat, and the member that a heartbeat describes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from logd_wire.errors import (
    ErrorCode,
    InstanceIdError,
    InvalidGroupError,
    InvalidRequestError,
)

from logd.groups.assignors import ASSIGNORS, UNIFORM
from logd.groups.group import Group
from logd.groups.records import MemberKept
from logd.groups.requests import JOINING, LEAVING_STATIC, Heartbeat
from logd.groups.settings import GroupSettings
from logd.groups.subscriptions import Subscriptions
from logd.model.names import INTERNAL_PREFIX, check_topic_name

GROUP_ID_CHARACTERS_MAX: Final = 249
MEMBER_ID_CHARACTERS_MAX: Final = 249
PATTERN_CHARACTERS_MAX: Final = 1_000


def check_group_id(group_id: str) -> None:
    """Raise InvalidGroupError unless a group may be called so."""
    if not group_id.strip() or len(group_id) > GROUP_ID_CHARACTERS_MAX:
        raise InvalidGroupError(
            f"{group_id[:64]!r} cannot name a group",
            hint=f"use 1 to {GROUP_ID_CHARACTERS_MAX} characters, not only spaces",
        )


def check_heartbeat(request: Heartbeat, settings: GroupSettings, known: Subscriptions) -> None:
    """Raise InvalidGroupError or InvalidRequestError for what no member says."""
    check_group_id(request.group_id)
    if not 1 <= len(request.member_id) <= MEMBER_ID_CHARACTERS_MAX:
        raise InvalidRequestError("a member id has 1 to 249 characters")
    if request.member_epoch < LEAVING_STATIC:
        raise InvalidRequestError(f"no member is in epoch {request.member_epoch}")
    if request.instance_id is not None and not 1 <= len(request.instance_id) <= 249:
        raise InvalidRequestError("an instance id has 1 to 249 characters")
    if request.topics is not None and len(request.topics) > settings.topics_max:
        raise InvalidRequestError(
            f"a subscription to {len(request.topics)} topics",
            hint=f"name {settings.topics_max} at most, or use a pattern",
        )
    for name in request.topics or ():
        check_topic_name(name.removeprefix(INTERNAL_PREFIX))
    if request.pattern:
        _check_pattern(request.pattern, known)
    if request.assignor is not None and request.assignor not in ASSIGNORS:
        raise InvalidGroupError(
            f"there is no assignor {request.assignor[:64]!r}",
            hint=f"use one of {', '.join(ASSIGNORS)}",
            code=ErrorCode.UNSUPPORTED_ASSIGNOR,
        )
    if request.member_epoch == JOINING:
        _check_joining(request, settings)


def _check_pattern(pattern: str, known: Subscriptions) -> None:
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise InvalidGroupError(
            f"a pattern of {len(pattern)} characters",
            hint=f"it has {PATTERN_CHARACTERS_MAX} at most",
            code=ErrorCode.INVALID_PATTERN,
        )
    known.check_pattern(pattern)


def _check_joining(request: Heartbeat, settings: GroupSettings) -> None:
    if request.owned:
        raise InvalidRequestError(
            "a member that joins says that it holds partitions",
            hint="it gives up everything before it joins",
        )
    session_ms = request.session_timeout_ms
    low, high = settings.session_timeout_ms_min, settings.session_timeout_ms_max
    if session_ms and not low <= session_ms <= high:
        raise InvalidRequestError(
            f"session_timeout_ms {session_ms}", hint=f"this node takes {low} to {high}"
        )
    low, high = settings.rebalance_timeout_ms_min, settings.rebalance_timeout_ms_max
    if not low <= request.rebalance_timeout_ms <= high:
        raise InvalidRequestError(
            f"rebalance_timeout_ms {request.rebalance_timeout_ms}",
            hint=f"this node takes {low} to {high}",
        )


def joining_member(request: Heartbeat, settings: GroupSettings) -> MemberKept:
    """The member that joins with this heartbeat; InvalidRequestError: it reads nothing."""
    member = MemberKept(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.instance_id or "",
        rack=request.rack or "",
        client_id=request.client_id,
        client_host=request.client_host,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        session_timeout_ms=request.session_timeout_ms or settings.session_timeout_ms_default,
        topics=_names(request.topics or ()),
        pattern=request.pattern or "",
        assignor=request.assignor or UNIFORM,
    )
    return _that_reads(member)


def described_anew(member: MemberKept, request: Heartbeat) -> MemberKept:
    """The member after what it says of itself; the same object when nothing is new."""
    topics, pattern, assignor = request.topics, request.pattern, request.assignor
    if topics is None and pattern is None and assignor is None:
        return member
    described = replace(
        member,
        topics=member.topics if topics is None else _names(topics),
        pattern=member.pattern if pattern is None else pattern,
        assignor=member.assignor if assignor is None else assignor,
    )
    return member if described == member else _that_reads(described)


def check_instance(group: Group, request: Heartbeat) -> None:
    """Raise InstanceIdError where another member took the place of this one, and
    InvalidRequestError where it calls itself otherwise than when it joined."""
    instance_id = request.instance_id
    if instance_id is None:
        return
    holder = group.instances.get(instance_id)
    if holder is not None and holder != request.member_id:
        raise InstanceIdError(
            f"another consumer is {instance_id!r} by now",
            hint="stop one of the two, or give it another group_instance_id",
            code=ErrorCode.FENCED_INSTANCE_ID,
        )
    member = group.kept.get(request.member_id)
    if member is not None and member.instance_id != instance_id:
        raise InvalidRequestError(
            f"member {request.member_id!r} did not join as {instance_id!r}",
            hint="an instance id is fixed while a member is in the group",
        )


def unreleased(instance_id: str, session_timeout_ms: int) -> InstanceIdError:
    return InstanceIdError(
        f"another consumer is {instance_id!r} still",
        hint="it was not closed: it is taken for gone when it was silent for"
        f" {session_timeout_ms} ms; or two consumers use one group_instance_id",
        code=ErrorCode.UNRELEASED_INSTANCE_ID,
    )


def _names(topics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(topics)))


def _that_reads(member: MemberKept) -> MemberKept:
    if not member.topics and not member.pattern:
        raise InvalidRequestError(
            f"member {member.member_id!r} subscribes to nothing", hint="name a topic or a pattern"
        )
    return member
