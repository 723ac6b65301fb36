"""One member of a consumer group, as the member itself sees it.

It says what it has to say to the coordinator, one heartbeat at a time, and knows what it holds and
until when. While it has nothing to say, its heartbeat lets the coordinator keep the answer back
until there is news; it does not wait for that one when something comes up.

`held` is what it has not given up: what is taken away stays in it until `given_up`, and each full
heartbeat says so. Nothing of it may be delivered at or after `deadline_ms`: a session after the
last answered heartbeat was *sent*, or the rebalance timeout after it was first said that something
is being given up, until the coordinator has answered that it no longer is: one that did not hear so
takes everything. The coordinator's own clocks for this member started later, so it gives nothing of
this to anybody else before.

No clock and no I/O: times are monotonic milliseconds, handed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from logd_wire.errors import (
    AuthError,
    ErrorCode,
    InstanceIdError,
    InvalidRequestError,
    LogdError,
    NetworkError,
    RebalanceError,
)

from logd_client._core.backoff import Backoff
from logd_client._core.ports import Rng
from logd_client.values import TopicPartition

#: Epochs that a heartbeat says instead of the member's own.
JOIN: Final = 0
LEAVE: Final = -1
LEAVE_FOR_A_WHILE: Final = -2

#: A new process waits for the session of the one before it under its instance id, so many times.
_SESSIONS_OF_PREDECESSOR: Final = 2


class Held(NamedTuple):
    """A partition of one topic; of another topic made under the same name it is another one."""

    topic_id: bytes
    tp: TopicPartition


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a member wants of; `pattern` (empty: none) comes on top of `topics`."""

    topics: tuple[str, ...] = ()
    pattern: str = ""


class Phase(Enum):
    """Where a member stands. FAILED is final: the group will not have it."""

    OUT = "out"
    JOINING = "joining"
    STABLE = "stable"
    LEAVING = "leaving"
    FAILED = "failed"


class Beat(NamedTuple):
    """One heartbeat. `full`: it says everything; None: unchanged since it was last said.

    `wait_ms`: how long the answer may be kept back while there is no news.
    """

    sent_ms: float
    epoch: int
    full: bool = False
    subscription: Subscription | None = None
    owned: frozenset[Held] | None = None
    wait_ms: float = 0.0


class Answer(NamedTuple):
    """What the coordinator says to it. `assignment` None: unchanged."""

    epoch: int
    interval_ms: float
    session_ms: float
    assignment: frozenset[Held] | None


class TakeUp(NamedTuple):
    """These may be read from now on."""

    partitions: tuple[Held, ...]


class GiveUp(NamedTuple):
    """These have to be finished with; `given_up` when that is done."""

    partitions: tuple[Held, ...]


class Lost(NamedTuple):
    """These are another's already, or may be."""

    partitions: tuple[Held, ...]
    why: str


Change = TakeUp | GiveUp | Lost


