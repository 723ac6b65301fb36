"""How long members may be silent, and how long they may take to give partitions up.

Volatile: a coordinator that takes over gives everybody their whole time again. Monotonic
milliseconds throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Final

from logd.groups.group import Group
from logd.groups.reconcile import NOTHING, owes
from logd.groups.records import CurrentMember, MemberKept, Partitions

#: Members whose time is over are looked at again so much later, if they are there still.
RETRY_MS: Final = 1_000


class Watch:
    """What a coordinator remembers of one member."""

    __slots__ = ("give_up_ms", "heard", "heard_ms", "session_due_ms", "told")

    def __init__(self) -> None:
        self.heard_ms = 0
        #: False: not since this coordinator took over.
        self.heard = False
        #: When the session is looked at next.
        self.session_due_ms = 0
        #: When it has to have given up what it owes, or while it is not `told`: have said the epoch
        #: that tells it to; None: it owes nothing.
        self.give_up_ms: int | None = None
        #: Whether it said the epoch that told it to give up.
        self.told = False


class Watches:
    """The watches of all members, and who is due."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], Watch] = {}
        #: Deadlines, none too late. One that its watch does not name any more is void; one of a
        #: session may be too early, when the member was heard since.
        self._due: list[tuple[int, str, str]] = []

    def of(self, group_id: str, member_id: str) -> Watch | None:
        return self._watches.get((group_id, member_id))

    def begin(self, member: MemberKept, now_ms: int, *, heard: bool) -> None:
        """Watch a member from now on."""
        watch = self._watches.setdefault((member.group_id, member.member_id), Watch())
        watch.heard_ms, watch.heard = now_ms, heard
        self._look_again(member, watch, now_ms + member.session_timeout_ms)

    def end(self, group_id: str, member_id: str) -> None:
        self._watches.pop((group_id, member_id), None)

    def hear(self, group_id: str, member_id: str, now_ms: int) -> None:
        """A member's session begins anew."""
        watch = self._watches[group_id, member_id]
        watch.heard_ms = now_ms
        watch.heard = True

    def owing(
        self, member: MemberKept, current: CurrentMember, target: Partitions, now_ms: int
    ) -> None:
        """Look at what a member owes after a decision.

        It has the rebalance timeout from the heartbeat on in which it says the epoch that told it
        to give up, and as long to say that. When it has not it is `deaf`, and may deliver until its
        session ends: nothing of it is taken before.
        """
        watch = self._watches[member.group_id, member.member_id]
        if not owes(current, target):
            watch.give_up_ms, watch.told = None, False
        elif watch.give_up_ms is None:
            self._give_up(member, watch, now_ms + member.rebalance_timeout_ms)

    def told(self, member: MemberKept, now_ms: int) -> None:
        """A member that has to give something up said the epoch that told it."""
        watch = self._watches[member.group_id, member.member_id]
        if not watch.told:
            watch.told = True
            self._give_up(member, watch, now_ms + member.rebalance_timeout_ms)

    def stepped(self, group_id: str, member_id: str) -> None:
        """A member has another epoch: it counts its time to give up from when it hears of it, and
        so does what it owes next."""
        watch = self._watches[group_id, member_id]
        if watch.told:
            watch.give_up_ms, watch.told = None, False

    def is_deaf(self, group_id: str, member_id: str, now_ms: int) -> bool:
        """Whether a member should have said its newest epoch by now: another one does not begin its
        session anew. Otherwise one that hears no answer would keep what it owes for ever."""
        watch = self._watches[group_id, member_id]
        return not watch.told and watch.give_up_ms is not None and watch.give_up_ms < now_ms

    def _give_up(self, member: MemberKept, watch: Watch, deadline_ms: int) -> None:
        watch.give_up_ms = deadline_ms
        heappush(self._due, (deadline_ms, member.group_id, member.member_id))

    def _look_again(self, member: MemberKept, watch: Watch, deadline_ms: int) -> None:
        watch.session_due_ms = deadline_ms
        heappush(self._due, (watch.session_due_ms, member.group_id, member.member_id))

    def next_deadline_ms(self) -> int | None:
        """When to look next; never later than somebody is due."""
        return self._due[0][0] if self._due else None

    def due(self, groups: Mapping[str, Group], now_ms: int) -> dict[str, list[str]]:
        """Return group -> members whose time is over. They are watched until `end`, and found again
        when that does not come."""
        found: dict[str, set[str]] = {}
        while self._due and self._due[0][0] <= now_ms:
            deadline_ms, group_id, member_id = heappop(self._due)
            watch, group = self.of(group_id, member_id), groups.get(group_id)
            member = None if group is None else group.kept.get(member_id)
            if watch is None or deadline_ms not in {watch.give_up_ms, watch.session_due_ms}:
                continue
            if group is None or member is None:
                # It was going to join, and that never came into the log.
                self.end(group_id, member_id)
            elif self._is_over(watch, group, member, now_ms):
                found.setdefault(group_id, set()).add(member_id)
                self._look_again(member, watch, now_ms + RETRY_MS)
            elif deadline_ms == watch.session_due_ms:
                self._look_again(member, watch, watch.heard_ms + member.session_timeout_ms)
        return {group_id: sorted(member_ids) for group_id, member_ids in found.items()}

    def _is_over(self, watch: Watch, group: Group, member: MemberKept, now_ms: int) -> bool:
        if watch.heard_ms + member.session_timeout_ms <= now_ms:
            return True
        if watch.give_up_ms is None or watch.give_up_ms > now_ms:
            return False
        current = group.current.get(member.member_id)
        if current is not None and owes(current, group.targets.get(member.member_id, NOTHING)):
            return watch.told
        # What would have taken something away from it never came into the log.
        watch.give_up_ms, watch.told = None, False
        return False
