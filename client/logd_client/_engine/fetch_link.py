"""The fetch stream to one node: partitions and credit out, batches in."""

from __future__ import annotations

from collections.abc import Callable

from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError

from logd_client._core.fetch_state import FetchConfig
from logd_client._core.subscriptions import Subscribe
from logd_client._engine.cluster import Connection
from logd_client._engine.conversation import Conversation
from logd_client._transport.methods import FETCH


class FetchLink:
    """One stream. `account` names its credit; it says once when it broke."""

    def __init__(
        self,
        connection: Connection,
        account: str,
        config: FetchConfig,
        on_frames: Callable[[FetchLink, log_pb2.FetchResponse], None],
        on_broken: Callable[[FetchLink, LogdError], None],
    ) -> None:
        self.connection = connection
        self.account = account
        self._on_frames = on_frames
        # What takes effect with the first message of the stream.
        self._request = log_pb2.FetchRequest(
            credit_bytes=config.window_bytes,
            min_bytes=config.min_bytes,
            max_wait_ms=config.max_wait_ms,
            partition_max_bytes=config.partition_max_bytes,
        )
        self._dirty = False
        self._conversation = Conversation(
            connection,
            FETCH,
            "fetch",
            due=self._due,
            heard=self._heard,
            ended=lambda error: on_broken(self, error),
        )

    @property
    def broken(self) -> bool:
        return self._conversation.broken

    def subscribe(self, wanted: Subscribe) -> None:
        self._request.add.add(
            subscription_id=wanted.subscription_id,
            topic_id=wanted.leader.topic_id,
            partition=wanted.partition,
            offset=wanted.offset,
            leader_epoch=wanted.leader.epoch,
        )
        self._changed()

    def unsubscribe(self, subscription_id: int) -> None:
        self._request.remove.append(subscription_id)
        self._changed()

    def grant(self, size: int) -> None:
        """Let the node send `size` bytes more."""
        self._request.credit_bytes += size
        self._changed()

    def _changed(self) -> None:
        self._dirty = True
        self._conversation.news()

    def _due(self) -> log_pb2.FetchRequest | None:
        if not self._dirty:
            return None
        request, self._request = self._request, log_pb2.FetchRequest()
        self._dirty = False
        return request

    def _heard(self, response: log_pb2.FetchResponse) -> None:
        self._on_frames(self, response)

    async def close(self) -> None:
        """End the stream."""
        await self._conversation.close()
