"""The table of the node's settings, and the names they have in the environment and elsewhere."""

from __future__ import annotations

from typing import Final

from logd_wire.limits import BATCH_BYTES_MAX, KIB, MIB, PARTITIONS_PER_TOPIC_MAX

from logd.model.ids import NODE_ID_MAX
from logd.model.settings import Kind, Setting
from logd.model.topic_config import TOPIC_SETTINGS

ENVIRONMENT_PREFIX: Final = "LOGD__"
#: Prefix of the defaults for topics: `topic_defaults.retention.ms`.
TOPIC_DEFAULTS_PREFIX: Final = "topic_defaults."

_INT32_MAX: Final = 2**31 - 1
_HOUR_MS: Final = 3_600_000

#: `section.attribute` in NodeConfig for each row.
NODE_SETTINGS: Final[tuple[tuple[str, Setting], ...]] = (
    (
        "node.id",
        Setting(
            "node.id",
            Kind.INTEGER,
            "1",
            "Number of this node, unique in the cluster and fixed for the life of its data.",
            maximum=NODE_ID_MAX,
        ),
    ),
    (
        "node.data_dir",
        Setting("node.data_dir", Kind.TEXT, "logd-data", "Folder that holds everything stored."),
    ),
    (
        "node.rack",
        Setting("node.rack", Kind.TEXT, "", "Failure domain, such as a zone; may be empty."),
    ),
    (
        "node.heartbeat_ms",
        Setting(
            "node.heartbeat_ms",
            Kind.DURATION,
            "250ms",
            "How often a node tells the controller that it lives.",
            minimum=10,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "node.session_ms",
        Setting(
            "node.session_ms",
            Kind.DURATION,
            "1500ms",
            "A node of which the controller hears nothing for so long is fenced, and a node that "
            "does not hear from the controller for so long fences itself.",
            minimum=20,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "listeners.grpc",
        Setting(
            "listeners.grpc",
            Kind.ADDRESS,
            "127.0.0.1:7171",
            "Address for clients. There is no encryption and no authentication yet: leave it on "
            "the loopback interface unless the network is trusted.",
        ),
    ),
    (
        "listeners.advertised",
        Setting(
            "listeners.advertised",
            Kind.ADDRESS,
            "",
            "Address that clients are told to connect to; empty: `listeners.grpc`.",
        ),
    ),
    (
        "listeners.outside",
        Setting(
            "listeners.outside",
            Kind.ADDRESS,
            "",
            "A second address for clients, those that see the nodes under other addresses than "
            "`listeners.advertised`, such as from outside a container network; empty: none. There "
            "is no encryption and no authentication here either.",
        ),
    ),
    (
        "listeners.outside_advertised",
        Setting(
            "listeners.outside_advertised",
            Kind.PEERS,
            "",
            "Where clients that come through `listeners.outside` find each node: "
            "`1@localhost:17171,2@localhost:17172`, the same on each of them, in the file also an "
            "array of texts.",
        ),
    ),
    (
        "listeners.peer",
        Setting(
            "listeners.peer",
            Kind.ADDRESS,
            "",
            "Address for the other nodes of the cluster; empty: this node is the whole cluster. "
            "There is no encryption and no authentication yet: only the cluster's own nodes may "
            "reach it.",
        ),
    ),
    (
        "listeners.peer_advertised",
        Setting(
            "listeners.peer_advertised",
            Kind.ADDRESS,
            "",
            "Address that other nodes are told to connect to; empty: what `cluster.peers` says of "
            "this node, else `listeners.peer`.",
        ),
    ),
    (
        "listeners.admin",
        Setting(
            "listeners.admin",
            Kind.ADDRESS,
            "127.0.0.1:7180",
            "Address for health and metrics over HTTP; empty: none. When it is not configured and "
            "the port is taken, as by another node on this machine, a free port is used and "
            "logged. Like `listeners.grpc`, it is for trusted networks.",
        ),
    ),
    (
        "cluster.id",
        Setting(
            "cluster.id",
            Kind.ID,
            "",
            "Identity of the cluster; empty: what the data folder says, or a new one.",
        ),
    ),
    (
        "cluster.peers",
        Setting(
            "cluster.peers",
            Kind.PEERS,
            "",
            "The nodes that begin the cluster and vote, the same on each of them, with the "
            "addresses of their peer listeners: `1@node1:7172,2@node2:7172`, in the file also an "
            "array of texts. A node that joins later names them and itself. Empty: this node "
            "begins a cluster by itself.",
        ),
    ),
    (
        "replication.lag_ms_max",
        Setting(
            "replication.lag_ms_max",
            Kind.DURATION,
            "3s",
            "How long a replica may not have caught up with its leader before it is out of sync.",
            minimum=100,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "raft.heartbeat_ms",
        Setting(
            "raft.heartbeat_ms",
            Kind.DURATION,
            "100ms",
            "How often the leader of the metadata log tells the other voters that it lives.",
            minimum=10,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "raft.election_timeout_ms_min",
        Setting(
            "raft.election_timeout_ms_min",
            Kind.DURATION,
            "600ms",
            "A voter that hears of no leader for a time drawn between this and the most campaigns; "
            "more than two heartbeats.",
            minimum=20,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "raft.election_timeout_ms_max",
        Setting(
            "raft.election_timeout_ms_max",
            Kind.DURATION,
            "1200ms",
            "The most of that; a leader that hears of no majority for so long steps down.",
            minimum=20,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "log.retention_check_interval_ms",
        Setting(
            "retention.check.interval.ms",
            Kind.DURATION,
            "5m",
            "How often retention by time and size is applied.",
            minimum=10,
        ),
    ),
    (
        "log.free_bytes_min",
        Setting(
            "disk.free_bytes_min",
            Kind.SIZE,
            "64MiB",
            "With less free space on the disk, produce is refused until there is more; reading "
            "goes on.",
        ),
    ),
    (
        "log.producer_ids_max",
        Setting(
            "producer.ids.max",
            Kind.INTEGER,
            "10000",
            "Idempotent producers remembered for one partition; the one idle longest goes first.",
            minimum=1,
            maximum=1_000_000,
        ),
    ),
    (
        "cleaner.enable",
        Setting(
            "log.cleaner.enable",
            Kind.BOOLEAN,
            "true",
            "Whether this node compacts by itself; without it only on `logd topic compact`.",
        ),
    ),
    (
        "cleaner.backoff_ms",
        Setting(
            "log.cleaner.backoff.ms",
            Kind.DURATION,
            "15s",
            "How long the cleaner waits when there is nothing to compact.",
            minimum=10,
        ),
    ),
    (
        "cleaner.map_bytes",
        Setting(
            "log.cleaner.dedupe.buffer.size",
            Kind.SIZE,
            "128MiB",
            "Memory for the keys of one pass of the cleaner; what does not fit waits for the next "
            "pass. About 26 bytes for a key with the compiled codec.",
            minimum=64 * KIB,
            maximum=64 * 1024 * MIB,
        ),
    ),
    (
        "cleaner.io_bytes_per_second",
        Setting(
            "log.cleaner.io.max.bytes.per.second",
            Kind.SIZE,
            "32MiB",
            "Bytes that the cleaner reads and writes in a second, so that it leaves the disk to "
            "others; -1: no limit.",
            minimum=-1,
        ),
    ),
    (
        "topics.auto_create",
        Setting(
            "auto.create.topics.enable",
            Kind.BOOLEAN,
            "false",
            "Whether producing to an unknown topic creates it.",
        ),
    ),
    (
        "topics.partitions",
        Setting(
            "num.partitions",
            Kind.INTEGER,
            "1",
            "Partitions of a new topic that does not say.",
            minimum=1,
            maximum=PARTITIONS_PER_TOPIC_MAX,
        ),
    ),
    (
        "topics.replication_factor",
        Setting(
            "default.replication.factor",
            Kind.INTEGER,
            "-1",
            "Replicas of a new topic that does not say; -1: one for each node, at most 3.",
            minimum=-1,
            maximum=_INT32_MAX,
        ),
    ),
    (
        "groups.session_timeout_ms_default",
        Setting(
            "groups.session_timeout_ms_default",
            Kind.DURATION,
            "45s",
            "How long a member of a consumer group may be silent when it does not say; then its "
            "partitions are given to others. Members call three times in it, and every five "
            "seconds at least.",
            minimum=100,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "groups.session_timeout_ms_min",
        Setting(
            "groups.session_timeout_ms_min",
            Kind.DURATION,
            "1s",
            "The shortest session that a member may ask for.",
            minimum=100,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "groups.session_timeout_ms_max",
        Setting(
            "groups.session_timeout_ms_max",
            Kind.DURATION,
            "1h",
            "The longest session that a member may ask for.",
            minimum=100,
            maximum=_HOUR_MS,
        ),
    ),
    (
        "groups.offsets_retention_ms",
        Setting(
            "groups.offsets_retention_ms",
            Kind.DURATION,
            "7d",
            "Committed offsets of a group without members are forgotten so long after its last "
            "member had gone and after their commit. A group with members keeps them.",
            minimum=1_000,
        ),
    ),
    (
        "groups.members_max",
        Setting(
            "groups.members_max",
            Kind.INTEGER,
            "1000",
            "Members of one consumer group.",
            minimum=1,
            maximum=10_000,
        ),
    ),
    (
        "metrics.per_partition",
        Setting(
            "metrics.per_partition",
            Kind.BOOLEAN,
            "true",
            "Whether topics and partitions have series of their own in the metrics.",
        ),
    ),
    (
        "metrics.partitions_max",
        Setting(
            "metrics.partitions_max",
            Kind.INTEGER,
            "1000",
            "Topics, and partitions, that have series of their own: the first that there were.",
            maximum=100_000,
        ),
    ),
    (
        "limits.produce_bytes",
        Setting(
            "limits.produce_bytes",
            Kind.SIZE,
            "64MiB",
            "Batches accepted and not yet answered, of all connections together.",
            minimum=BATCH_BYTES_MAX,
        ),
    ),
    (
        "limits.produce_bytes_per_connection",
        Setting(
            "limits.produce_bytes_per_connection",
            Kind.SIZE,
            "16MiB",
            "The same of one connection; reading from it stops above.",
            minimum=BATCH_BYTES_MAX,
        ),
    ),
    (
        "limits.fetch_bytes",
        Setting(
            "limits.fetch_bytes",
            Kind.SIZE,
            "64MiB",
            "Batches read and not yet taken by consumers, of all connections together.",
            minimum=BATCH_BYTES_MAX,
        ),
    ),
    (
        "limits.connections",
        Setting(
            "limits.connections",
            Kind.INTEGER,
            "4000",
            "Client connections at one time.",
            minimum=1,
            maximum=_INT32_MAX,
        ),
    ),
    (
        "limits.streams_per_connection",
        Setting(
            "limits.streams_per_connection",
            Kind.INTEGER,
            "100",
            "Calls and streams at one time on one connection.",
            minimum=1,
            maximum=_INT32_MAX,
        ),
    ),
)

#: Other spellings: the sections `log` and `topic_defaults` of the file, and Kafka's broker names.
ALIASES: Final[dict[str, str]] = {
    "log.segment_bytes": "topic_defaults.segment.bytes",
    "log.segment.bytes": "topic_defaults.segment.bytes",
    "log.flush": "topic_defaults.flush",
    "log.retention": "topic_defaults.retention.ms",
    "log.retention.ms": "topic_defaults.retention.ms",
    "log.retention_bytes": "topic_defaults.retention.bytes",
    "log.retention.bytes": "topic_defaults.retention.bytes",
    "log.cleaner.delete.retention.ms": "topic_defaults.delete.retention.ms",
    "log.cleaner.min.cleanable.ratio": "topic_defaults.min.cleanable.dirty.ratio",
    "log.cleaner.min.compaction.lag.ms": "topic_defaults.min.compaction.lag.ms",
    "log.cleaner.max.compaction.lag.ms": "topic_defaults.max.compaction.lag.ms",
    "log.cleanup.policy": "topic_defaults.cleanup.policy",
    "log.retention.check.interval.ms": "retention.check.interval.ms",
    "message.max.bytes": "topic_defaults.max.message.bytes",
    "topic_defaults.partitions": "num.partitions",
    "topic_defaults.replication_factor": "default.replication.factor",
    "broker.id": "node.id",
    "broker.rack": "node.rack",
    "log.dirs": "node.data_dir",
    "broker.heartbeat.interval.ms": "node.heartbeat_ms",
    "broker.session.timeout.ms": "node.session_ms",
    "controller.quorum.voters": "cluster.peers",
    "replica.lag.time.max.ms": "replication.lag_ms_max",
    "group.consumer.session.timeout.ms": "groups.session_timeout_ms_default",
    "group.consumer.min.session.timeout.ms": "groups.session_timeout_ms_min",
    "group.consumer.max.session.timeout.ms": "groups.session_timeout_ms_max",
    "group.consumer.max.size": "groups.members_max",
}

SETTINGS_BY_NAME: Final[dict[str, Setting]] = {
    **{setting.name: setting for _, setting in NODE_SETTINGS},
    **{TOPIC_DEFAULTS_PREFIX + setting.name: setting for setting in TOPIC_SETTINGS},
}

assert all(target in SETTINGS_BY_NAME for target in ALIASES.values())
assert not set(ALIASES) & set(SETTINGS_BY_NAME)


def environment_name(name: str) -> str:
    """Return the environment variable of a setting: `node.id` is `LOGD__NODE__ID`."""
    return ENVIRONMENT_PREFIX + name.replace(".", "__").upper()
