"""Heartbeats whose answer is kept back until there is something new to say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from logd.groups import (
    CurrentMember,
    Forgotten,
    GroupRecord,
    Groups,
    OffsetKey,
    TargetMember,
)


class ParkedHeartbeats:
    """One for each member at most: that of its newest heartbeat."""

    def __init__(self) -> None:
        #: By group and member.
        self._parked: dict[str, dict[str, asyncio.Future[None]]] = {}

    def park(self, group_id: str, member_id: str) -> asyncio.Future[None]:
        """What is new for the member from here on ends the future, until `leave`."""
        self.release(group_id, member_id)
        released = asyncio.get_running_loop().create_future()
        self._parked.setdefault(group_id, {})[member_id] = released
        return released

    def leave(self, group_id: str, member_id: str, released: asyncio.Future[None]) -> None:
        """Nobody waits for this one any more."""
        if self._parked.get(group_id, {}).get(member_id) is released:
            self._forget(group_id, member_id)

    def release(self, group_id: str, member_id: str) -> None:
        """The member has something to say, or is to be told something."""
        released = self._parked.get(group_id, {}).get(member_id)
        if released is not None:
            self._forget(group_id, member_id)
            # Whoever waited may have left already.
            if not released.done():
                released.set_result(None)

    def _forget(self, group_id: str, member_id: str) -> None:
        of_group = self._parked[group_id]
        del of_group[member_id]
        if not of_group:
            del self._parked[group_id]

    def release_all(self) -> None:
        """Nobody coordinates here any more."""
        for group_id, of_group in list(self._parked.items()):
            for member_id in list(of_group):
                self.release(group_id, member_id)

    def look(self, machine: Groups, records: Iterable[GroupRecord]) -> None:
        """Records were replayed: release those for whom there is something new."""
        for group_id in dict.fromkeys(map(_moved_group, records)):
            if group_id in self._parked:
                for member_id in machine.waiting(group_id):
                    self.release(group_id, member_id)


def _moved_group(record: GroupRecord) -> str:
    """The group in which something may be another member's now; empty: none."""
    match record:
        case CurrentMember() | TargetMember():
            return record.group_id
        case Forgotten() if not isinstance(record.key, OffsetKey):
            return record.key.group_id
        case _:
            return ""
