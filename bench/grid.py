"""What is measured: groups of lanes. The runs of a group's lanes take turns, round by round."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Lane:
    """One client of one system: how it sends and how it reads."""

    name: str
    system: str
    driver: str
    send: str
    read: str
    label: str


LANES = {
    lane.name: lane
    for lane in (
        Lane("logd-bulk", "logd", "logd", "send_many", "getmany", "logd send_many / getmany"),
        Lane("logd-each", "logd", "logd", "send", "iterate", "logd send / iteration"),
        Lane("sketch", "sketch", "sketch", "batch", "batch", "bare: sketch of the data path"),
        Lane(
            "confluent",
            "kafka",
            "confluent",
            "produce",
            "consume",
            "Kafka, confluent-kafka produce / consume",
        ),
        Lane(
            "confluent-each",
            "kafka",
            "confluent",
            "produce",
            "poll",
            "Kafka, confluent-kafka produce / poll",
        ),
        Lane("aiokafka", "kafka", "aio_kafka", "send", "getmany", "Kafka, aiokafka"),
        Lane("kafka-java", "kafka", "kafka_tools", "java", "java", "Kafka, its own perf tools"),
        Lane(
            "rabbit-stream",
            "rabbitmq",
            "rabbit_streams",
            "send_batch",
            "callback",
            "RabbitMQ streams, rstream send_batch / callback",
        ),
        Lane(
            "rabbit-stream-each",
            "rabbitmq",
            "rabbit_streams",
            "send",
            "callback",
            "RabbitMQ streams, rstream send / callback",
        ),
        Lane(
            "rabbit-quorum",
            "rabbitmq",
            "rabbit_quorum",
            "publish",
            "callback",
            "RabbitMQ quorum queue, aio-pika",
        ),
        Lane("redis", "redis", "redis_streams", "xadd", "xread", "Redis Streams, pipelined"),
        Lane("nats", "nats", "nats_streams", "publish", "fetch", "NATS JetStream, nats-py"),
    )
}


@dataclass(frozen=True)
class Group:
    """Runs that are compared with each other. Sizes are bytes, times seconds.

    `rate` above 0: paced, for latencies; a negative one is that share of the lowest median that
    the group named by `rate_of` reached.
    """

    name: str
    title: str
    comparison: str
    lanes: tuple[str, ...]
    durability: str = "none"
    tuned: bool = True
    nodes: int = 1
    size: int = 100
    key_bytes: int = 0
    compression: str = "none"
    acks: str = "all"
    partitions: int = 1
    workers: int = 1
    rounds: int = 3
    seconds: float = 1.0
    rate: float = 0.0
    rate_of: str = ""
    linger_ms: float = 5.0
    batch_bytes: int = 256 * 1024


UNSYNCED = "like for like: nobody syncs before an acknowledgement"
SYNCED = "like for like: everybody syncs before every acknowledgement"
SHIPPED = "as shipped: every server and every client with its own defaults"

_MAIN = Group(
    "unsynced",
    "100 B, one node, not synced",
    UNSYNCED,
    (
        "logd-bulk",
        "logd-each",
        "sketch",
        "confluent",
        "confluent-each",
        "rabbit-stream",
        "rabbit-stream-each",
        "redis",
    ),
    rounds=5,
)
_OTHERS = Group(
    "unsynced-others",
    "100 B, one node, not synced: other clients",
    UNSYNCED,
    ("logd-bulk", "aiokafka", "kafka-java", "nats"),
    rounds=1,
)
_SYNCED = Group(
    "synced",
    "100 B, one node, synced",
    SYNCED,
    ("logd-bulk", "logd-each", "sketch", "confluent", "redis", "nats", "rabbit-quorum"),
    durability="sync",
    rounds=1,
)
_CLUSTER = Group(
    "synced-3-nodes",
    "100 B, three nodes, acks=all, synced",
    SYNCED,
    ("logd-bulk", "confluent"),
    durability="sync",
    nodes=3,
    rounds=5,
)
_CLUSTER_PACED = replace(
    _CLUSTER,
    name="synced-3-nodes-paced",
    title="100 B, three nodes, acks=all, synced: latency at a quarter of the slower one's maximum",
    lanes=("logd-each", "confluent"),
    rounds=1,
    seconds=4.0,
    rate=-0.25,
    rate_of="synced-3-nodes",
    linger_ms=0.0,
)
_SHIPPED = Group(
    "as-shipped",
    "100 B, one node, as shipped",
    SHIPPED,
    ("logd-bulk", "logd-each", "confluent", "rabbit-stream", "redis", "nats"),
    durability="default",
    tuned=False,
    rounds=1,
)
_PACED = Group(
    "end-to-end",
    "100 B at 1 000 records a second, one node: latency (clients do not linger)",
    UNSYNCED,
    ("logd-each", "confluent", "rabbit-stream", "redis"),
    rounds=1,
    seconds=5.0,
    rate=1_000.0,
    linger_ms=0.0,
)
_KIB = Group(
    "1-KiB",
    "1 KiB, one node, not synced",
    UNSYNCED,
    ("logd-bulk", "sketch", "confluent", "rabbit-stream"),
    size=1024,
    rounds=5,
)

QUICK = (_MAIN, _KIB, _SYNCED, _CLUSTER, _CLUSTER_PACED, _SHIPPED, _PACED)

_PAIR = ("logd-bulk", "confluent")


def _grown() -> list[Group]:
    """One setting after the other, the rest as in the first group."""
    base = replace(_MAIN, lanes=_PAIR, rounds=3)
    found = [
        replace(base, name=f"size-{size}", title=f"{size} B values, not synced", size=size)
        for size in (10, 16 * 1024, 1024 * 1024)
    ]
    found += [
        replace(base, name=f"partitions-{count}", title=f"{count} partitions", partitions=count)
        for count in (10, 100, 1_000)
    ]
    found += [
        replace(
            base,
            name=f"workers-{count}",
            title=f"{count} producers, then {count} consumers, 8 partitions",
            workers=count,
            partitions=8,
        )
        for count in (1, 2, 4, 8)
    ]
    found += [
        replace(base, name="keys", title="keys of 16 B, 8 partitions", key_bytes=16, partitions=8),
        replace(
            base, name="zstd", title="zstd, values of which half compresses", compression="zstd"
        ),
        replace(base, name="acks-0", title="acks=0", acks="0"),
        replace(base, name="acks-1", title="acks=1", acks="1"),
        replace(base, name="unsynced-3-nodes", title="three nodes, not synced", nodes=3),
        replace(
            base,
            name="synced-1-KiB-3-nodes",
            title="1 KiB, three nodes, synced",
            comparison=SYNCED,
            durability="sync",
            nodes=3,
            size=1024,
        ),
        replace(
            _PACED,
            name="end-to-end-synced",
            title="1 000 records a second, synced: latency",
            comparison=SYNCED,
            durability="sync",
            lanes=("logd-each", "confluent", "redis"),
        ),
    ]
    return found


FULL = (
    *(
        replace(each, rounds=max(each.rounds, 5), seconds=max(2.0, each.seconds))
        for each in (*QUICK, _OTHERS)
    ),
    *_grown(),
)
