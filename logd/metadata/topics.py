"""Decisions about topics: creation, deletion, alteration."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from logd_wire.errors import (
    ErrorCode,
    InvalidConfigError,
    InvalidRequestError,
    InvalidTopicNameError,
    LogdError,
    TopicExistsError,
    UnknownTopicError,
)
from logd_wire.limits import PARTITIONS_PER_TOPIC_MAX

from logd.metadata.commands import AlterTopic, CreateTopic, DeleteTopic, Outcome
from logd.metadata.elections import without_eligible
from logd.metadata.image import ClusterImage, NodeImage, TopicImage
from logd.metadata.placement import place_partitions
from logd.metadata.records import (
    MetadataRecord,
    Overrides,
    PartitionsAdded,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
)
from logd.metadata.refusals import check_id
from logd.metadata.replay import replay
from logd.metadata.requests import done_before, noted
from logd.metadata.settings import MetadataSettings
from logd.model.ids import TopicId, format_id
from logd.model.names import INTERNAL_PREFIX, check_not_internal, check_topic_name, collision_key
from logd.model.topic_config import (
    canonical_topic_config,
    check_topic_setting_name,
    parse_topic_config,
)

#: A new topic gets so many replicas where there are so many voters and nothing else is said.
REPLICATION_FACTOR_AIM: Final = 3


def create_topic(
    image: ClusterImage, settings: MetadataSettings, command: CreateTopic
) -> Outcome[TopicImage]:
    """Place a new topic on nodes, rather on those in service."""
    check_topic_name(command.name.removeprefix(INTERNAL_PREFIX * command.internal))
    if command.topic_id in image.deleted:
        # It was created as asked, and has been deleted since.
        return Outcome((), TopicImage(command.topic_id, command.name, (), ()))
    made = image.topics.get(command.topic_id)
    if made is not None and made.name == command.name and not command.validate_only:
        return Outcome((), made)
    _check_free(image, command.name)
    partitions = command.partitions or settings.partitions
    if not 1 <= partitions <= PARTITIONS_PER_TOPIC_MAX:
        raise _invalid_partitions(command.name, partitions)
    replicas = _replication_factor(image, settings, command)
    nodes = _nodes_for(image, command.name, replicas)
    overrides = canonical_topic_config(command.config)
    _check_config(settings, overrides, replicas)
    placed = place_partitions(nodes, replicas, partitions, start=len(image.topics))
    if command.validate_only:
        return Outcome((), TopicImage(TopicId(b""), command.name, placed, overrides))
    check_id(command.topic_id, "topic id")
    if command.topic_id in image.topics:
        raise InvalidRequestError(f"the topic id {format_id(command.topic_id)} is in use")
    record = TopicCreated(command.topic_id, command.name, placed, overrides)
    return Outcome((record,), TopicImage(command.topic_id, command.name, placed, overrides))


def _check_free(image: ClusterImage, name: str) -> None:
    if name in image.topic_ids:
        raise TopicExistsError(f"topic {name} already exists")
    key = collision_key(name)
    for other in image.topic_ids:
        if collision_key(other) == key:
            raise InvalidTopicNameError(
                f"topic name {name} differs from the existing {other} only in . and _",
                hint="such names collide in the names of metrics; choose another",
            )


def _replication_factor(
    image: ClusterImage, settings: MetadataSettings, command: CreateTopic
) -> int:
    wanted = command.replication_factor
    if wanted in {0, -1}:
        wanted = settings.replication_factor
    most = settings.replication_factor_max
    if wanted == -1:
        wanted = min(REPLICATION_FACTOR_AIM, max(1, len(image.voters)), most)
    if wanted > most:
        raise InvalidRequestError(
            f"topic {command.name}: replication factor {wanted}; this version keeps "
            f"{'one replica' if most == 1 else f'at most {most} replicas'} of a partition",
            hint="choose 1" if most == 1 else f"choose from 1 to {most}",
            code=ErrorCode.INVALID_REPLICATION_FACTOR,
        )
    return wanted


def _nodes_for(image: ClusterImage, name: str, replicas: int) -> list[NodeImage]:
    """The nodes to place replicas on; raises where these are too few, or none is in service."""
    every = [node for _, node in sorted(image.nodes.items())]
    in_service = image.nodes_in_service
    if in_service and 1 <= replicas <= len(every):
        return every
    counted = f"{len(every)} {'node' if len(every) == 1 else 'nodes'}"
    nobody = "" if in_service or not every else ", none of them in service"
    registered = f"choose from 1 to {len(every)}" if every else "no node is registered yet"
    raise InvalidRequestError(
        f"topic {name}: replication factor {replicas} with {counted}{nobody}",
        hint="no node is in service yet" if nobody else registered,
        code=ErrorCode.INVALID_REPLICATION_FACTOR,
        retriable=1 <= replicas <= len(every),
    )


def delete_topic(image: ClusterImage, command: DeleteTopic) -> Outcome[TopicImage]:
    """End a topic; its name is free, its id is not used again."""
    if command.request_id:
        check_id(command.request_id, "request id")
        done = image.deletion(command.request_id)
        if done is not None:
            return Outcome((), TopicImage(done.topic_id, command.name, (), ()))
    topic = _topic(image, command.name)
    check_not_internal(topic.name, "deleted")
    return Outcome((TopicDeleted(topic.topic_id, command.request_id),), topic)


def alter_topic(
    image: ClusterImage, settings: MetadataSettings, command: AlterTopic
) -> Outcome[TopicImage]:
    """Change configuration and add partitions, in one step."""
    done = done_before(image, command.request_id)
    if done is not None:
        gone = TopicImage(done.topic_id, command.name, (), ())
        return Outcome((), image.topics.get(done.topic_id, gone))
    topic = _topic(image, command.name)
    check_not_internal(topic.name, "altered")
    records: list[MetadataRecord] = []
    overrides = _altered_config(settings, command, topic)
    after = topic
    if overrides != topic.overrides:
        records.append(TopicConfigured(topic.topic_id, overrides))
        after = replace(topic, overrides=overrides)
        records += without_eligible(settings, topic, after)
    if command.partitions not in {0, len(topic.partitions)}:
        records.append(_more_partitions(image, topic, command.partitions))
    if len(records) > 1 or after is topic:
        after = replay(image, records).topics[topic.topic_id]
    if command.validate_only:
        return Outcome((), after)
    return Outcome(noted(records, command.request_id, topic.topic_id), after)


def _altered_config(
    settings: MetadataSettings, command: AlterTopic, topic: TopicImage
) -> Overrides:
    both = sorted(set(command.set_config) & set(command.delete_config))
    if both:
        raise InvalidConfigError(f"topic {topic.name}: {both[0]} is both set and deleted")
    config = topic.config
    for name in command.delete_config:
        # What is set can be given back, also when this version would not take it any more.
        if name not in config:
            check_topic_setting_name(name)
        config.pop(name, None)
    config.update(canonical_topic_config(command.set_config))
    overrides = tuple(sorted(config.items()))
    if overrides != topic.overrides:
        _check_config(settings, overrides, topic.replication_factor)
    return overrides


def _more_partitions(image: ClusterImage, topic: TopicImage, wanted: int) -> PartitionsAdded:
    if not len(topic.partitions) < wanted <= PARTITIONS_PER_TOPIC_MAX:
        raise _invalid_partitions(topic.name, wanted, now=len(topic.partitions))
    replicas = topic.replication_factor
    nodes = _nodes_for(image, topic.name, replicas)
    more = wanted - len(topic.partitions)
    return PartitionsAdded(
        topic.topic_id, place_partitions(nodes, replicas, more, existing=topic.partitions)
    )


def _topic(image: ClusterImage, name: str) -> TopicImage:
    try:
        return image.topic_named(name)
    except UnknownTopicError as error:
        # For a reader the topic may be about to appear; here, this is the place that knows.
        error.retriable = False
        raise


def _check_config(
    settings: MetadataSettings, overrides: Overrides, replication_factor: int
) -> None:
    parse_topic_config(
        dict(overrides),
        defaults=settings.topic_defaults,
        replication_factor=replication_factor,
    )


def _invalid_partitions(name: str, wanted: int, now: int = 0) -> LogdError:
    has, rule = (f" and it has {now}", "; partitions only grow") if now else ("", "")
    return InvalidRequestError(
        f"topic {name}: {wanted} partitions were asked for{has}",
        hint=f"choose from {now + 1} to {PARTITIONS_PER_TOPIC_MAX}{rule}",
        code=ErrorCode.INVALID_PARTITIONS,
    )
