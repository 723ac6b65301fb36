"""What the parts of one simulation share."""

from __future__ import annotations

from dataclasses import dataclass, field

from logd.testing.clock import SimClock
from logd.testing.loop import VirtualLoop
from logd.testing.network import SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.sim.coverage import Sometimes
from tests.sim.history import History


@dataclass(slots=True)
class Topic:
    """A topic that is known to exist. It only ever grows."""

    name: str
    topic_id: bytes
    partitions: int


@dataclass(slots=True)
class World:
    """`client_clock` is the clients' own: only the node's wall clock jumps."""

    loop: VirtualLoop
    rng: SimRng
    trace: Trace
    network: SimNetwork
    client_clock: SimClock
    #: Where clients begin.
    bootstrap: tuple[str, ...]
    history: History = field(default_factory=History)
    sometimes: Sometimes = field(default_factory=Sometimes)
    topics: list[Topic] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    producing: bool = True
    consuming: bool = True

    def floor(self, topic_id: bytes, partition: int) -> int:
        """Below this somebody asked to trim the partition."""
        for topic in self.topics:
            if topic.topic_id == topic_id:
                return self.history.floor(f"{topic.name}/{partition}")
        return 0
