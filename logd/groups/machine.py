"""The groups' machine: judges what members, consumers and operators ask, and replays decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidGroupError,
    InvalidRequestError,
)

from logd.groups.descriptions import described, listed
from logd.groups.group import Group
from logd.groups.heartbeats import (
    check_group_id,
    check_heartbeat,
    check_instance,
    described_anew,
    joining_member,
    unreleased,
)
from logd.groups.membership import (
    Draft,
    describe_anew,
    join,
    remove,
    retarget,
    take_place,
    targets_of,
)
from logd.groups.offsets import (
    Committer,
    Ends,
    Offsets,
    Outcomes,
    fenced,
    unknown_member,
)
from logd.groups.reconcile import NOTHING, advanced, gone_for_now
from logd.groups.records import (
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupKey,
    GroupRecord,
    MemberKept,
    MemberKey,
    MemberState,
    OffsetCommitted,
    OffsetKey,
    TargetEpochKey,
)
from logd.groups.requests import (
    JOINING,
    LEAVING,
    LEAVING_STATIC,
    Commit,
    Decision,
    FetchOffsets,
    GroupDescription,
    GroupListing,
    Heartbeat,
    HeartbeatReply,
)
from logd.groups.settings import GroupSettings
from logd.groups.subscriptions import NewPattern, Subscriptions, Topics
from logd.groups.watches import Watches
from logd.model.ids import TopicPartitionId


class Groups:
    """The groups of one partition of `__consumer_offsets`. One caller at a time."""

    def __init__(self, settings: GroupSettings, *, new_pattern: NewPattern) -> None:
        self._settings = settings
        self._subscriptions = Subscriptions(new_pattern)
        self._groups: dict[str, Group] = {}
        self._offsets = Offsets()
        self._committer = Committer(settings, self._subscriptions, self._offsets)
        self._watches = Watches()
        #: Groups without members whose log does not say since when.
        self._emptied: set[str] = set()
        #: Groups whose targets may not fit the topics.
        self._affected: set[str] = set()
        #: Whether there may be offsets of topics that are gone.
        self._offsets_of_gone = True
        self._expiry_ms: int | None = None

    # --- the log ---------------------------------------------------------------------------------

    def replay(self, record: GroupRecord) -> None:
        """Take in a record; raises InconsistentLogError."""
        if isinstance(record, OffsetCommitted):
            self._offsets.apply(record)
        elif isinstance(record, Forgotten) and isinstance(record.key, OffsetKey):
            self._offsets.forget(record.key)
        else:
            group_id = record.key.group_id if isinstance(record, Forgotten) else record.group_id
            group = self._groups.get(group_id)
            if group is None:
                group = self._groups[group_id] = Group(group_id)
            group.apply(record)
            self._look_at(group, record)

    def _look_at(self, group: Group, record: GroupRecord) -> None:
        group_id = group.group_id
        if isinstance(record, Forgotten) and isinstance(record.key, MemberKey):
            self._watches.end(group_id, record.key.member_id)
        if isinstance(record, MemberKept | GroupEpoch) or not group.kept:
            if not group.kept and group.epoch and group.empty_since_ms < 0:
                self._emptied.add(group_id)
            else:
                self._emptied.discard(group_id)
        if group.vacant:
            del self._groups[group_id]

    def loaded(self, now_ms: int) -> None:
        """The log was replayed to its end: every session and every time to give up begins anew."""
        for group in self._groups.values():
            for member in group.kept.values():
                self._watches.begin(member, now_ms, heard=False)
            self._look_at_debts(group, now_ms)
        self._expiry_ms = now_ms + self._settings.expiry_interval_ms

    def topics_changed(self, topics: Topics, now_ms: int) -> Decision[None]:
        """The topics are these, of all the cluster. Nobody is answered before this was called once,
        with metadata no older than those that made this node the coordinator: what is not in them
        is taken for deleted. The first call also completes what an earlier coordinator left half
        done. A decision that did not come into the log is made again by the next call."""
        known, subscriptions = self._subscriptions.known, self._subscriptions
        changed = subscriptions.changed(topics)
        self._affected.update(self._reading(changed) if known else self._groups)
        subscriptions.change(topics)
        self._affected.update(self._reading(changed))
        records: list[GroupRecord] = []
        if changed or self._offsets_of_gone:
            records.extend(self._committer.gone())
            self._offsets_of_gone = bool(records)
        for group_id in sorted(self._affected):
            group = self._groups.get(group_id)
            if group is None:
                self._affected.discard(group_id)
            elif group.target_epoch != group.epoch or self._targets_differ(group):
                draft = Draft(group)
                retarget(draft, subscriptions)
                self._look_at_debts(draft.group, now_ms)
                records.extend(draft.records)
            else:
                self._affected.discard(group_id)
        return Decision(tuple(records), None)

    def _reading(self, changed: frozenset[str]) -> Iterator[str]:
        """Groups with a member that reads one of these topics."""
        of = self._subscriptions.of
        for group_id, group in self._groups.items():
            if changed and not all(changed.isdisjoint(of(each)) for each in group.kept.values()):
                yield group_id

    def _targets_differ(self, group: Group) -> bool:
        return targets_of(group, self._subscriptions) != group.targets

    # --- members ---------------------------------------------------------------------------------

    def heartbeat(self, request: Heartbeat, now_ms: int) -> Decision[HeartbeatReply]:
        """A member joins, stays or leaves. Raises RebalanceError, InvalidGroupError,
        InvalidRequestError; the group is the same afterwards."""
        self._check_topics_known()
        check_heartbeat(request, self._settings, self._subscriptions)
        if request.member_epoch == JOINING:
            return self._join(request, now_ms)
        if request.member_epoch in {LEAVING, LEAVING_STATIC}:
            return self._leave(request, now_ms)
        return self._stay(request, now_ms)

    def _stay(self, request: Heartbeat, now_ms: int) -> Decision[HeartbeatReply]:
        group, member, current = self._find(request)
        if group is None or member is None or current is None:
            raise unknown_member(request.member_id)
        if request.member_epoch != current.epoch:
            if request.member_epoch != current.previous_epoch or current.epoch == LEAVING_STATIC:
                raise fenced(request.member_id, request.member_epoch)
            # The answer did not reach it, or this is a late copy: it is told again, and what it
            # says does not count.
            self._check_hears(request, now_ms)
            self._watches.hear(request.group_id, request.member_id, now_ms)
            return Decision((), self._reply(request, member, current))
        self._watches.hear(request.group_id, request.member_id, now_ms)
        if current.state is MemberState.UNREVOKED:
            self._watches.told(member, now_ms)
        described = described_anew(member, request)
        if described is not member:
            draft = Draft(group)
            describe_anew(draft, described, request.owned, self._subscriptions)
            return self._decided(request, group, draft, now_ms)
        target = group.targets.get(member.member_id, NOTHING)
        epoch = group.highest_epoch + 1
        step = advanced(current, target, group.owners, owned=request.owned, epoch=epoch)
        if step is None:
            return Decision((), self._reply(request, member, current))
        self._watches.stepped(request.group_id, request.member_id)
        self._watches.owing(member, step, target, now_ms)
        return Decision((step,), self._reply(request, member, step))

    def _join(self, request: Heartbeat, now_ms: int) -> Decision[HeartbeatReply]:
        group, before, current = self._find(request, joining=True)
        group = group or Group(request.group_id)
        member = joining_member(request, self._settings)
        if before is not None and current is not None and current.epoch != LEAVING_STATIC:
            return self._join_again(request, group, member, now_ms)
        draft = Draft(group)
        old_id = group.instances.get(member.instance_id) if member.instance_id else None
        if old_id is not None and old_id != member.member_id:
            self._check_released(group, old_id)
            take_place(draft, member, old_id, self._subscriptions)
        else:
            self._check_room(group, member)
            join(draft, member, self._subscriptions)
        self._watches.begin(member, now_ms, heard=True)
        return self._decided(request, group, draft, now_ms)

    def _join_again(
        self, request: Heartbeat, group: Group, member: MemberKept, now_ms: int
    ) -> Decision[HeartbeatReply]:
        """A member joins that is in the group: it did not hear the answer, or it gave up waiting
        and everything it held, or this is a late copy. What it may hold stays its own, in a new
        epoch: what it said and committed before counts no longer."""
        check_instance(group, request)
        self._check_hears(request, now_ms)
        self._watches.begin(member, now_ms, heard=True)
        draft = Draft(group)
        describe_anew(draft, member, None, self._subscriptions)
        return self._decided(request, group, draft, now_ms)

    def _check_hears(self, request: Heartbeat, now_ms: int) -> None:
        if self._watches.is_deaf(request.group_id, request.member_id, now_ms):
            raise fenced(request.member_id, request.member_epoch)

    def _check_released(self, group: Group, old_id: str) -> None:
        old = group.current.get(old_id)
        if old is not None and old.epoch != LEAVING_STATIC:
            member = group.kept[old_id]
            raise unreleased(member.instance_id, member.session_timeout_ms)

    def _check_room(self, group: Group, member: MemberKept) -> None:
        if member.member_id not in group.kept and len(group.kept) >= self._settings.members_max:
            raise InvalidGroupError(
                f"group {group.group_id!r} has {group.members_in_words}",
                hint="the node's groups.members.max is reached",
                code=ErrorCode.GROUP_FULL,
            )

    def _leave(self, request: Heartbeat, now_ms: int) -> Decision[HeartbeatReply]:
        """Leaving again, or leaving what one is not in, changes nothing."""
        group, member, current = self._find(request)
        session_ms = self._settings.session_timeout_ms_default
        reply = HeartbeatReply(request.member_id, request.member_epoch, 0, session_ms)
        if group is None or member is None:
            return Decision((), reply)
        if request.member_epoch == LEAVING or current is None:
            draft = Draft(group)
            remove(draft, (request.member_id,), self._subscriptions)
            self._look_at_debts(draft.group, now_ms)
            return Decision(tuple(draft.records), reply)
        if not member.instance_id:
            raise InvalidRequestError(
                f"member {member.member_id!r} has no instance id, and cannot come back",
                hint="it leaves with epoch -1",
            )
        if current.epoch == LEAVING_STATIC:
            return Decision((), reply)
        target = group.targets.get(member.member_id, NOTHING)
        self._watches.hear(request.group_id, request.member_id, now_ms)
        gone = gone_for_now(current, target)
        self._watches.owing(member, gone, target, now_ms)
        return Decision((gone,), reply)

    def _find(
        self, request: Heartbeat, *, joining: bool = False
    ) -> tuple[Group | None, MemberKept | None, CurrentMember | None]:
        group = self._groups.get(request.group_id)
        if group is None:
            return None, None, None
        if request.instance_id is not None and not joining:
            check_instance(group, request)
        member_id = request.member_id
        return group, group.kept.get(member_id), group.current.get(member_id)

    def _decided(
        self, request: Heartbeat, group: Group, draft: Draft, now_ms: int
    ) -> Decision[HeartbeatReply]:
        member_id = request.member_id
        member, current = draft.group.kept[member_id], draft.group.current[member_id]
        self._watches.stepped(request.group_id, member_id)
        self._look_at_debts(draft.group, now_ms)
        return Decision(tuple(draft.records), self._reply(request, member, current))

    def _look_at_debts(self, group: Group, now_ms: int) -> None:
        for member_id, current in group.current.items():
            member = group.kept.get(member_id)
            if member is not None:
                target = group.targets.get(member_id, NOTHING)
                self._watches.owing(member, current, target, now_ms)

    def _reply(
        self, request: Heartbeat, member: MemberKept, current: CurrentMember
    ) -> HeartbeatReply:
        session_ms = member.session_timeout_ms
        return HeartbeatReply(
            member.member_id,
            current.epoch,
            self._settings.heartbeat_interval_ms(session_ms),
            session_ms,
            None if request.member_epoch == current.epoch else current.assigned,
        )

    def _check_topics_known(self) -> None:
        if not self._subscriptions.known:
            raise CoordinatorLoadingError("the coordinator does not know the topics yet")

    # --- offsets ---------------------------------------------------------------------------------

    def commit(self, request: Commit, wall_ms: int, ends: Ends | None = None) -> Decision[Outcomes]:
        """Store offsets; one outcome each, None: stored. Raises RebalanceError, GroupNotEmptyError,
        InvalidGroupError, InvalidRequestError when nothing is.

        `ends`: end offsets that are known; nothing beyond them is taken.
        """
        self._check_topics_known()
        check_group_id(request.group_id)
        group = self._groups.get(request.group_id)
        return self._committer.commit(group, request, wall_ms, ends or {})

    def fetch_offsets(self, request: FetchOffsets) -> tuple[OffsetCommitted, ...]:
        """Committed offsets of a group; none where it has none. Raises RebalanceError for a member
        that is not in its newest epoch. They may be on their way into the log, as replies are."""
        return self._committer.fetch(self._groups.get(request.group_id), request)

    def delete_offsets(
        self, group_id: str, partitions: Iterable[TopicPartitionId]
    ) -> Decision[None]:
        """Forget offsets of topics that no member reads; raises GroupNotEmptyError."""
        self._check_exists(group_id)
        stored = self._offsets.of(group_id)
        asked = sorted(set(partitions))
        group = self._groups.get(group_id)
        members = () if group is None else group.kept.values()
        read = frozenset[str]().union(*(self._subscriptions.of(member) for member in members))
        for partition in asked:
            if self._subscriptions.name_of(partition.topic_id) in read:
                raise GroupNotEmptyError(
                    f"members of group {group_id!r} read {partition}",
                    hint="stop them first; `logd group describe GROUP -m` names them",
                    code=ErrorCode.GROUP_NOT_EMPTY,
                )
        keys = (OffsetKey(group_id, *each) for each in asked if each in stored)
        return Decision(tuple(Forgotten(key) for key in keys), None)

    # --- groups ----------------------------------------------------------------------------------

    def delete_group(self, group_id: str) -> Decision[None]:
        """Forget a group without members; raises GroupNotFoundError, GroupNotEmptyError."""
        self._check_exists(group_id)
        group = self._groups.get(group_id)
        if group is not None and group.kept:
            raise GroupNotEmptyError(
                f"group {group_id!r} has {group.members_in_words}",
                hint="stop them first; `logd group describe GROUP -m` names them",
                code=ErrorCode.GROUP_NOT_EMPTY,
            )
        keys: list[OffsetKey | GroupKey | TargetEpochKey]
        keys = [OffsetKey(group_id, *each) for each in sorted(self._offsets.of(group_id))]
        if group is not None:
            keys += [TargetEpochKey(group_id), GroupKey(group_id)]
        return Decision(tuple(Forgotten(key) for key in keys), None)

    def _check_exists(self, group_id: str) -> None:
        if group_id not in self._groups and not self._offsets.of(group_id):
            raise GroupNotFoundError(
                f"there is no group {group_id!r} that has members or committed offsets",
                hint="see `logd group list`",
            )

    def listing(self) -> tuple[GroupListing, ...]:
        """All groups, by id; those with committed offsets alone included."""
        group_ids = sorted({*self._groups, *self._offsets.group_ids()})
        return tuple(listed(self._groups.get(each) or Group(each)) for each in group_ids)

    def describe(self, group_id: str, now_ms: int) -> GroupDescription:
        """One group; raises GroupNotFoundError."""
        self._check_exists(group_id)
        group = self._groups.get(group_id) or Group(group_id)
        return described(group, self._watches, now_ms)

    def assigned(self, group_id: str) -> Mapping[TopicPartitionId, str]:
        """Who may hold each partition, or has not given it up."""
        group = self._groups.get(group_id)
        return {} if group is None else dict(group.owners)

    def waiting(self, group_id: str) -> tuple[str, ...]:
        """Members that a heartbeat would tell something new."""
        group = self._groups.get(group_id)
        if group is None:
            return ()
        found = []
        for member_id, current in group.current.items():
            target = group.targets.get(member_id, NOTHING)
            step = advanced(current, target, group.owners, owned=None, epoch=0)
            if step is not None and current.epoch != LEAVING_STATIC:
                found.append(member_id)
        return tuple(found)

    # --- time ------------------------------------------------------------------------------------

    def tick(self, now_ms: int, wall_ms: int) -> Decision[None]:
        """Let go of members whose time is over, and of what nobody came back for."""
        if not self._subscriptions.known:
            return Decision((), None)
        records: list[GroupRecord] = []
        for group_id, member_ids in self._watches.due(self._groups, now_ms).items():
            draft = Draft(self._groups[group_id])
            remove(draft, member_ids, self._subscriptions)
            self._look_at_debts(draft.group, now_ms)
            records.extend(draft.records)
        for group_id in sorted(self._emptied):
            group = self._groups[group_id]
            records.append(GroupEpoch(group_id, group.epoch, group.assignor, wall_ms))
        if self._expiry_ms is not None and now_ms >= self._expiry_ms:
            forgotten = tuple(islice(self._expired(wall_ms), self._settings.forgotten_max))
            records.extend(forgotten)
            all_seen = len(forgotten) < self._settings.forgotten_max
            self._expiry_ms = now_ms + (self._settings.expiry_interval_ms if all_seen else 0)
        return Decision(tuple(records), None)

    def _expired(self, wall_ms: int) -> Iterator[Forgotten]:
        retention_ms = self._settings.offsets_retention_ms
        for group_id in self._offsets.group_ids():
            yield from self._committer.expired(self._groups.get(group_id), group_id, wall_ms)
        for group_id, group in self._groups.items():
            long_empty = 0 <= group.empty_since_ms <= wall_ms - retention_ms
            if long_empty and not self._offsets.of(group_id):
                yield Forgotten(TargetEpochKey(group_id))
                yield Forgotten(GroupKey(group_id))

    def next_deadline_ms(self) -> int | None:
        """When to tick next; None: nothing is due ever."""
        if not self._subscriptions.known:
            return None
        if self._emptied:
            return 0
        deadlines = (self._watches.next_deadline_ms(), self._expiry_ms)
        return min((each for each in deadlines if each is not None), default=None)
