"""What a member of a group is told by its application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Times in milliseconds. `assignor` None: the node's default."""

    group_id: str
    instance_id: str | None = None
    session_timeout_ms: int = 45_000
    rebalance_timeout_ms: int = 60_000
    assignor: str | None = None
    rack: str | None = None
    auto_commit: bool = True
    auto_commit_interval_ms: float = 5_000.0

    def said_by(self, client_id: str) -> dict[str, Any]:
        """What every full heartbeat says."""
        fields: dict[str, Any] = {
            "rebalance_timeout_ms": self.rebalance_timeout_ms,
            "session_timeout_ms": self.session_timeout_ms,
            "client_id": client_id,
        }
        if self.instance_id is not None:
            fields["instance_id"] = self.instance_id
        if self.assignor is not None:
            fields["assignor"] = self.assignor
        if self.rack is not None:
            fields["rack"] = self.rack
        return fields
