"""Leaders' proposals for in-sync sets, on their way to the controller."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from logd_wire.errors import ErrorCode, LogdError

from logd.metadata import ChangePartition, Member
from logd.model.ids import NodeId
from logd.replication import ProposeIsr
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock, Spawn

_logger = logging.getLogger("logd.replication")

#: How long one proposal may take before it is made again.
PROPOSE_TIMEOUT_MS: Final = 5_000
#: How long to wait before a proposal is made again of which nobody knows what became.
RETRY_MS: Final = 250
#: Answers after which the proposal may still be carried out.
_NOT_KNOWN: Final = frozenset(
    {
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.NETWORK,
        ErrorCode.TIMEOUT,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.OVERLOADED,
        ErrorCode.UNKNOWN_SERVER_ERROR,
    }
)


class IsrProposals:
    """Implements `ProposesIsr`."""

    def __init__(
        self,
        *,
        own_id: NodeId,
        node_epoch: Callable[[], int],
        metadata: MetadataDriver,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        """`node_epoch`: of this process's registration."""
        self._own_id = own_id
        self._node_epoch = node_epoch
        self._metadata = metadata
        self._clock = clock
        self._spawn = spawn

    def __call__(self, partition: Partition, proposal: ProposeIsr) -> None:
        command = ChangePartition(
            topic_id=partition.id.topic_id,
            partition=partition.id.partition,
            leader=Member(self._own_id, self._node_epoch()),
            leader_epoch=partition.state.leader_epoch,
            partition_epoch=proposal.partition_epoch,
            isr=tuple(Member(node, epoch) for node, epoch in proposal.isr),
        )
        self._spawn(self._submit(partition, command), f"in-sync set of {partition.name}")

    async def _submit(self, partition: Partition, command: ChangePartition) -> None:
        members = [member.node_id for member in command.isr]
        refused = False
        try:
            await self._metadata.submit(command, follow=False, timeout_ms=PROPOSE_TIMEOUT_MS)
            _logger.info("%s: in sync are %s", partition.name, members)
        except LogdError as error:
            _logger.info("%s: in-sync set %s not changed: %s", partition.name, members, error)
            refused = error.code not in _NOT_KNOWN
            await self._clock.sleep_ms(RETRY_MS)
        if partition.leader_epoch == command.leader_epoch:
            partition.proposal_answered(command.partition_epoch, refused=refused)
