"""Configuration of a topic, under Kafka's names.

A topic stores only what differs from the defaults, as text. The value in force is: the topic's
own, else the node's `topic_defaults`, else the table's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from logd_wire.errors import InvalidConfigError
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_HEADER_BYTES, KIB

from logd.model.settings import FlushMode, FlushPolicy, Kind, Setting, did_you_mean, format_value
from logd.model.units import format_duration

_INT32_MAX: Final = 2**31 - 1
_YEAR_MS: Final = 365 * 86_400_000
_LIST_CHARACTERS_MAX: Final = 100

TOPIC_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "cleanup.policy",
        Kind.CHOICE,
        "delete",
        "What happens to old records: `delete` removes whole segments by age, size and number, "
        "`compact` keeps the newest record of each key, `compact,delete` does both; empty keeps "
        "everything for ever.",
        dynamic=True,
        choices=("delete", "compact", "compact,delete", ""),
    ),
    Setting(
        "compression.type",
        Kind.CHOICE,
        "producer",
        "Batches stay compressed as the producer compressed them.",
        dynamic=True,
        choices=("producer",),
    ),
    Setting(
        "delete.retention.ms",
        Kind.DURATION,
        "24h",
        "How long a record without value stays after compaction first met it, so that readers who "
        "come from the start see the deletion of its key.",
        dynamic=True,
    ),
    Setting(
        "file.delete.delay.ms",
        Kind.DURATION,
        "60s",
        "How long the files of removed segments stay on disk, so that readers can finish.",
        dynamic=True,
        maximum=_YEAR_MS,
    ),
    Setting(
        "flush",
        Kind.FLUSH,
        "batch",
        "When written records are made durable: `batch` before they are acknowledged, "
        "`interval:10ms` at the latest so long after, `none` when the operating system likes.",
        dynamic=True,
    ),
    Setting(
        "index.interval.bytes",
        Kind.SIZE,
        "4096",
        "About one index entry for so many bytes of records.",
        dynamic=True,
        maximum=_INT32_MAX,
    ),
    Setting(
        "max.compaction.lag.ms",
        Kind.DURATION,
        "7d",
        "A compacted partition with a record that was appended longer ago, and not looked at "
        "since, is compacted whatever the share of such records.",
        dynamic=True,
        minimum=1,
    ),
    Setting(
        "max.message.bytes",
        Kind.SIZE,
        "1048588",
        "Largest record batch, as it is sent.",
        dynamic=True,
        minimum=BATCH_HEADER_BYTES,
        maximum=BATCH_BYTES_MAX,
    ),
    Setting(
        "message.timestamp.after.max.ms",
        Kind.DURATION,
        "1h",
        "A batch with a record time further in the future is refused.",
        dynamic=True,
    ),
    Setting(
        "message.timestamp.type",
        Kind.CHOICE,
        "CreateTime",
        "A record's time is the producer's. The time of the append is kept beside it.",
        dynamic=True,
        choices=("CreateTime",),
    ),
    Setting(
        "min.cleanable.dirty.ratio",
        Kind.RATIO,
        "0.5",
        "A partition is compacted when so large a share of its bytes was not looked at yet.",
        dynamic=True,
    ),
    Setting(
        "min.compaction.lag.ms",
        Kind.DURATION,
        "0",
        "A record stays at least so long after it was appended, also when a newer one of its key "
        "follows.",
        dynamic=True,
    ),
    Setting(
        "min.insync.replicas",
        Kind.INTEGER,
        "1",
        "With acks=all, the least number of in-sync replicas. When not set, 2 for topics with 3 "
        "replicas or more.",
        dynamic=True,
        minimum=1,
        maximum=_INT32_MAX,
    ),
    Setting(
        "retention.bytes",
        Kind.SIZE,
        "-1",
        "Old segments go while a partition without them is at least so large; -1: no limit.",
        dynamic=True,
        minimum=-1,
    ),
    Setting(
        "retention.ms",
        Kind.DURATION,
        "7d",
        "Segments go when their newest record is older; -1: no limit. A record time in the future, "
        "or older than this when it was appended, counts for nothing: the time of the append does.",
        dynamic=True,
        minimum=-1,
    ),
    Setting(
        "retention.records",
        Kind.INTEGER,
        "-1",
        "Old segments go while a partition without them spans at least so many offsets; -1: no "
        "limit.",
        dynamic=True,
        minimum=-1,
    ),
    Setting(
        "segment.bytes",
        Kind.SIZE,
        "64MiB",
        "A segment file that would grow beyond is closed and the next one begun.",
        dynamic=True,
        minimum=KIB,
        maximum=_INT32_MAX,
    ),
    Setting(
        "segment.ms",
        Kind.DURATION,
        "7d",
        "A segment whose first record was appended so long ago is closed and the next one begun, "
        "with or without traffic.",
        dynamic=True,
        minimum=1,
    ),
    Setting(
        "validate",
        Kind.CHOICE,
        "header",
        "What is checked of a batch before it is taken: `header` and checksum, or all `records`, "
        "which costs the node the decoding. Compacted topics are checked in full always.",
        dynamic=True,
        choices=("header", "records"),
    ),
)

_BY_NAME: Final[dict[str, Setting]] = {setting.name: setting for setting in TOPIC_SETTINGS}

#: Settings of Kafka's that would do nothing here, each with the reason.
_NOT_OFFERED: Final[dict[str, str]] = {
    "unclean.leader.election.enable": "clusters of more than one node are not in this release",
    "flush.messages": "set flush to batch, none or interval:<duration>",
    "flush.ms": "set flush to interval:<duration>",
    "segment.index.bytes": "indexes grow with their segment and need no size",
    "segment.jitter.ms": "segments are closed without jitter",
    "preallocate": "segments are not preallocated",
}
_VALUES_NOT_OFFERED: Final[dict[tuple[str, str], str]] = {
    ("message.timestamp.type", "LogAppendTime"): "offsets are found by the producer's time; the "
    "time of the append is kept in the time index and used by retention",
    **{
        ("compression.type", codec): "compress in the producer; the node keeps what it gets"
        for codec in ("uncompressed", "gzip", "snappy", "lz4", "zstd")
    },
}


_Items = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """Every value in force for one topic; units are in the names, -1 is *no limit*."""

    cleanup_policy: str
    compression_type: str
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush: FlushPolicy
    index_interval_bytes: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    retention_bytes: int
    retention_ms: int
    retention_records: int
    segment_bytes: int
    segment_ms: int
    validate: str

    @property
    def deletes(self) -> bool:
        """Whether retention by age, size and number applies."""
        return "delete" in self.cleanup_policy

    @property
    def compacts(self) -> bool:
        """Whether only the newest record of each key is kept."""
        return "compact" in self.cleanup_policy

    @property
    def validates_records(self) -> bool:
        """Whether batches are decoded before they are taken."""
        return self.compacts or self.validate == "records"


class TopicConfigEntry(NamedTuple):
    """One value in force, as text, with its `source`: `topic`, `node` or `default`."""

    name: str
    value: str
    source: str
    dynamic: bool
    doc: str


def parse_topic_config(
    overrides: Mapping[str, str],
    *,
    defaults: Mapping[str, str] | None = None,
    replication_factor: int = 1,
) -> TopicConfig:
    """Return the configuration in force for a topic with these settings of its own.

    `defaults` are the node's `topic_defaults`. Raises InvalidConfigError for an unknown name, a
    value out of bounds, or values that contradict each other.
    """
    own, others = tuple(overrides.items()), tuple((defaults or {}).items())
    return _parsed(own, others, replication_factor)


#: Each change of a topic is looked at by several: who decides, who keeps its logs, who tells of it.
@lru_cache(maxsize=1_024)
def _parsed(overrides: _Items, defaults: _Items, replication_factor: int) -> TopicConfig:
    texts = _in_force(dict(overrides), dict(defaults), replication_factor)
    values: dict[str, Any] = {
        _attribute(name): _parse_one(name, text) for name, (text, _) in texts.items()
    }
    config = TopicConfig(**values)
    _check_relations(config, replication_factor)
    return config


def topic_config_entries(
    overrides: Mapping[str, str],
    *,
    defaults: Mapping[str, str] | None = None,
    replication_factor: int = 1,
) -> list[TopicConfigEntry]:
    """Return every value in force by name, in plain form (milliseconds, bytes)."""
    texts = _in_force(overrides, defaults or {}, replication_factor)
    return [_entry(setting.name, *texts[setting.name]) for setting in TOPIC_SETTINGS]


def canonical_topic_config(overrides: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the settings sorted by name, values in plain form: `7d` becomes `604800000`.

    Raises InvalidConfigError for an unknown name or a value out of bounds.
    """
    for name in overrides:
        check_topic_setting_name(name)
    return tuple(
        (name, format_value(_parse_one(name, text))) for name, text in sorted(overrides.items())
    )


