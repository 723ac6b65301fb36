"""When a member that has started knows what was committed before.

The commit index of the first append of a leader says how far to go. A heartbeat tells only of what
this node is known to have, so it takes two of them: a leader that has more sends it in answer to
the answer to the first. And what is applied has to reach into the leader's term: before its no-op
is committed, a new leader may know less than was.
"""

from __future__ import annotations

from logd.model.ids import LogIndex


class CatchUp:
    def __init__(self) -> None:
        self.is_done = False
        self._target: LogIndex | None = None
        self._heartbeats = 0

    def hear_append(self, commit_index: LogIndex) -> None:
        if self._target is None:
            self._target = commit_index

    def hear_heartbeat(self, commit_index: LogIndex) -> None:
        self._heartbeats += 1
        if self._target is None and self._heartbeats > 1:
            self._target = commit_index

    def reach(self, applied_index: LogIndex) -> None:
        """Everything below `applied_index` is applied, and the last of it is of this term."""
        if self._target is not None and applied_index >= self._target:
            self.is_done = True