class GroupMember:
    """See the module. Every method returns what has to be done about partitions."""

    def __init__(
        self,
        member_id: str,
        rng: Rng,
        *,
        session_ms: float,
        rebalance_ms: float = math.inf,
        static: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        """`session_ms` counts until the coordinator has said which one is in force."""
        self.member_id = member_id
        self.static = static
        self.phase = Phase.OUT
        self.epoch = JOIN
        self.subscription = Subscription()
        #: What was not given up; a dict keeps the order in which it came.
        self.held: dict[Held, None] = {}
        self.session_ms = session_ms
        self._rebalance_ms = rebalance_ms
        self._heard_until_ms = -math.inf
        #: When everything that is being given up must be; infinity: nothing is.
        self._give_up_by_ms = math.inf
        #: Why the phase is FAILED.
        self.failure: LogdError | None = None
        self._rng = rng
        self._backoff = backoff or Backoff()
        self._target: frozenset[Held] = frozenset()
        self._giving_up: set[Held] = set()
        self._in_flight: Beat | None = None
        #: When the next one is due, whatever is in flight; infinity: when there is an answer.
        self._beat_at_ms = math.inf
        self._interval_ms = 0.0
        self._joining_since_ms = 0.0
        self._attempts = 0
        #: What the coordinator was told last, as far as it has answered; None: all has to be said.
        self._said_subscription: Subscription | None = None
        self._said_owned: frozenset[Held] | None = None

    @property
    def deadline_ms(self) -> float:
        """Until when what is held may be delivered; minus infinity: nothing is."""
        return min(self._heard_until_ms, self._give_up_by_ms)

    @property
    def settled(self) -> bool:
        """Whether it holds exactly what it shall hold."""
        return self.phase is Phase.STABLE and self._target == self.held.keys()

    # ---- what the application wants ------------------------------------------------------------

    def subscribe(self, subscription: Subscription, now_ms: float) -> None:
        """Be a member with this subscription; joins, also after `leave`."""
        self.subscription = subscription
        if self.phase is Phase.OUT:
            self._join(now_ms)
        self._beat_at_ms = now_ms

    def leave(self, now_ms: float) -> None:
        """Be a member no longer. What was held must have been finished with."""
        self._drop_all()
        if self.phase in (Phase.JOINING, Phase.STABLE):
            self.phase = Phase.LEAVING
            self._attempts = 0
            self._beat_at_ms = now_ms

    def given_up(self, partitions: Iterable[Held], now_ms: float) -> list[Change]:
        """These are finished with."""
        for partition in partitions:
            self.held.pop(partition, None)
            self._giving_up.discard(partition)
        self._beat_at_ms = now_ms
        # It may have come back meanwhile.
        return self._reconcile() if self.phase is Phase.STABLE else []

    # ---- time ----------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float:
        """When `tick` or `next_beat` has something to do; infinity: not by itself."""
        if self.phase in (Phase.OUT, Phase.FAILED):
            return math.inf
        beat_ms = math.inf if self._is_busy() else self._beat_at_ms
        return min(beat_ms, self.deadline_ms if self.phase is Phase.STABLE else math.inf)

    def tick(self, now_ms: float) -> list[Change]:
        """Everything is lost once nothing was heard for a session, or giving up took too long."""
        if self.phase is not Phase.STABLE or now_ms < self.deadline_ms:
            return []
        why = f"the coordinator was not heard for {self.session_ms / 1000:g} s (session_timeout_ms)"
        if now_ms < self._heard_until_ms:
            what = (
                "the application was not done with what goes"
                if self._giving_up
                else "the coordinator did not hear that the application is done with what goes"
            )
            why = f"{what} within {self._rebalance_ms / 1000:g} s (rebalance_timeout_ms)"
        return self._rejoin(now_ms, now_ms, why)

    def next_beat(self, now_ms: float) -> Beat | None:
        """The heartbeat to be sent now; its outcome goes to `on_answer` or `on_failure`."""
        if self._is_busy() or now_ms < self._beat_at_ms:
            return None
        match self.phase:
            case Phase.OUT | Phase.FAILED:
                return None
            case Phase.LEAVING:
                epoch = LEAVE_FOR_A_WHILE if self.static else LEAVE
                beat = Beat(now_ms, epoch)
            case Phase.JOINING:
                beat = Beat(now_ms, JOIN, True, self.subscription, frozenset())
            case Phase.STABLE:
                beat = self._usual_beat(now_ms)
        self._in_flight = beat
        self._beat_at_ms = math.inf
        return beat

    def hurry(self, now_ms: float) -> None:
        """Somebody has reason to think that there is news."""
        if self.phase in (Phase.JOINING, Phase.STABLE):
            self._beat_at_ms = min(self._beat_at_ms, now_ms)

    def _is_busy(self) -> bool:
        """Whether an answer has to come before anything else is said."""
        return self._in_flight is not None and not self._in_flight.wait_ms

    def _usual_beat(self, now_ms: float) -> Beat:
        owned = frozenset(self.held)
        if self._giving_up and self._give_up_by_ms == math.inf:
            self._give_up_by_ms = now_ms + self._rebalance_ms
        if self._said_subscription is None:
            return Beat(now_ms, self.epoch, True, self.subscription, owned)
        changed = self.subscription if self.subscription != self._said_subscription else None
        if changed is not None or owned != self._said_owned:
            return Beat(now_ms, self.epoch, False, changed, owned)
        return Beat(now_ms, self.epoch, wait_ms=self._interval_ms)

    # ---- what the coordinator says -------------------------------------------------------------

    def on_answer(self, beat: Beat, answer: Answer, now_ms: float) -> list[Change]:
        """The coordinator took `beat`."""
        if self._in_flight is not beat:
            return []
        self._in_flight = None
        self._attempts = 0
        if self.phase is Phase.LEAVING:
            return self._on_left(beat, now_ms)
        deadline_ms = beat.sent_ms + answer.session_ms
        if now_ms >= deadline_ms:
            return self._rejoin(now_ms, now_ms, "the coordinator's answer came a session late")
        if self.phase is Phase.JOINING:
            self.phase = Phase.STABLE
            self._target = frozenset()
        self._was_told(beat)
        if answer.epoch != self.epoch:
            # What was said under another epoch is not counted under this one.
            self._said_subscription = self._said_owned = None
        self.epoch = answer.epoch
        self.session_ms = answer.session_ms
        self._heard_until_ms = deadline_ms
        self._interval_ms = answer.interval_ms or self._interval_ms
        if answer.assignment is not None:
            self._target = answer.assignment
        changes = self._reconcile()
        says_more = self._said_subscription != self.subscription
        if says_more or self._said_owned != self.held.keys() or not beat.wait_ms:
            # After the last word the answer may be kept back: the sooner, the sooner comes news.
            self._beat_at_ms = now_ms
        else:
            self._beat_at_ms = now_ms + answer.interval_ms
        return changes

    def _was_told(self, beat: Beat) -> None:
        """The coordinator knows what `beat` says."""
        if beat.subscription is not None:
            self._said_subscription = beat.subscription
        if beat.owned is not None:
            self._said_owned = beat.owned
        if not self._giving_up and self._knows_no_more_than_is_held():
            self._give_up_by_ms = math.inf

    def _knows_no_more_than_is_held(self) -> bool:
        """Whether the coordinator waits for nothing that has been given up."""
        return self._said_owned is not None and self._said_owned <= self.held.keys()

    def on_failure(self, beat: Beat, error: LogdError, now_ms: float) -> list[Change]:
        """`beat` was refused, or there was no answer."""
        if self._in_flight is not beat:
            return []
        self._in_flight = None
        self._said_subscription = self._said_owned = None
        self._attempts += 1
        retry_ms = now_ms + self._backoff.delay_ms(self._attempts, self._rng)
        if self.phase is Phase.LEAVING:
            if isinstance(error, RebalanceError | InvalidRequestError):
                # Whoever is not known does not have to leave.
                return self._on_left(beat, now_ms)
            self._beat_at_ms = retry_ms
            return []
        self._beat_at_ms = retry_ms
        if self._waits_for_predecessor(error, now_ms):
            return []
        if _is_final(error):
            self.phase, self.failure = Phase.FAILED, error
            return self._lose(error.message)
        if isinstance(error, RebalanceError):
            return self._rejoin(now_ms, retry_ms, error.message)
        return self.tick(now_ms)

    def _waits_for_predecessor(self, error: LogdError, now_ms: float) -> bool:
        """Whether the process before this one, under the same instance id, counts as alive still:
        it may have crashed, and its session goes on."""
        if error.code is not ErrorCode.UNRELEASED_INSTANCE_ID or self.phase is not Phase.JOINING:
            return False
        patience_ms = _SESSIONS_OF_PREDECESSOR * self.session_ms
        return now_ms < self._joining_since_ms + patience_ms

    # ---- within --------------------------------------------------------------------------------

    def _reconcile(self) -> list[Change]:
        changes: list[Change] = []
        leaving = [
            each for each in self.held if each not in self._target and each not in self._giving_up
        ]
        if leaving:
            self._giving_up.update(leaving)
            changes.append(GiveUp(tuple(leaving)))
        names = {each.tp for each in self.held}
        coming = sorted(each for each in self._target - self.held.keys() if each.tp not in names)
        if coming:
            self.held.update(dict.fromkeys(coming))
            changes.append(TakeUp(tuple(coming)))
        return changes

    def _join(self, now_ms: float) -> None:
        self.phase = Phase.JOINING
        self._joining_since_ms = now_ms
        self.epoch = JOIN
        self._attempts = 0
        # The answer to what was sent before is about another membership.
        self._in_flight = None
        self._said_subscription = self._said_owned = None

    def _rejoin(self, now_ms: float, at_ms: float, why: str) -> list[Change]:
        attempts = self._attempts
        lost = self._lose(why)
        self._join(now_ms)
        self._attempts = attempts
        self._beat_at_ms = at_ms
        return lost

    def _lose(self, why: str) -> list[Change]:
        held = tuple(self.held)
        self._drop_all()
        return [Lost(held, why)]

    def _drop_all(self) -> None:
        self.held.clear()
        self._giving_up.clear()
        self._target = frozenset()
        self._heard_until_ms = -math.inf
        self._give_up_by_ms = math.inf

    def _on_left(self, beat: Beat, now_ms: float) -> list[Change]:
        if beat.epoch not in (LEAVE, LEAVE_FOR_A_WHILE):
            # That was an ordinary one, under way when the member decided to leave.
            self._beat_at_ms = now_ms
            return []
        self.phase = Phase.OUT
        self.epoch = JOIN
        self._beat_at_ms = math.inf
        return []


def _is_final(error: LogdError) -> bool:
    """Whether trying again is in vain."""
    if isinstance(error, NetworkError):
        return not error.retriable
    return isinstance(error, InvalidRequestError | AuthError | InstanceIdError) or (
        error.code is ErrorCode.UNSUPPORTED_VERSION
    )
