"""The metadata machine: judges commands against the image, and replays what was decided.

`handle` decides and changes nothing; only `replay` changes the image. The leader replays records
as it appends them, so that the next command is judged against what is already on its way; on the
loss of leadership `reset` drops what was not committed.

The decisions themselves are functions of image, settings and command, by subject: `topics`,
`nodes`, `voters`, `partitions`, `reassignment`,
`damage`.
"""

from __future__ import annotations

from typing import Final, assert_never, overload

from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError

from logd.metadata.commands import (
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    NodeRemoval,
    Outcome,
    PartitionChanges,
    ProducerIdBlock,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    Reply,
    ReportDamage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
    VoterSet,
)
from logd.metadata.damage import report_damage
from logd.metadata.elections import preferred, settled
from logd.metadata.image import ClusterImage, NodeImage, TopicImage
from logd.metadata.nodes import fence, register, remove, replace_node, unfence
from logd.metadata.partitions import change_leaders, change_partition, transfer_leader
from logd.metadata.reassignment import reassign
from logd.metadata.records import (
    ClusterFormed,
    MetadataRecord,
    PartitionImage,
    ProducerIdsAllocated,
)
from logd.metadata.refusals import check_id
from logd.metadata.replay import replay
from logd.metadata.settings import MetadataSettings
from logd.metadata.topics import alter_topic, create_topic, delete_topic
from logd.metadata.voters import add_voter, update_voter
from logd.model.ids import ClusterId, format_id
from logd.model.units import INT64_MAX

PRODUCER_IDS_PER_BLOCK_MAX: Final = 1_000_000
_EMPTY: Final = ClusterImage()


class MetadataMachine:
    """Owns the newest image, committed or not. One caller at a time."""

    def __init__(self, settings: MetadataSettings, image: ClusterImage = _EMPTY) -> None:
        self._settings = settings
        self._image = image

    @property
    def image(self) -> ClusterImage:
        """The image after everything replayed so far."""
        return self._image

    def replay(self, *records: MetadataRecord) -> None:
        """Take in records, all or none; raises InconsistentLogError."""
        self._image = replay(self._image, records)

    def reset(self, image: ClusterImage) -> None:
        """Go back to `image`: what was replayed beyond it will not be committed."""
        self._image = image

    @overload
    def handle(self, command: FormCluster, now_ms: int) -> Outcome[ClusterId]: ...

    @overload
    def handle(
        self, command: RegisterNode | FenceNode | UnfenceNode, now_ms: int
    ) -> Outcome[NodeImage]: ...

    @overload
    def handle(
        self, command: CreateTopic | DeleteTopic | AlterTopic, now_ms: int
    ) -> Outcome[TopicImage]: ...

    @overload
    def handle(self, command: AllocateProducerIds, now_ms: int) -> Outcome[ProducerIdBlock]: ...

    @overload
    def handle(
        self, command: ChangePartition | TransferLeader | ReassignPartition, now_ms: int
    ) -> Outcome[PartitionImage]: ...

    @overload
    def handle(self, command: AddVoter | UpdateVoter, now_ms: int) -> Outcome[VoterSet]: ...

    @overload
    def handle(self, command: RemoveNode | ReplaceNode, now_ms: int) -> Outcome[NodeRemoval]: ...

    @overload
    def handle(
        self, command: ReportDamage | ElectLeaders | BalanceLeaders, now_ms: int
    ) -> Outcome[PartitionChanges]: ...

    @overload
    def handle(self, command: Command, now_ms: int) -> Outcome[Reply]: ...

    def handle(self, command: Command, now_ms: int) -> Outcome[Reply]:  # noqa: C901, PLR0912 - dispatch
        """Decide. Raises a LogdError to refuse; the image is the same afterwards either way.

        `now_ms` is the time of the decision; no command of today depends on it.
        """
        image, settings = self._image, self._settings
        if image.cluster_id is None and not isinstance(command, FormCluster):
            raise InvalidRequestError("the cluster is not formed yet", retriable=True)
        outcome: Outcome[Reply]
        match command:
            case FormCluster():
                outcome = _form(image, command)
            case RegisterNode():
                outcome = register(image, settings, command)
            case CreateTopic():
                outcome = create_topic(image, settings, command)
            case DeleteTopic():
                outcome = delete_topic(image, command)
            case AlterTopic():
                outcome = alter_topic(image, settings, command)
            case AllocateProducerIds():
                outcome = _allocate(image, command)
            case ChangePartition():
                outcome = change_partition(image, settings, command)
            case TransferLeader():
                outcome = transfer_leader(image, settings, command)
            case ReassignPartition():
                outcome = reassign(image, settings, command)
            case AddVoter():
                outcome = add_voter(image, command)
            case UpdateVoter():
                outcome = update_voter(image, command)
            case RemoveNode():
                outcome = remove(image, command)
            case ReplaceNode():
                outcome = replace_node(image, settings, command)
            case FenceNode():
                outcome = fence(image, settings, command)
            case UnfenceNode():
                outcome = unfence(image, settings, command)
            case ReportDamage():
                outcome = report_damage(image, settings, command)
            case ElectLeaders():
                outcome = change_leaders(image, settings, settled)
            case BalanceLeaders():
                outcome = change_leaders(image, settings, preferred)
            case _:
                assert_never(command)
        return outcome


def _form(image: ClusterImage, command: FormCluster) -> Outcome[ClusterId]:
    check_id(command.cluster_id, "cluster id")
    formed = image.cluster_id
    if formed is None:
        return Outcome((ClusterFormed(command.cluster_id),), command.cluster_id)
    if formed != command.cluster_id:
        raise LogdError(
            f"this is cluster {format_id(formed)}, not {format_id(command.cluster_id)}",
            hint="the data folder belongs to another cluster: check cluster.id and data_dir",
            code=ErrorCode.CLUSTER_ID_MISMATCH,
        )
    return Outcome((), formed)


def _allocate(image: ClusterImage, command: AllocateProducerIds) -> Outcome[ProducerIdBlock]:
    if command.node_id not in image.nodes:
        raise InvalidRequestError(f"node {command.node_id} is not registered")
    if not 1 <= command.count <= PRODUCER_IDS_PER_BLOCK_MAX:
        raise InvalidRequestError(f"{command.count} producer ids cannot make a block")
    first = image.next_producer_id
    if first > INT64_MAX - command.count:
        raise LogdError(
            "all producer ids are used up", code=ErrorCode.PRODUCER_ID_LIMIT, retriable=False
        )
    record = ProducerIdsAllocated(command.node_id, first, command.count)
    return Outcome((record,), ProducerIdBlock(first, command.count))
