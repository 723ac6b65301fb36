"""Options of the clients: one table each, checked once, when the client is made."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

from logd_wire import BatchBuilder, Compression
from logd_wire.errors import ConfigError
from logd_wire.limits import BATCH_BYTES_MAX, CLIENT_ID_CHARACTERS_MAX

from logd_client._core.accumulator import BatchingConfig
from logd_client._core.fetch_state import FetchConfig
from logd_client._core.partition_reader import Reset
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerConfig
from logd_client._engine.group_config import GroupConfig
from logd_client._engine.producer import ProducerConfig
from logd_client.values import Partitioner

DEFAULT_PORT: Final = 7171
GROUP_NAME_CHARACTERS_MAX: Final = 249

Acks = Literal[0, 1, "all"]
CompressionName = Literal["none", "gzip", "lz4", "zstd", "snappy"]
AutoOffsetReset = Literal["earliest", "latest", "error"]
OnCorrupt = Literal["stop", "skip"]
AssignmentStrategy = Literal["uniform", "range"]


class ProducerOptions(TypedDict, total=False):
    """Keyword arguments of `Producer` besides addresses and serializers."""

    client_id: str | None
    acks: Acks
    enable_idempotence: bool
    compression_type: CompressionName
    linger_ms: float
    batch_size: int
    buffer_memory: int
    max_block_ms: float
    delivery_timeout_ms: float
    request_timeout_ms: float
    metadata_max_age_ms: float
    partitioner: Partitioner | None


class ConsumerOptions(TypedDict, total=False):
    """Keyword arguments of `Consumer` besides addresses and deserializers."""

    client_id: str | None
    group_id: str | None
    group_instance_id: str | None
    enable_auto_commit: bool
    auto_commit_interval_ms: float
    session_timeout_ms: float
    rebalance_timeout_ms: float
    partition_assignment_strategy: AssignmentStrategy | None
    client_rack: str | None
    auto_offset_reset: AutoOffsetReset
    on_corrupt: OnCorrupt
    fetch_max_wait_ms: float
    fetch_min_bytes: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int
    max_poll_records: int
    consumer_timeout_ms: float | None
    request_timeout_ms: float
    metadata_max_age_ms: float


class AdminOptions(TypedDict, total=False):
    """Keyword arguments of `Admin` besides addresses."""

    client_id: str | None
    request_timeout_ms: float


def addresses_of(bootstrap_servers: str | Sequence[str]) -> tuple[str, ...]:
    """`"a:1,b:2"` or a sequence, as `host:port`; 7171 where no port is given."""
    parts = (
        bootstrap_servers.split(",") if isinstance(bootstrap_servers, str) else bootstrap_servers
    )
    found = [_address_of(part.strip()) for part in parts if part.strip()]
    if not found:
        raise ConfigError("bootstrap_servers is empty", hint='for example "localhost:7171"')
    return tuple(dict.fromkeys(found))


def _address_of(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        return f"{text}:{DEFAULT_PORT}"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"{text!r} in bootstrap_servers is not host:port", hint='for example "localhost:7171"'
        )
    return text


def cluster_config(
    bootstrap_servers: str | Sequence[str],
    client_id: str | None,
    request_timeout_ms: float,
    metadata_max_age_ms: float = 300_000,
) -> ClusterConfig:
    """Checked settings of every client."""
    if client_id is not None and len(client_id) > CLIENT_ID_CHARACTERS_MAX:
        raise ConfigError(f"client_id is longer than {CLIENT_ID_CHARACTERS_MAX} characters")
    return ClusterConfig(
        bootstrap_servers=addresses_of(bootstrap_servers),
        client_id=client_id or "",
        request_timeout_ms=number("request_timeout_ms", request_timeout_ms, 1),
        metadata_max_age_ms=number("metadata_max_age_ms", metadata_max_age_ms, 1),
    )


def producer_config(
    cluster: ClusterConfig,
    *,
    acks: object,
    enable_idempotence: bool,
    compression_type: str,
    linger_ms: float,
    batch_size: int,
    buffer_memory: int,
    max_block_ms: float,
    delivery_timeout_ms: float,
) -> ProducerConfig:
    """Checked settings of a producer. Raises ConfigError, UnsupportedCompressionError."""
    compression = Compression.parse(compression_type)
    BatchBuilder(compression)
    batch_bytes = integer("batch_size", batch_size, 1, BATCH_BYTES_MAX)
    return ProducerConfig(
        cluster=cluster,
        batching=BatchingConfig(
            batch_bytes=batch_bytes,
            buffer_bytes=integer("buffer_memory", buffer_memory, batch_bytes),
            linger_ms=number("linger_ms", linger_ms, 0),
            delivery_timeout_ms=number("delivery_timeout_ms", delivery_timeout_ms, 1),
            compression=compression,
        ),
        acks=acks_of(acks),
        idempotent=enable_idempotence,
        max_block_ms=number("max_block_ms", max_block_ms, 0),
    )


def acks_of(acks: object) -> int:
    """0, 1 or -1. Raises ConfigError."""
    known = {"0": 0, "1": 1, "-1": -1, "all": -1}
    found = known.get(str(acks).lower()) if not isinstance(acks, bool) else None
    if found is None:
        raise ConfigError(f"acks is {acks!r}", hint='choose 0, 1 or "all"')
    return found


def consumer_config(
    cluster: ClusterConfig,
    topics: tuple[str, ...],
    *,
    group: GroupConfig | None,
    auto_offset_reset: str,
    on_corrupt: str,
    fetch_max_wait_ms: float,
    fetch_min_bytes: int,
    fetch_max_bytes: int,
    max_partition_fetch_bytes: int,
) -> ConsumerConfig:
    """Checked settings of a consumer. Raises ConfigError."""
    for topic in topics:
        if not isinstance(topic, str):
            raise ConfigError(
                f"a topic is a {type(topic).__name__}, not str",
                hint='Consumer("topic", bootstrap_servers="host:port")',
            )
    choice("on_corrupt", on_corrupt, ("stop", "skip"))
    resets = {reset.value: reset for reset in Reset}
    choice("auto_offset_reset", auto_offset_reset, resets)
    return ConsumerConfig(
        cluster=cluster,
        fetch=FetchConfig(
            window_bytes=integer("fetch_max_bytes", fetch_max_bytes, 1),
            min_bytes=integer("fetch_min_bytes", fetch_min_bytes, 0, 2**31 - 1),
            max_wait_ms=round(number("fetch_max_wait_ms", fetch_max_wait_ms, 1, 60_000)),
            partition_max_bytes=integer(
                "max_partition_fetch_bytes", max_partition_fetch_bytes, 1, 2**31 - 1
            ),
            reset=resets[auto_offset_reset],
            skip_corrupt=on_corrupt == "skip",
            committed_first=group is not None,
        ),
        topics=topics,
        group=group,
    )


def group_config(
    group_id: str | None,
    *,
    group_instance_id: str | None,
    enable_auto_commit: bool,
    auto_commit_interval_ms: float,
    session_timeout_ms: float,
    rebalance_timeout_ms: float,
    partition_assignment_strategy: str | None,
    client_rack: str | None,
) -> GroupConfig | None:
    """Checked settings of a member; None without a group. Raises ConfigError."""
    if group_id is None:
        if group_instance_id is not None:
            raise ConfigError("group_instance_id is of use only with a group_id")
        return None
    _name_of("group_id", group_id)
    if group_instance_id is not None:
        _name_of("group_instance_id", group_instance_id)
    if partition_assignment_strategy is not None:
        choice("partition_assignment_strategy", partition_assignment_strategy, ("uniform", "range"))
    if client_rack is not None:
        _name_of("client_rack", client_rack)
    return GroupConfig(
        group_id,
        instance_id=group_instance_id,
        session_timeout_ms=integer("session_timeout_ms", session_timeout_ms, 1, 2**31 - 1),
        rebalance_timeout_ms=integer("rebalance_timeout_ms", rebalance_timeout_ms, 1, 2**31 - 1),
        assignor=partition_assignment_strategy,
        rack=client_rack,
        auto_commit=enable_auto_commit,
        auto_commit_interval_ms=number("auto_commit_interval_ms", auto_commit_interval_ms, 1),
    )


def _name_of(option: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= GROUP_NAME_CHARACTERS_MAX:
        raise ConfigError(
            f"{option} is {value!r}", hint=f"text of 1 to {GROUP_NAME_CHARACTERS_MAX} characters"
        )


def number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """`value` as a number in the range. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bound = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ConfigError(f"{name} is {value!r}", hint=f"a number, {bound}")
    return value


