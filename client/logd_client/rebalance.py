"""What an application is told of the partitions that its group assigns to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from logd_wire.errors import ConfigError

from logd_client._core.fetch_state import News
from logd_client.values import TopicPartition

#: With `logd_client.aio` it may return something to be awaited.
OnPartitions = Callable[[list[TopicPartition]], object]


class RebalanceListener:
    """Override what is of interest. Called from within reads, by whoever reads; with
    `logd_client.aio` the methods may be coroutines."""

    def on_assign(self, partitions: list[TopicPartition]) -> object:
        """These are read from now on; `seek` here decides from where."""
        return None

    def on_revoke(self, partitions: list[TopicPartition]) -> object:
        """These go to another member once this returns; everything handed out of them is done
        with, and `commit` works still."""
        return None

    def on_lost(self, partitions: list[TopicPartition]) -> object:
        """These may be another member's already: nothing of them can be committed."""
        return self.on_revoke(partitions)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What to call; None: nothing."""

    on_assign: OnPartitions | None = None
    on_revoke: OnPartitions | None = None
    on_lost: OnPartitions | None = None

    @property
    def told(self) -> frozenset[News]:
        """Of what the application wants to hear."""
        return frozenset(news for news in News if self.of(news) is not None)

    def of(self, news: News) -> OnPartitions | None:
        match news:
            case News.ASSIGNED:
                return self.on_assign
            case News.REVOKED:
                return self.on_revoke
            case News.LOST:
                return self.on_lost or self.on_revoke


def callbacks_of(
    listener: RebalanceListener | None,
    on_assign: OnPartitions | None,
    on_revoke: OnPartitions | None,
    on_lost: OnPartitions | None,
) -> Callbacks:
    """Raises ConfigError when both ways are used."""
    if listener is None:
        return Callbacks(on_assign, on_revoke, on_lost)
    if on_assign or on_revoke or on_lost:
        raise ConfigError("both a listener and callables", hint="pass one or the other")
    return Callbacks(listener.on_assign, listener.on_revoke, listener.on_lost)
