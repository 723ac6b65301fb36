"""Configuration of a node: one TOML file, the environment, and flags on top.

Precedence is flag, environment, file, default. Nothing here reads a file or the environment: the
caller hands both in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from logd_wire.errors import InvalidConfigError, LogdError

from logd.model.addresses import PeerAddresses
from logd.model.ids import NodeId
from logd.model.node_settings import (
    ALIASES,
    ENVIRONMENT_PREFIX,
    NODE_SETTINGS,
    SETTINGS_BY_NAME,
    TOPIC_DEFAULTS_PREFIX,
    environment_name,
)
from logd.model.settings import Kind, did_you_mean, format_value
from logd.model.topic_config import TOPIC_SETTINGS, check_topic_setting, check_topic_setting_name

_FILE_CHARACTERS_MAX: Final = 100_000
#: Also bounds how deeply the file's tables may be nested.
_NAME_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class NodeSection:
    """Who this node is."""

    id: NodeId
    data_dir: str
    rack: str
    #: Of its session with the controller.
    heartbeat_ms: int
    session_ms: int


@dataclass(frozen=True, slots=True)
class ListenersSection:
    """Where it listens. `advertised` is `grpc` when not configured otherwise.

    `outside` is empty when there is no second listener for clients; otherwise `outside_advertised`
    names this node. `peer` is empty when it does not listen to other nodes. `peer_advertised` is
    what the cluster's peers say of this node, or `peer`, when not configured otherwise. `admin` is
    empty for none, and `admin_is_default` when nobody chose it.
    """

    grpc: str
    advertised: str
    outside: str
    outside_advertised: PeerAddresses
    peer: str
    peer_advertised: str
    admin: str
    admin_is_default: bool


@dataclass(frozen=True, slots=True)
class ClusterSection:
    """`id`: 16 bytes, or empty when not configured. `peers`: this node is among them, or none."""

    id: bytes
    peers: PeerAddresses


@dataclass(frozen=True, slots=True)
class RaftSection:
    """Timing of the metadata quorum."""

    heartbeat_ms: int
    election_timeout_ms_min: int
    election_timeout_ms_max: int


@dataclass(frozen=True, slots=True)
class ReplicationSection:
    """Copies of partitions on other nodes."""

    lag_ms_max: int


@dataclass(frozen=True, slots=True)
class LogSection:
    """Storage of this node."""

    retention_check_interval_ms: int
    free_bytes_min: int
    producer_ids_max: int


@dataclass(frozen=True, slots=True)
class CleanerSection:
    """Compaction on this node. `io_bytes_per_second` -1: no limit."""

    enable: bool
    backoff_ms: int
    map_bytes: int
    io_bytes_per_second: int


@dataclass(frozen=True, slots=True)
class TopicsSection:
    """New topics. `replication_factor` -1: one replica for each node, at most 3."""

    auto_create: bool
    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class GroupsSection:
    """Consumer groups that this node coordinates."""

    session_timeout_ms_default: int
    session_timeout_ms_min: int
    session_timeout_ms_max: int
    offsets_retention_ms: int
    members_max: int


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """How much detail the metrics show."""

    per_partition: bool
    partitions_max: int


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """Budgets in bytes, and counts."""

    produce_bytes: int
    produce_bytes_per_connection: int
    fetch_bytes: int
    connections: int
    streams_per_connection: int


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a node is told at its start, checked.

    `topic_defaults` holds only what was configured, as text, for `parse_topic_config`.
    """

    node: NodeSection
    listeners: ListenersSection
    cluster: ClusterSection
    raft: RaftSection
    replication: ReplicationSection
    log: LogSection
    cleaner: CleanerSection
    topics: TopicsSection
    topic_defaults: Mapping[str, str]
    groups: GroupsSection
    metrics: MetricsSection
    limits: LimitsSection


class NodeConfigEntry(NamedTuple):
    """One value in force, as text, with its `source`: `flag`, `environment`, `file`, `default`."""

    name: str
    value: str
    source: str


class _Given(NamedTuple):
    text: str
    source: str
    #: The spelling the user chose, for messages.
    spelling: str