def check_topic_setting(name: str, text: str) -> None:
    """Raise InvalidConfigError unless `text` can be the value of the topic setting `name`."""
    check_topic_setting_name(name)
    _parse_one(name, text)


def check_topic_setting_name(name: str) -> None:
    """Raise InvalidConfigError, with a suggestion, unless a topic setting has this name."""
    if name in _BY_NAME:
        return
    shown = ascii(name[:64])
    if name in _NOT_OFFERED:
        raise InvalidConfigError(f"topic setting {shown} is not offered", hint=_NOT_OFFERED[name])
    raise InvalidConfigError(f"unknown topic setting {shown}", hint=did_you_mean(name, _BY_NAME))


def durability_in_words(config: TopicConfig, replication_factor: int) -> str:
    """Say what a record of this topic survives once it is acknowledged with acks=all."""
    replicas = "1 replica" if replication_factor == 1 else f"{replication_factor} replicas"
    match config.flush.mode:
        case FlushMode.BATCH if replication_factor == 1:
            return (
                f"{replicas}; synced before it is acknowledged: survives a crash and power loss "
                "of the node, not the loss of its disk"
            )
        case FlushMode.BATCH:
            lost = config.min_insync_replicas - 1
            return (
                f"{replicas}; synced on at least {config.min_insync_replicas} before it is "
                f"acknowledged: survives power loss of all nodes and the loss of {lost} "
                f"{'disk' if lost == 1 else 'disks'}"
            )
        case FlushMode.INTERVAL:
            return (
                f"{replicas}; synced within {format_duration(config.flush.interval_ms)} after it "
                "is acknowledged: survives a crash of the process; power loss may take what was "
                "acknowledged in that time"
            )
        case FlushMode.NONE:
            return (
                f"{replicas}; never synced on purpose: survives a crash of the process; power "
                "loss may take acknowledged records"
            )


