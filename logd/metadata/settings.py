"""What the metadata machine takes from the node's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from logd.metadata.image import TopicImage
from logd.model.topic_config import parse_topic_config

_MIN_ISR: Final = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """What new topics get where a command does not say, and how far they may go."""

    partitions: int = 1
    #: -1: one for each voter, at most 3 and at most `replication_factor_max`.
    replication_factor: int = -1
    topic_defaults: Mapping[str, str] = field(default_factory=dict)
    #: So many replicas of a partition are possible.
    replication_factor_max: int = 32_767
    #: So many partitions change in one entry at most; the rest waits for `ElectLeaders`.
    changes_per_entry_max: int = 2_000

    def min_insync_replicas(self, topic: TopicImage) -> int:
        """The value in force for a topic, whatever else its configuration holds."""
        own = next((text for name, text in topic.overrides if name == _MIN_ISR), None)
        return _min_isr(own, self.topic_defaults.get(_MIN_ISR), topic.replication_factor)


@lru_cache(maxsize=1_024)
def _min_isr(own: str | None, default: str | None, replication_factor: int) -> int:
    # Every topic is asked whenever a node comes or goes.
    config = parse_topic_config(
        {} if own is None else {_MIN_ISR: own},
        defaults={} if default is None else {_MIN_ISR: default},
        replication_factor=replication_factor,
    )
    return config.min_insync_replicas
