"""What the groups' machine takes from the node's configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Bounds and defaults; times in milliseconds."""

    session_timeout_ms_default: int = 45_000
    session_timeout_ms_min: int = 1_000
    session_timeout_ms_max: int = 3_600_000
    #: Members are heard six times a session, and so often at least.
    heartbeat_interval_ms_max: int = 5_000
    rebalance_timeout_ms_min: int = 1_000
    rebalance_timeout_ms_max: int = 3_600_000
    #: Members of one group.
    members_max: int = 1_000
    #: Names in one subscription.
    topics_max: int = 1_000
    #: Offsets in one commit.
    commit_offsets_max: int = 10_000
    #: UTF-8 bytes of an offset's metadata.
    metadata_bytes_max: int = 4_096
    #: Offsets of a group without members are forgotten so long after its last member had gone, and
    #: so long after their commit.
    offsets_retention_ms: int = 7 * 24 * 3_600_000
    #: How often that is looked at.
    expiry_interval_ms: int = 600_000
    #: So many offsets are forgotten in one decision at most.
    forgotten_max: int = 2_000

    def heartbeat_interval_ms(self, session_timeout_ms: int) -> int:
        """When a member with this session calls again.

        An answer may be kept back for so long, and a member counts its session from when it sent
        the last heartbeat that was answered: two intervals ago at worst. What is left then has to
        be enough for another node to take over.
        """
        return min(session_timeout_ms // 6, self.heartbeat_interval_ms_max)
