"""What clients did and saw in one run, in the order of one observer.

`at` and friends count events: every append to the history takes the next number, so "completed
before it was invoked" is a comparison of integers. A partition is named by text (`topic/0`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: ok: acknowledged with an offset. fail: surely not appended. info: nobody knows. open: in flight.
Result = Literal["ok", "fail", "info", "open"]


@dataclass(slots=True)
class Send:
    """One record given to a producer. `number` is its place among that producer's sends."""

    producer: str
    number: int
    key: str
    value: str
    digest: str
    invoked: int
    result: Result = "open"
    offset: int = -1
    completed: int = -1
    error: str = ""
    #: Of the leader that acknowledged it; -1: not noted.
    leader_epoch: int = -1


@dataclass(frozen=True, slots=True)
class Seen:
    """One record read: `value` names it, `digest` is of all its bytes."""

    offset: int
    value: str
    digest: str


@dataclass(slots=True)
class Poll:
    """Records delivered together. `session` changes at every assign or seek. `floor`: the highest
    offset below which somebody had asked to trim when the poll ended."""

    consumer: str
    session: int
    key: str
    records: list[Seen]
    floor: int
    at: int


@dataclass(slots=True)
class Bound:
    """One answered question for the first (`earliest`) or end (`latest`) offset."""

    key: str
    kind: Literal["earliest", "latest"]
    offset: int
    invoked: int
    completed: int


@dataclass(slots=True)
class Trim:
    """One request to trim below `offset`; `completed` -1: it never answered."""

    key: str
    offset: int
    invoked: int
    completed: int = -1


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica's log as found at the end. `epochs`: leader epoch to its first offset."""

    key: str
    node: int
    start_offset: int
    high_watermark: int
    records: list[Seen]
    epochs: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """All of a run. `log`, `drain` and `replicas` are taken at the end: what is on disk (of several
    replicas: the leader's), what a fresh consumer got when it read every partition from its start
    to its end, and what each replica has. Replicas of compacted topics do not belong here."""

    sends: list[Send] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    trims: list[Trim] = field(default_factory=list)
    log: dict[str, list[Seen]] = field(default_factory=dict)
    drain: dict[str, list[Seen]] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    _now: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _floors: dict[str, int] = field(default_factory=dict)

    def tick(self) -> int:
        """The next event number."""
        self._now += 1
        return self._now

    def begin_send(self, producer: str, key: str, value: str, digest: str) -> Send:
        number = self._numbers.get(producer, 0)
        self._numbers[producer] = number + 1
        send = Send(producer, number, key, value, digest, self.tick())
        self.sends.append(send)
        return send

    def end_send(
        self,
        send: Send,
        result: Result,
        offset: int = -1,
        error: str = "",
        leader_epoch: int = -1,
    ) -> None:
        send.result, send.offset, send.error = result, offset, error
        send.leader_epoch = leader_epoch
        send.completed = self.tick()

    def add_poll(self, consumer: str, session: int, key: str, records: list[Seen]) -> None:
        floor = self._floors.get(key, 0)
        self.polls.append(Poll(consumer, session, key, records, floor, self.tick()))

    def begin_trim(self, key: str, offset: int) -> Trim:
        self._floors[key] = max(self._floors.get(key, 0), offset)
        trim = Trim(key, offset, self.tick())
        self.trims.append(trim)
        return trim

    def end_trim(self, trim: Trim) -> None:
        trim.completed = self.tick()

    def add_bound(
        self, key: str, kind: Literal["earliest", "latest"], offset: int, invoked: int
    ) -> None:
        self.bounds.append(Bound(key, kind, offset, invoked, self.tick()))

    def floor(self, key: str) -> int:
        """Below this somebody asked to trim: nothing is promised there."""
        return self._floors.get(key, 0)
