"""What `Consumer.run` does when a handler raises.

    consumer.run(handle, on_error=retry(3, backoff=0.5, then=dead_letter("orders.dead")))

The partition waits at the record that failed; the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from logd_wire.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Retry:
    """Call the handler again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Skip:
    """Go on behind the record; it counts as finished."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Raise what the handler raised; the record is not finished."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Send the record to `topic`, with the cause in its headers, and go on behind it."""

    topic: str


Action = Retry | Skip | Stop | DeadLetter


class OnError(Protocol):
    """Decides; one of the functions below makes one."""

    def decide(self, failures: int) -> Action:
        """What to do after a record has failed so many times in a row."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """The same after the first failure as after any other."""

    action: Action

    def decide(self, failures: int) -> Action:
        return self.action


@dataclass(frozen=True, slots=True)
class Retries:
    """See `retry`."""

    attempts: int
    backoff: float
    backoff_max: float
    then: OnError = field(default_factory=lambda: Always(Stop()))

    def decide(self, failures: int) -> Action:
        if failures > self.attempts:
            return self.then.decide(failures)
        return Retry(min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30)))


def stop() -> OnError:
    """`run` raises what the handler raised."""
    return Always(Stop())


def skip() -> OnError:
    """Log the record and go on behind it."""
    return Always(Skip())


def dead_letter(topic: str) -> OnError:
    """Send the record to `topic`, key, value and headers as they came and with headers that say
    what went wrong (`logd-dlq-reason`, `-exception`, `-traceback`, `-attempts`, `-topic`,
    `-partition`, `-offset`, `-timestamp`), and go on behind it."""
    if not isinstance(topic, str) or not topic:
        raise ConfigError(f"dead_letter({topic!r}) names no topic", hint='dead_letter("t.dead")')
    return Always(DeadLetter(topic))


def retry(
    attempts: int, backoff: float = 1.0, *, backoff_max: float = 60.0, then: OnError | None = None
) -> OnError:
    """Call the handler again, at most `attempts` times; the partition waits meanwhile.

    `backoff`: seconds before the first time, doubled each time up to `backoff_max`. `then`: what
    to do when that does not help; stop, if nothing is said.
    """
    if attempts < 1 or backoff < 0 or backoff_max < backoff:
        raise ConfigError(
            f"retry({attempts}, {backoff}, backoff_max={backoff_max}) makes no sense",
            hint="at least one attempt, and 0 <= backoff <= backoff_max seconds",
        )
    return Retries(attempts, backoff, backoff_max, then or stop())