def integer(name: str, value: object, low: int, high: float = math.inf) -> int:
    """`value` as an integer in the range. Raises ConfigError."""
    checked = number(name, value, low, high)
    if checked != int(checked):
        raise ConfigError(f"{name} is {value!r}", hint="an integer")
    return int(checked)


def choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of `known`."""
    names = list(known)
    if value not in names:
        raise ConfigError(f"{name} is {value!r}", hint="choose " + ", ".join(map(repr, names)))


# ---- dotted names ------------------------------------------------------------------------------

_COMMON: Final[dict[str, Callable[[str], object]]] = {
    "bootstrap_servers": str,
    "client_id": str,
    "request_timeout_ms": float,
    "metadata_max_age_ms": float,
}


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    return known[text.lower()]


_PRODUCER: Final[dict[str, Callable[[str], object]]] = {
    **_COMMON,
    "acks": str,
    "enable_idempotence": _boolean,
    "compression_type": str,
    "linger_ms": float,
    "batch_size": int,
    "buffer_memory": int,
    "max_block_ms": float,
    "delivery_timeout_ms": float,
    "key_serializer": str,
    "value_serializer": str,
    "partitioner": str,
}
_CONSUMER: Final[dict[str, Callable[[str], object]]] = {
    **_COMMON,
    "group_id": str,
    "group_instance_id": str,
    "enable_auto_commit": _boolean,
    "auto_commit_interval_ms": float,
    "session_timeout_ms": float,
    "rebalance_timeout_ms": float,
    "partition_assignment_strategy": str,
    "client_rack": str,
    "auto_offset_reset": str,
    "on_corrupt": str,
    "fetch_max_wait_ms": float,
    "fetch_min_bytes": int,
    "fetch_max_bytes": int,
    "max_partition_fetch_bytes": int,
    "max_poll_records": int,
    "consumer_timeout_ms": float,
    "key_deserializer": str,
    "value_deserializer": str,
}
_ADMIN: Final[dict[str, Callable[[str], object]]] = {
    name: kind for name, kind in _COMMON.items() if name != "metadata_max_age_ms"
}
#: Client -> its options and what makes a value of text.
TABLES: Final = {"Producer": _PRODUCER, "Consumer": _CONSUMER, "Admin": _ADMIN}
#: Other spellings that configurations for Kafka clients have.
_ALIASES: Final = {
    "compression_codec": "compression_type",
    "fetch_wait_max_ms": "fetch_max_wait_ms",
}


def options_from(client: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names (or underscored ones) to keyword arguments of `client`.

    Text becomes numbers and booleans where the option is one. Raises ConfigError for an unknown
    name, with the nearest known one.
    """
    table = TABLES[client]
    options: dict[str, Any] = {}
    for dotted, value in conf.items():
        name = dotted.replace(".", "_")
        name = _ALIASES.get(name, name)
        if name not in table:
            raise _unknown_option(client, dotted, table)
        options[name] = _converted(dotted, value, table[name])
    return options


def _converted(dotted: str, value: object, kind: Callable[[str], object]) -> object:
    if not isinstance(value, str) or kind is str:
        return value
    try:
        return kind(value.strip())
    except (ValueError, KeyError):
        raise ConfigError(f"{dotted} is {value!r}, which is not understood") from None


def _unknown_option(client: str, dotted: str, table: Iterable[str]) -> ConfigError:
    known = [name.replace("_", ".") for name in table]
    close = difflib.get_close_matches(dotted.replace("_", "."), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "there are " + ", ".join(sorted(known))
    return ConfigError(f"{dotted!r} is not an option of {client}", hint=hint)
