"""Calls to the coordinator of one group: finding it, and following it when it moves."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import Message
from logd_proto.v1 import group_pb2
from logd_wire.errors import (
    CoordinatorLoadingError,
    LogdError,
    NetworkError,
    NotCoordinatorError,
    ShuttingDownError,
    TimeoutError,
)

from logd_client._core.backoff import Backoff
from logd_client._core.group_member import Answer, Beat, Held
from logd_client._engine.cluster import Cluster
from logd_client._engine.ports import Clock, Rng
from logd_client._transport.methods import FIND_COORDINATOR
from logd_client.values import TopicPartition

logger = logging.getLogger("logd.client.group")

#: A coordinator that does not answer for so long is asked for anew.
ATTEMPT_TIMEOUT_MS: Final = 5_000.0


class Coordinator:
    """See the module. Coordinators are ordered by the leader epoch of the group's partition."""

    def __init__(self, cluster: Cluster, clock: Clock, rng: Rng, group_id: str) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff()
        self.group_id = group_id
        #: Where it is; empty: not known.
        self.address = ""
        self._epoch = -1

    async def attempt(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """Call it once. Raises what it answers, and what keeps it from being found or reached;
        after both the next attempt may go to another node."""
        if not self.address:
            await self._find(timeout_ms)
        address = self.address
        try:
            return await self._cluster.connection(address).call(
                method, request, timeout_ms=timeout_ms
            )
        except NotCoordinatorError as error:
            self._forget(address)
            self._hear_of(error.leader_id, error.leader_epoch, error.leader_address)
            raise
        except (NetworkError, TimeoutError, ShuttingDownError) as error:
            self._forget(address)
            # Another node is asked who coordinates the group now.
            self._cluster.go_elsewhere(address, error)
            raise

    async def call(self, method: str, request: Message, *, timeout_ms: float) -> Any:
        """Call it until it answers, for `timeout_ms`; for calls that may be repeated.

        Raises what it answers that does not pass by itself, and the last of the other errors.
        """
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        attempts = 0
        while True:
            left_ms = deadline_ms - self._clock.monotonic_ms()
            try:
                return await self.attempt(
                    method, request, timeout_ms=max(1.0, min(left_ms, ATTEMPT_TIMEOUT_MS))
                )
            except LogdError as error:
                attempts += 1
                delay_ms = self._backoff.delay_ms(attempts, self._rng)
                if not passes(error) or self._clock.monotonic_ms() + delay_ms >= deadline_ms:
                    raise
                logger.info("group %s: %s, trying again", self.group_id, error)
            await self._clock.sleep_ms(delay_ms)

    async def _find(self, timeout_ms: float) -> None:
        request = group_pb2.FindCoordinatorRequest(group_id=self.group_id)
        answer = await self._cluster.ask(FIND_COORDINATOR, request, timeout_ms=timeout_ms)
        found = answer.coordinator
        if not self._hear_of(found.leader_id, found.leader_epoch, found.address):
            raise CoordinatorLoadingError(
                f"nobody coordinates group {self.group_id!r} now", hint="try again"
            )

    def _hear_of(self, node_id: int, epoch: int, address: str) -> bool:
        """Whether there is somebody to ask now. A node that lags behind names an old one."""
        place = address or self._cluster.address_of(node_id) or ""
        if node_id >= 0 and place and epoch >= self._epoch:
            self.address, self._epoch = place, epoch
        return bool(self.address)

    def _forget(self, address: str) -> None:
        if self.address == address:
            self.address = ""


def passes(error: LogdError) -> bool:
    """Whether the same call may succeed later, or at another node."""
    return error.retriable or isinstance(error, TimeoutError)


# ---- the heartbeat -----------------------------------------------------------------------------


class HeartbeatCodec:
    """Heartbeats of one member as messages."""

    def __init__(self, group_id: str, member_id: str, template: Mapping[str, Any]) -> None:
        """`template`: fields that are said whenever everything is."""
        self._group_id = group_id
        self._member_id = member_id
        self._template = dict(template)

    def request(self, beat: Beat) -> group_pb2.GroupHeartbeatRequest:
        message = group_pb2.GroupHeartbeatRequest(
            group_id=self._group_id,
            member_id=self._member_id,
            member_epoch=beat.epoch,
            max_wait_ms=round(beat.wait_ms),
        )
        if beat.full:
            message.MergeFrom(group_pb2.GroupHeartbeatRequest(**self._template))
        elif "instance_id" in self._template:
            message.instance_id = self._template["instance_id"]
        if beat.subscription is not None:
            message.subscription.topics.extend(beat.subscription.topics)
            message.subscription.SetInParent()
            message.subscription_pattern = beat.subscription.pattern
        if beat.owned is not None:
            message.owned.topics.extend(by_topic(beat.owned))
            message.owned.SetInParent()
        return message


def answer_of(message: group_pb2.GroupHeartbeatResponse) -> Answer:
    assignment = None
    if message.HasField("assignment"):
        assignment = frozenset(
            Held(entry.topic_id, TopicPartition(entry.topic, partition))
            for entry in message.assignment.topics
            for partition in entry.partitions
        )
    return Answer(
        message.member_epoch,
        message.heartbeat_interval_ms,
        message.session_timeout_ms,
        assignment,
    )


def by_topic(partitions: Iterable[Held]) -> list[group_pb2.TopicPartitions]:
    """One entry a topic, numbers ascending."""
    numbers: dict[bytes, list[int]] = {}
    for topic_id, tp in sorted(partitions):
        numbers.setdefault(topic_id, []).append(tp.partition)
    return [
        group_pb2.TopicPartitions(topic_id=topic_id, partitions=found)
        for topic_id, found in numbers.items()
    ]
