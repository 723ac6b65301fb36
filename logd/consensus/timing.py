"""How often a leader speaks, and how long silence lasts before somebody else tries."""

from __future__ import annotations

from dataclasses import dataclass

from logd_wire.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RaftTiming:
    """All in milliseconds of the monotonic clock; the same on every member.

    A follower campaigns after a silence drawn anew between the two timeouts, so that seldom two of
    them begin at once. A leader that has heard of no majority for the longer one steps down.
    """

    heartbeat_ms: int = 100
    election_timeout_ms_min: int = 600
    election_timeout_ms_max: int = 1200

    def __post_init__(self) -> None:
        if self.heartbeat_ms < 1:
            raise ConfigError(f"heartbeat_ms is {self.heartbeat_ms}, it has to be at least 1")
        if self.election_timeout_ms_min <= 2 * self.heartbeat_ms:
            raise ConfigError(
                f"election_timeout_ms_min is {self.election_timeout_ms_min}: it has to exceed two "
                f"heartbeats of {self.heartbeat_ms} ms",
                hint="one lost heartbeat must not cause an election",
            )
        if self.election_timeout_ms_max <= self.election_timeout_ms_min:
            raise ConfigError(
                f"election_timeout_ms_max is {self.election_timeout_ms_max}: it has to exceed "
                f"election_timeout_ms_min, {self.election_timeout_ms_min}",
                hint="members whose timeouts are equal stand in each other's way",
            )
