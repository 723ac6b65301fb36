"""Entries of the metadata log in words, for people who look at it.

Each kind of record has a sentence. One that this release has no sentence for shows its fields, and
one that it cannot read says so: looking at a log never fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from logd_wire.errors import LogdError

from logd.consensus.log_types import NO_OP
from logd.metadata import PartitionImage
from logd.metadata.records import (
    ClusterFormed,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    RequestDone,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    VotersChanged,
)
from logd.model.ids import format_id
from logd.runtime.record_codec import decode_metadata_record


@dataclass(frozen=True, slots=True)
class RecordInWords:
    """`kind` is stable, such as `topic-created`; `text` may change between releases."""

    kind: str
    text: str


def describe_payload(payload: bytes) -> RecordInWords:
    """One payload of an entry."""
    if payload == NO_OP:
        return RecordInWords("no-op", "a new leader's first entry")
    try:
        record: Any = decode_metadata_record(payload)
    except LogdError as error:
        return RecordInWords("unreadable", error.message)
    except Exception as error:
        return RecordInWords("unreadable", f"{len(payload)} bytes: {error}")
    say = _SENTENCES.get(type(record))
    return RecordInWords(_kind(record), say(record) if say is not None else _fields(record))


def _kind(record: object) -> str:
    """`TopicCreated` -> `topic-created`."""
    name = type(record).__name__
    parts = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return parts.lstrip("-")


def _fields(record: Any) -> str:
    shown = ((field.name, getattr(record, field.name)) for field in fields(record))
    return " ".join(f"{name}={_value(value)}" for name, value in shown)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return format_id(value) if len(value) == 16 else value.hex()
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if is_dataclass(value):
        return "{" + _fields(value) + "}"
    return str(value)


# ---- sentences ---------------------------------------------------------------------------------


def _cluster_formed(record: ClusterFormed) -> str:
    return f"cluster {format_id(record.cluster_id)} begins"


def _node_registered(record: NodeRegistered) -> str:
    rack = f", rack {record.rack}" if record.rack else ""
    peer = f", peers at {record.peer_address}" if record.peer_address else ""
    fenced = ", fenced" if record.fenced else ""
    return (
        f"node {record.node_id} started: clients at {record.address}{peer}{rack},"
        f" directory {format_id(record.directory_id)}{fenced}"
    )


def _node_fenced(record: NodeFenced) -> str:
    return f"node {record.node_id} is not counted on any more"


def _node_unfenced(record: NodeUnfenced) -> str:
    return f"node {record.node_id} is in service"


def _node_removed(record: NodeRemoved) -> str:
    directory = format_id(record.directory_id)
    return f"node {record.node_id} with directory {directory} is gone for good"


def _voters_changed(record: VotersChanged) -> str:
    voters = ", ".join(
        f"{voter.node_id}@{voter.address}" if voter.address else str(voter.node_id)
        for voter in record.voters
    )
    return f"the voters are {voters}"


def _topic_created(record: TopicCreated) -> str:
    return (
        f"topic {record.name} ({format_id(record.topic_id)}) with"
        f" {_partitions(record.partitions)}{_settings(record.overrides)}"
    )


def _topic_configured(record: TopicConfigured) -> str:
    settings = _settings(record.overrides) or ", all settings at their defaults"
    return f"topic {format_id(record.topic_id)}{settings}"


def _partitions_added(record: PartitionsAdded) -> str:
    return f"topic {format_id(record.topic_id)} gets {_partitions(record.partitions)}"


def _topic_deleted(record: TopicDeleted) -> str:
    return f"topic {format_id(record.topic_id)} is deleted"


def _request_done(record: RequestDone) -> str:
    request, topic = format_id(record.request_id), format_id(record.topic_id)
    return f"request {request} about topic {topic} is carried out"


def _producer_ids_allocated(record: ProducerIdsAllocated) -> str:
    last = record.first_id + record.count - 1
    return f"node {record.node_id} hands out the producer ids {record.first_id} to {last}"


def _partition_changed(record: PartitionChanged) -> str:
    return f"topic {format_id(record.topic_id)} partition {_partition(record.state)}"


def _partitions(partitions: tuple[PartitionImage, ...]) -> str:
    count = f"{len(partitions)} partition{'' if len(partitions) == 1 else 's'}"
    shown = "; ".join(_partition(state) for state in partitions[:_SHOWN_MAX])
    more = "; …" if len(partitions) > _SHOWN_MAX else ""
    return f"{count}: {shown}{more}"


def _partition(state: PartitionImage) -> str:
    leader = f"led by {state.leader_id}" if state.leader_id >= 0 else "without leader"
    eligible = f", eligible {_ids(state.eligible)}" if state.eligible else ""
    damaged = f", damaged {_ids(state.damaged)}" if state.damaged else ""
    moving = f", moving to {_ids(state.target)}" if state.target else ""
    return (
        f"{state.partition} {leader} in epoch {state.leader_epoch},"
        f" replicas {_ids(state.replicas)}, in sync {_ids(state.isr)}{eligible}"
        f"{damaged}{moving}"
    )


def _ids(ids: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, ids)) + "]"


def _settings(overrides: tuple[tuple[str, str], ...]) -> str:
    return "".join(f", {name}={value}" for name, value in overrides)


#: Partitions of one record that are written out.
_SHOWN_MAX: Final = 4

_SENTENCES: Final[dict[type, Callable[[Any], str]]] = {
    ClusterFormed: _cluster_formed,
    NodeRegistered: _node_registered,
    NodeFenced: _node_fenced,
    NodeUnfenced: _node_unfenced,
    NodeRemoved: _node_removed,
    VotersChanged: _voters_changed,
    TopicCreated: _topic_created,
    TopicConfigured: _topic_configured,
    PartitionsAdded: _partitions_added,
    TopicDeleted: _topic_deleted,
    ProducerIdsAllocated: _producer_ids_allocated,
    PartitionChanged: _partition_changed,
    RequestDone: _request_done,
}
