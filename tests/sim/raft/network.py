"""The links between nodes: they lose, delay, double and reorder messages, and are cut."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from logd.consensus.messages import InstallSnapshot, Message
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.disk import Contents
from tests.sim.raft.profile import Profile

#: Who receives a message, and the contents of the snapshot that travels with it.
Deliver = Callable[[Message, Contents | None], None]


class Schedule(Protocol):
    """Calls back at a virtual time."""

    def __call__(self, at_ms: float, event: Callable[[], None], /) -> None: ...


class Network:
    """All links. `blocked` holds (sender, receiver) of the links that are cut."""

    def __init__(
        self,
        rng: Random,
        profile: Profile,
        *,
        schedule: Schedule,
        deliver: Deliver,
        lost: Callable[[Message], None],
        sometimes: Sometimes,
    ) -> None:
        self._rng = rng
        self._profile = profile
        self._schedule = schedule
        self._deliver = deliver
        self._lost = lost
        self._sometimes = sometimes
        self.blocked: set[tuple[int, int]] = set()
        #: Delay of single links, where it is not the profile's.
        self.delays: dict[tuple[int, int], int] = {}
        self.faulty = True
        #: Messages that were sent before count no more.
        self._epoch = 0
        self._transfers: dict[int, Message] = {}
        self._latest: dict[tuple[int, int], float] = {}
        self.sent = 0

    def heal(self) -> None:
        """Every link works from now on; what is under way is lost."""
        self.faulty = False
        self.blocked.clear()
        self.delays.clear()
        self._epoch += 1
        transfers, self._transfers = self._transfers, {}
        for message in transfers.values():
            self._lost(message)

    def send(self, now_ms: float, message: Message, contents: Contents | None = None) -> None:
        """Put a message on its link."""
        self.sent += 1
        if not self.faulty:
            self._put(now_ms + 1 + int(self._rng.random() * 4), message, contents)
            return
        link = (message.sender, message.to)
        profile, random = self._profile, self._rng.random
        if link in self.blocked:
            self._lost(message)
            return
        if profile.drop and random() < profile.drop:
            self._sometimes("message dropped")
            self._lost(message)
            return
        self._put(self._arrival(now_ms, link, message), message, contents)
        if profile.duplicate and random() < profile.duplicate:
            self._sometimes("message delivered twice")
            self._put(self._arrival(now_ms, link, message), message, contents)

    def _arrival(self, now_ms: float, link: tuple[int, int], message: Message) -> float:
        profile, rng = self._profile, self._rng
        mean = self.delays.get(link, profile.delay_ms)
        delay = 1.0 + int(rng.random() * 2 * mean)
        if profile.straggle and rng.random() < profile.straggle:
            self._sometimes("message delayed for several timeouts")
            delay += rng.randrange(1, 6) * profile.timing.election_timeout_ms_max
        if isinstance(message.body, InstallSnapshot):
            delay *= rng.choice((1, 5, 20))
        at_ms = now_ms + delay
        latest = self._latest.get(link, 0.0)
        if at_ms < latest:
            if profile.reorder:
                self._sometimes("message overtaken")
                return at_ms
            return latest
        self._latest[link] = at_ms
        return at_ms

    def _put(self, at_ms: float, message: Message, contents: Contents | None) -> None:
        epoch, number = self._epoch, self.sent
        if contents is not None:
            self._transfers[number] = message

        def arrive() -> None:
            if epoch != self._epoch:
                return
            self._transfers.pop(number, None)
            # A cut also stops what is under way.
            if (message.sender, message.to) in self.blocked:
                self._lost(message)
            else:
                self._deliver(message, contents)

        self._schedule(at_ms, arrive)