def _in_force(
    overrides: Mapping[str, str], defaults: Mapping[str, str], replication_factor: int
) -> dict[str, tuple[str, str]]:
    """Return (text, source) by name."""
    for name in (*overrides, *defaults):
        check_topic_setting_name(name)
    texts = {setting.name: (setting.default, "default") for setting in TOPIC_SETTINGS}
    if replication_factor >= 3:
        texts["min.insync.replicas"] = ("2", "default")
    texts.update({name: (text, "node") for name, text in defaults.items()})
    wanted = _BY_NAME["min.insync.replicas"].parse(texts["min.insync.replicas"][0])
    if isinstance(wanted, int) and wanted > replication_factor:
        # A default for all topics is not meant to forbid topics with fewer replicas.
        texts["min.insync.replicas"] = (str(replication_factor), "node")
    texts.update({name: (text, "topic") for name, text in overrides.items()})
    return texts


#: Values are parsed wherever a topic's configuration is looked at; most are the same few.
@lru_cache(maxsize=1_024)
def _parse_one(name: str, text: str) -> Any:
    reason = _VALUES_NOT_OFFERED.get((name, text.replace(" ", "")))
    if reason is not None:
        raise InvalidConfigError(f"{name}: {text[:64]!r} is not offered", hint=reason)
    if name == "cleanup.policy" and "," in text[:_LIST_CHARACTERS_MAX]:
        text = ",".join(sorted(part.strip() for part in text.split(",")))
    return _BY_NAME[name].parse(text)


@lru_cache(maxsize=1_024)
def _entry(name: str, text: str, source: str) -> TopicConfigEntry:
    setting = _BY_NAME[name]
    value = format_value(_parse_one(name, text))
    return TopicConfigEntry(name, value, source, setting.dynamic, setting.doc)


def _attribute(name: str) -> str:
    return name.replace(".", "_")


def _check_relations(config: TopicConfig, replication_factor: int) -> None:
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms:
        raise InvalidConfigError(
            "min.compaction.lag.ms is larger than max.compaction.lag.ms",
            hint="lower the one or raise the other",
        )
    if config.min_insync_replicas > replication_factor:
        raise InvalidConfigError(
            f"min.insync.replicas is {config.min_insync_replicas} and the topic has "
            f"{replication_factor} replica{'s' if replication_factor != 1 else ''}: "
            "acks=all could never be answered",
            hint="lower min.insync.replicas or raise the replication factor",
        )
