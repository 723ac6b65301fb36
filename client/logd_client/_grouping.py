"""What the synchronous and the asyncio consumer share of being a member of a group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from logd_wire.errors import ClosedError, ConfigError, LogdError

from logd_client import _fork
from logd_client._consuming import ReadingFront, checked
from logd_client._core.group_member import Subscription
from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.group import GroupSession
from logd_client.rebalance import Callbacks
from logd_client.values import Record, TopicPartition

#: What `commit` takes: where to go on, a finished record or several; None: all that was returned.
Committable = Mapping[TopicPartition, int] | Record[Any, Any] | Iterable[Record[Any, Any]] | None
#: Called once with (error, offsets), the error None where they were stored.
OnCommit = Callable[[LogdError | None, Mapping[TopicPartition, int]], object]

logger = logging.getLogger("logd.client.consumer")


class GroupFront:
    """What a consumer subscribes to, and whom it tells."""

    def __init__(self, front: ReadingFront) -> None:
        self._front = front
        self.subscription = Subscription(front.config.topics)
        self.callbacks = Callbacks()

    @property
    def configured(self) -> bool:
        return self._front.config.group is not None

    def subscribe(self, topics: Iterable[str], pattern: str | None, callbacks: Callbacks) -> None:
        """Takes effect with the next read. Raises ConfigError."""
        self._need_group("subscribe", "without a group_id name the topics in Consumer(...)")
        if isinstance(topics, str):
            raise ConfigError(f"topics is {topics!r}", hint=f"subscribe([{topics!r}])")
        names = tuple(dict.fromkeys(topics))
        if not names and not pattern:
            raise ConfigError("neither topics nor a pattern", hint="unsubscribe() ends it")
        if self._front.assigned:
            raise ConfigError(
                "partitions were assigned by hand", hint="assign([]) first, then subscribe(...)"
            )
        self.subscription = Subscription(names, pattern or "")
        self.callbacks = callbacks
        self._front.started = False

    def unsubscribe(self) -> None:
        self._need_group("unsubscribe", "assign([]) ends reading")
        self.subscription = Subscription()
        self._front.started = True

    def group_of(self, engine: ConsumerEngine, what: str) -> GroupSession:
        """ConfigError without a group."""
        self._need_group(what, "Consumer(..., group_id=...)")
        assert engine.group is not None
        return engine.group

    def _need_group(self, what: str, hint: str) -> None:
        if not self.configured:
            raise ConfigError(f"{what} needs a group_id", hint=hint)

    def offsets_of(self, engine: ConsumerEngine, wanted: Committable) -> dict[TopicPartition, int]:
        """The offsets to commit. Raises ConfigError, or RebalanceError for records of a partition
        that is not ours any more."""
        reading = self.group_of(engine, "commit").reading
        if wanted is None:
            return reading.finish_all()
        if isinstance(wanted, Record):
            return reading.finish_records([wanted])
        if isinstance(wanted, Mapping):
            return {checked(tp): _offset(tp, offset) for tp, offset in wanted.items()}
        return reading.finish_records(wanted)

    def to_leave(self) -> GroupSession | None:
        """The membership that `close` has to end in this process, if there is one."""
        life = self._front.life
        engine = life.engine
        if engine is None or life.closed or life.owner != _fork.current.number:
            return None
        group = engine.group
        return group if group is not None and group.subscribed else None


def _offset(tp: object, offset: object) -> int:
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise ConfigError(
            f"the offset {offset!r} of {tp!r} cannot be committed",
            hint="the offset of the last finished record, plus 1",
        )
    return offset


def tell_committed(
    done: Future[None] | asyncio.Future[None],
    offsets: Mapping[TopicPartition, int],
    callback: OnCommit | None,
) -> None:
    """Tell what became of a commit that nobody waits for."""
    ended = ClosedError("the consumer is closed")
    error = ended if done.cancelled() else done.exception()
    if error is not None and not isinstance(error, LogdError):
        raise error
    if callback is not None:
        callback(error, offsets)
    elif error is not None:
        logger.warning("offsets were not committed: %s", error)
