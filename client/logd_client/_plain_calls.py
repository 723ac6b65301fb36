"""Calls of a consumer that wait for nothing: the synchronous and the asyncio one have the same."""

from __future__ import annotations

from collections.abc import Iterable

from logd_client._consuming import ReadingFront
from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.status import status_of
from logd_client._grouping import GroupFront
from logd_client._runtime import Life
from logd_client.rebalance import OnPartitions, RebalanceListener, callbacks_of
from logd_client.values import ConsumerStatus, TopicPartition


class PlainCalls:
    """See the module."""

    _front: ReadingFront
    _grouping: GroupFront
    _life: Life[ConsumerEngine]

    # ---- what is read ----------------------------------------------------------------------

    def subscribe(
        self,
        topics: Iterable[str] = (),
        *,
        pattern: str | None = None,
        listener: RebalanceListener | None = None,
        on_assign: OnPartitions | None = None,
        on_revoke: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
    ) -> None:
        """Have the group share out the partitions of `topics`, and of all topics whose whole name
        matches `pattern` (RE2 syntax); with the next read.

        The callables, or those of the listener, get a list of partitions; with `logd_client.aio`
        they may be coroutines. They run inside of reads, where these run: `on_assign` before
        anything of these partitions is returned, `on_revoke` once the last of them is done with
        and before another member gets them, `on_lost` (`on_revoke`, without one) when another
        member may have them already.
        """
        callbacks = callbacks_of(listener, on_assign, on_revoke, on_lost)
        self._grouping.subscribe(topics, pattern, callbacks)

    def subscription(self) -> set[str]:
        """Topics that were subscribed to by name."""
        return set(self._grouping.subscription.topics)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these; those that were assigned before keep their positions."""
        self._front.assign(partitions)

    def pause(self, *partitions: TopicPartition) -> None:
        """Hand out nothing of these until `resume`; records fetched ahead are fetched again."""
        self._front.fetcher.pause([self._front.known(tp) for tp in partitions])

    def resume(self, *partitions: TopicPartition) -> None:
        """Go on with these."""
        self._front.fetcher.resume([self._front.known(tp) for tp in partitions])

    def paused(self) -> set[TopicPartition]:
        """What is paused."""
        return self._front.fetcher.paused()

    # ---- from anywhere ---------------------------------------------------------------------

    def status(self) -> ConsumerStatus:
        """How this consumer stands, as far as it knows without asking."""
        return status_of(self._life.use())

    def wakeup(self) -> None:
        """End the read that waits now, or the next one; from any thread or a signal handler."""
        if self._life.engine is not None and not self._life.closed:
            self._front.fetcher.wakeup()

    def __del__(self) -> None:
        life = getattr(self, "_life", None)
        if life is not None:
            life.dropped()