def load_node_config(
    *,
    file_text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> tuple[NodeConfig, list[NodeConfigEntry]]:
    """Return the configuration and every value with its source, sorted by name.

    `file_text` is TOML; `environ` may hold anything, only names with `LOGD__` are read; `flags`
    are setting names with texts. Raises InvalidConfigError that says where and what.
    """
    given: dict[str, _Given] = {}
    given.update(_from_file(file_text or ""))
    given.update(_from_environment(environ or {}))
    given.update(_from_names("flag", (flags or {}).items()))
    config = _build(given)
    _check_relations(config)
    return config, _entries(given)


def _from_file(text: str) -> dict[str, _Given]:
    if len(text) > _FILE_CHARACTERS_MAX:
        raise InvalidConfigError(f"the configuration file has {len(text)} characters")
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidConfigError(f"the configuration file is not TOML: {error}") from None
    return _from_names("file", _flatten(tree, ""))


def _flatten(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        name = prefix + key
        if len(name) > _NAME_CHARACTERS_MAX:
            raise InvalidConfigError(f"file: no setting is named {name[:64]!a}...")
        match value:
            case dict():
                yield from _flatten(value, name + ".")
            case bool():
                yield name, format_value(value)
            case int() | str():
                yield name, str(value)
            case list() if _takes_a_list(name) and all(isinstance(one, str) for one in value):
                yield name, ",".join(value)
            case _:
                raise InvalidConfigError(
                    f"file: {name} is a {type(value).__name__}",
                    hint="write a text, a whole number, true or false",
                )


def _takes_a_list(name: str) -> bool:
    setting = SETTINGS_BY_NAME.get(ALIASES.get(name, name))
    return setting is not None and setting.kind is Kind.PEERS


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    known = {environment_name(name): name for name in (*SETTINGS_BY_NAME, *ALIASES)}
    named: list[tuple[str, str]] = []
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = known.get(variable)
        if name is None:
            raise InvalidConfigError(
                f"environment: no setting is named {variable[:100]}",
                hint=did_you_mean(variable, known),
            )
        named.append((name, environ[variable]))
    return _from_names("environment", named)


def _from_names(source: str, named: Iterable[tuple[str, str]]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for spelling, text in named:
        name = ALIASES.get(spelling, spelling)
        _check_known(source, name)
        if name in given:
            raise InvalidConfigError(
                f"{source}: {given[name].spelling} and {spelling} are the same setting",
                hint="keep one of them",
            )
        given[name] = _Given(text, source, spelling)
    return given


def _check_known(source: str, name: str) -> None:
    if name in SETTINGS_BY_NAME:
        return
    if name.startswith(TOPIC_DEFAULTS_PREFIX):
        try:
            check_topic_setting_name(name.removeprefix(TOPIC_DEFAULTS_PREFIX))
        except InvalidConfigError as error:
            raise InvalidConfigError(f"{source}: {error.message}", hint=error.hint) from None
    raise InvalidConfigError(
        f"{source}: unknown setting {name[:100]!a}",
        hint=did_you_mean(name, (*SETTINGS_BY_NAME, *ALIASES)),
    )


def _build(given: Mapping[str, _Given]) -> NodeConfig:
    sections: dict[str, dict[str, Any]] = {}
    for path, setting in NODE_SETTINGS:
        section, attribute = path.split(".")
        at = given.get(setting.name, _Given(setting.default, "default", setting.name))
        with _Located(at):
            sections.setdefault(section, {})[attribute] = setting.parse(at.text)
    listeners, cluster = sections["listeners"], ClusterSection(**sections["cluster"])
    listeners["advertised"] = listeners["advertised"] or listeners["grpc"]
    own = dict(cluster.peers).get(sections["node"]["id"], listeners["peer"])
    listeners["peer_advertised"] = listeners["peer_advertised"] or own
    listeners["admin_is_default"] = "listeners.admin" not in given
    return NodeConfig(
        node=NodeSection(**sections["node"]),
        listeners=ListenersSection(**listeners),
        cluster=cluster,
        raft=RaftSection(**sections["raft"]),
        replication=ReplicationSection(**sections["replication"]),
        log=LogSection(**sections["log"]),
        cleaner=CleanerSection(**sections["cleaner"]),
        topics=TopicsSection(**sections["topics"]),
        topic_defaults=MappingProxyType(_topic_defaults(given)),
        groups=GroupsSection(**sections["groups"]),
        metrics=MetricsSection(**sections["metrics"]),
        limits=LimitsSection(**sections["limits"]),
    )


def _topic_defaults(given: Mapping[str, _Given]) -> dict[str, str]:
    defaults = {}
    for setting in TOPIC_SETTINGS:
        at = given.get(TOPIC_DEFAULTS_PREFIX + setting.name)
        if at is not None:
            with _Located(at):
                check_topic_setting(setting.name, at.text)
            defaults[setting.name] = at.text
    return defaults


class _Located:
    """Says in the error of a value where the value was written."""

    def __init__(self, given: _Given) -> None:
        self._given = given

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LogdError):
            raise InvalidConfigError(
                f"{self._given.source}: {error.message}", hint=error.hint
            ) from None


def _entries(given: Mapping[str, _Given]) -> list[NodeConfigEntry]:
    entries = []
    for name, setting in SETTINGS_BY_NAME.items():
        at = given.get(name, _Given(setting.default, "default", name))
        entries.append(NodeConfigEntry(name, at.text, at.source))
    return sorted(entries)


def _check_relations(config: NodeConfig) -> None:
    limits = config.limits
    if not config.node.data_dir:
        raise InvalidConfigError("node.data_dir is empty", hint="name a folder")
    if not config.listeners.grpc:
        raise InvalidConfigError("listeners.grpc is empty", hint="write host:port")
    if config.topics.replication_factor == 0:
        raise InvalidConfigError(
            "default.replication.factor is 0", hint="-1 means one for each node, at most 3"
        )
    if limits.produce_bytes_per_connection > limits.produce_bytes:
        raise InvalidConfigError(
            "limits.produce_bytes_per_connection is larger than limits.produce_bytes",
            hint="one connection cannot be given more than all connections together",
        )
    _check_outside(config)
    _check_peers(config)
    _check_timing(config)
    _check_groups(config)


def _check_outside(config: NodeConfig) -> None:
    listeners, advertised = config.listeners, dict(config.listeners.outside_advertised)
    if not listeners.outside:
        if advertised:
            raise InvalidConfigError(
                "listeners.outside_advertised is set and listeners.outside is empty",
                hint="write the address at which this node listens to clients from outside",
            )
        return
    if config.node.id not in advertised:
        raise InvalidConfigError(
            "listeners.outside is set and listeners.outside_advertised does not name this node, "
            f"whose id is {config.node.id}",
            hint="write where clients from outside find each node: "
            f"{config.node.id}@localhost:17171",
        )
    if listeners.outside.endswith(":0"):
        raise InvalidConfigError(
            "listeners.outside has port 0", hint="clients from outside must know the port"
        )
    for name, other in (("grpc", listeners.grpc), ("peer", listeners.peer)):
        if listeners.outside == other:
            raise InvalidConfigError(
                f"listeners.outside and listeners.{name} are both {other}",
                hint="each listener has a port of its own",
            )


def _check_peers(config: NodeConfig) -> None:
    listeners, peers = config.listeners, dict(config.cluster.peers)
    if not listeners.peer:
        if peers:
            raise InvalidConfigError(
                "cluster.peers is set and listeners.peer is empty",
                hint="write the address at which this node listens to the others",
            )
        if listeners.peer_advertised:
            raise InvalidConfigError(
                "listeners.peer_advertised is set and listeners.peer is empty",
                hint="write the address at which this node listens to the others",
            )
        return
    if listeners.peer == listeners.grpc and not listeners.peer.endswith(":0"):
        raise InvalidConfigError(
            f"listeners.peer and listeners.grpc are both {listeners.peer}",
            hint="clients and nodes are listened to at different ports",
        )
    if peers and config.node.id not in peers:
        raise InvalidConfigError(
            f"cluster.peers does not name this node, whose id is {config.node.id}",
            hint="name this node beside the others, also where it joins a cluster that exists",
        )
    if peers and peers[config.node.id] != listeners.peer_advertised:
        raise InvalidConfigError(
            f"cluster.peers says that this node is at {peers[config.node.id]}, and "
            f"listeners.peer_advertised that it is at {listeners.peer_advertised}",
            hint="leave listeners.peer_advertised out",
        )


def _check_timing(config: NodeConfig) -> None:
    raft, node = config.raft, config.node
    if raft.election_timeout_ms_min <= 2 * raft.heartbeat_ms:
        raise InvalidConfigError(
            f"raft.election_timeout_ms_min is {raft.election_timeout_ms_min} ms, no more than two "
            f"heartbeats of raft.heartbeat_ms, {raft.heartbeat_ms} ms",
            hint="one lost heartbeat must not cause an election",
        )
    if raft.election_timeout_ms_max <= raft.election_timeout_ms_min:
        raise InvalidConfigError(
            f"raft.election_timeout_ms_max is {raft.election_timeout_ms_max} ms, no more than "
            f"raft.election_timeout_ms_min, {raft.election_timeout_ms_min} ms",
            hint="voters whose timeouts are equal stand in each other's way",
        )
    if node.session_ms < 2 * node.heartbeat_ms:
        raise InvalidConfigError(
            f"node.session_ms is {node.session_ms} ms, less than two heartbeats of "
            f"node.heartbeat_ms, {node.heartbeat_ms} ms",
            hint="one lost heartbeat must not fence a node",
        )


def _check_groups(config: NodeConfig) -> None:
    groups = config.groups
    if not (
        groups.session_timeout_ms_min
        <= groups.session_timeout_ms_default
        <= groups.session_timeout_ms_max
    ):
        raise InvalidConfigError(
            f"groups.session_timeout_ms_default is {groups.session_timeout_ms_default} ms, not "
            f"from groups.session_timeout_ms_min, {groups.session_timeout_ms_min} ms, to "
            f"groups.session_timeout_ms_max, {groups.session_timeout_ms_max} ms",
            hint="members that do not say get the default",
        )
