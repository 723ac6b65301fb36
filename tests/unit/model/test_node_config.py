from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidConfigError

from logd.model.addresses import PeerAddress
from logd.model.ids import NodeId
from logd.model.node_config import NodeConfig, load_node_config
from logd.model.node_settings import (
    ALIASES,
    NODE_SETTINGS,
    SETTINGS_BY_NAME,
    environment_name,
)
from logd.model.topic_config import parse_topic_config

FILE = """
auto.create.topics.enable = true
[node]
id = 3
data_dir = "/var/lib/logd"
rack = "a"
[listeners]
grpc = "0.0.0.0:7171"
advertised = "node1:7171"
peer = "0.0.0.0:7172"
[cluster]
id = "6f1c1d2e-0a3b-4c5d-8e9f-001122334455"
peers = ["1@node1:7172", "2@node2:7172", "3@[::1]:7172"]
[raft]
heartbeat_ms = 50
election_timeout_ms_max = "2s"
[log]
segment_bytes = "16MiB"
flush = "interval:10ms"
retention = "1d"
[topic_defaults]
partitions = 6
"min.insync.replicas" = 2
[limits]
produce_bytes = "128MiB"
"""

OUTSIDE = "[listeners]\noutside = '{}'\noutside_advertised = ['1@b:1']\npeer = 'a:9'"
PEERS = "[cluster]\npeers = [{}]\n"


def loaded(**sources: object) -> NodeConfig:
    return load_node_config(**sources)[0]  # type: ignore[arg-type]


def sources(**given_sources: object) -> dict[str, tuple[str, str]]:
    entries = load_node_config(**given_sources)[1]  # type: ignore[arg-type]
    return {entry.name: (entry.value, entry.source) for entry in entries}


def test_the_defaults_are_a_node_on_this_machine_alone() -> None:
    config = loaded()
    assert (config.node.id, config.node.data_dir, config.node.rack) == (1, "logd-data", "")
    assert config.listeners.grpc == config.listeners.advertised == "127.0.0.1:7171"
    assert config.cluster.id == b""
    assert config.cluster.peers == ()
    assert config.listeners.peer == config.listeners.peer_advertised == ""
    raft = config.raft
    assert (raft.heartbeat_ms, raft.election_timeout_ms_min) == (100, 600)
    assert raft.election_timeout_ms_max == 1_200
    assert (config.node.heartbeat_ms, config.node.session_ms) == (250, 1_500)
    assert config.log.retention_check_interval_ms == 300_000
    assert config.log.free_bytes_min == 64 * 2**20
    assert config.log.producer_ids_max == 10_000
    assert not config.topics.auto_create
    assert (config.topics.partitions, config.topics.replication_factor) == (1, -1)
    assert config.limits.produce_bytes == config.limits.fetch_bytes == 64 * 2**20
    assert config.limits.produce_bytes_per_connection == 16 * 2**20
    assert dict(config.topic_defaults) == {}


def test_a_file() -> None:
    config = loaded(file_text=FILE)
    assert config.node.id == 3
    assert config.listeners.advertised == "node1:7171"
    assert config.cluster.id.hex() == "6f1c1d2e0a3b4c5d8e9f001122334455"
    assert config.cluster.peers == (
        PeerAddress(NodeId(1), "node1:7172"),
        PeerAddress(NodeId(2), "node2:7172"),
        PeerAddress(NodeId(3), "[::1]:7172"),
    )
    # What the others are told is what they were told before.
    assert (config.listeners.peer, config.listeners.peer_advertised) == (
        "0.0.0.0:7172",
        "[::1]:7172",
    )
    assert (config.raft.heartbeat_ms, config.raft.election_timeout_ms_max) == (50, 2_000)
    assert config.topics.auto_create
    assert config.topics.partitions == 6
    assert config.limits.produce_bytes == 2**27
    topic = parse_topic_config({}, defaults=config.topic_defaults, replication_factor=3)
    assert (topic.segment_bytes, topic.retention_ms) == (2**24, 86_400_000)
    assert str(topic.flush) == "interval:10ms"
    assert topic.min_insync_replicas == 2


def test_flag_before_environment_before_file_before_default() -> None:
    given_sources = {
        "file_text": '[node]\nid = 2\nrack = "file"\ndata_dir = "file"',
        "environ": {"LOGD__NODE__ID": "3", "LOGD__NODE__RACK": "environment", "HOME": "/x"},
        "flags": {"node.id": "4"},
    }
    node = loaded(**given_sources).node
    assert (node.id, node.rack, node.data_dir) == (4, "environment", "file")
    shown = sources(**given_sources)
    assert shown["node.id"] == ("4", "flag")
    assert shown["node.rack"] == ("environment", "environment")
    assert shown["node.data_dir"] == ("file", "file")
    assert shown["listeners.grpc"] == ("127.0.0.1:7171", "default")
    assert list(shown) == sorted(shown)
    assert set(shown) == set(SETTINGS_BY_NAME)


def test_two_spellings_of_one_setting_follow_the_precedence_too() -> None:
    config = loaded(
        file_text='[log]\nretention = "1d"',
        environ={"LOGD__TOPIC_DEFAULTS__RETENTION__MS": "5"},
    )
    assert dict(config.topic_defaults) == {"retention.ms": "5"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[node]\nidd = 1", "file: unknown setting 'node.idd' .did you mean node.id"),
        ("node = 1", "file: unknown setting 'node'"),
        ("[nodes]\nid = 1", "did you mean node.id"),
        ("[topic_defaults]\n'retention.mss' = 1", "did you mean retention.ms"),
        ("[topic_defaults]\n'cleanup.policy' = 'shred'", "file: cleanup.policy.*not offered"),
        ("[topic_defaults]\n'flush.ms' = 1", "file: topic setting 'flush.ms' is not offered"),
        ("[node]\nid = 'one'", "file: node.id: 'one' is not a whole number"),
        ("[node]\nid = -1", "the least is 0"),
        ("[node]\nid = 1.5", "node.id is a float"),
        ("[node]\nid = [1]", "node.id is a list"),
        ("[node]\ndata_dir = ''", "node.data_dir is empty"),
        ('[node]\nrack = "a\\u0000b"', "cannot be printed"),
        ("[listeners]\ngrpc = ''", "listeners.grpc is empty"),
        ("[listeners]\ngrpc = 'localhost'", "is not an address"),
        ("[listeners]\ngrpc = 'localhost:99999'", "is not an address"),
        ("[listeners]\ngrpc = 'a b:1'", "is not an address"),
        ("[cluster]\nid = 'mine'", "cluster.id: 'mine' is not an id"),
        ("auto.create.topics.enable = 'yes'", "neither true nor false"),
        ("default.replication.factor = 0", "-1 means one for each node"),
        ("[limits]\nproduce_bytes = '1MiB'", "the least is 8MiB"),
        (
            "[limits]\nproduce_bytes = '8MiB'",
            "produce_bytes_per_connection is larger than limits.produce_bytes",
        ),
        ("[log]\nretention = '7d'\n[topic_defaults]\n'retention.ms' = 1", "are the same setting"),
        (PEERS.format("'1@a:1', '1@b:1'"), "cluster.peers: node 1 is named twice"),
        (PEERS.format("'1@a:1', '2@a:1'"), "cluster.peers: address a:1 is named twice"),
        (PEERS.format("'1@a:1', 'b:1'"), "'b:1' is not a node .write id@host:port"),
        (PEERS.format("'1@a:1', '-2@b:1'"), "'-2@b:1' is not a node"),
        (PEERS.format("'1@a:1', '9999999999@b:1'"), "'9999999999@b:1' is not a node"),
        (PEERS.format("'1@a:1', '2@b'"), "'b' is not an address"),
        (PEERS.format("'1@a:1', '2@'"), "node 2 has no address"),
        (PEERS.format("'1@a:1', ''"), "'' is not a node"),
        (
            PEERS.format("'2@a:1', '3@b:1'") + "[listeners]\npeer = 'c:1'",
            "does not name this node, whose id is 1",
        ),
        (PEERS.format("'1@a:1', 2"), "cluster.peers is a list"),
        ("[cluster]\npeers = ['1@a:1']", "cluster.peers is set and listeners.peer is empty"),
        ("[listeners]\noutside_advertised = ['1@a:1']", "is set and listeners.outside is empty"),
        ("[listeners]\noutside = 'a:1'", "does not name this node, whose id is 1"),
        (OUTSIDE.format("a:0"), "listeners.outside has port 0"),
        (OUTSIDE.format("127.0.0.1:7171"), "listeners.outside and listeners.grpc are both"),
        (OUTSIDE.format("a:9"), "listeners.outside and listeners.peer are both a:9"),
        ("[listeners]\npeer_advertised = 'a:1'", "peer_advertised is set and listeners.peer is"),
        ("[listeners]\npeer = '127.0.0.1:7171'", "listeners.peer and listeners.grpc are both"),
        (
            "[cluster]\npeers = '1@a:1'\n[listeners]\npeer = 'a:1'\npeer_advertised = 'b:1'",
            "cluster.peers says that this node is at a:1, and .* at b:1",
        ),
        ("[raft]\nheartbeat_ms = 300", "election_timeout_ms_min is 600 ms, no more than two"),
        ("[raft]\nelection_timeout_ms_max = 600", "max is 600 ms, no more than raft.election"),
        ("[node]\nsession_ms = 499", "session_ms is 499 ms, less than two heartbeats"),
        ("[node]\nheartbeat_ms = 1", "the least is 10ms"),
        ("node = ", "is not TOML"),
        ("[[[", "is not TOML"),
    ],
)
def test_refusals_say_where_and_what(text: str, words: str) -> None:
    with pytest.raises(InvalidConfigError, match=words):
        load_node_config(file_text=text)


def test_a_typo_in_the_environment_or_a_flag() -> None:
    with pytest.raises(InvalidConfigError, match=r"LOGD__NODE_ID .did you mean LOGD__NODE__ID"):
        load_node_config(environ={"LOGD__NODE_ID": "1"})
    with pytest.raises(InvalidConfigError, match=r"flag: unknown setting 'node\.di'"):
        load_node_config(flags={"node.di": "1"})
    with pytest.raises(InvalidConfigError, match=r"environment: node\.id: 'x'"):
        load_node_config(environ={"LOGD__NODE__ID": "x"})


def test_addresses() -> None:
    for address in ("[::1]:7171", "node-1.example:0", "0.0.0.0:65535"):
        assert loaded(flags={"listeners.grpc": address}).listeners.grpc == address


def test_peers_in_the_environment_and_under_their_name_in_kafka() -> None:
    expected = (PeerAddress(NodeId(1), "a:1"), PeerAddress(NodeId(2), "b:2"))
    listener = {"LOGD__LISTENERS__PEER": "127.0.0.1:1"}
    for given_sources in (
        {"environ": {**listener, "LOGD__CLUSTER__PEERS": " 1@a:1, 2@b:2 "}},
        {"environ": listener, "file_text": "controller.quorum.voters = '1@a:1,2@b:2'"},
        {"environ": listener, "file_text": "controller.quorum.voters = ['1@a:1', '2@b:2']"},
        {"environ": listener, "flags": {"cluster.peers": "1@a:1,2@b:2"}},
    ):
        config = loaded(**given_sources)
        assert config.cluster.peers == expected
        assert config.listeners.peer_advertised == "a:1"
        assert sources(**given_sources)["cluster.peers"][0].replace(" ", "") == "1@a:1,2@b:2"


def test_a_node_that_began_alone_may_listen_to_others() -> None:
    config = loaded(flags={"listeners.peer": "127.0.0.1:7172"})
    assert config.listeners.peer_advertised == "127.0.0.1:7172"
    flags = {"listeners.peer": "0.0.0.0:7172", "listeners.peer_advertised": "node4:7172"}
    assert loaded(flags=flags).listeners.peer_advertised == "node4:7172"


def test_every_alias_can_be_used() -> None:
    for alias, name in ALIASES.items():
        text = SETTINGS_BY_NAME[name].default
        assert sources(flags={alias: text})[name] == (text, "flag")


def test_every_setting_can_be_given_by_file_environment_and_flag() -> None:
    for name, setting in SETTINGS_BY_NAME.items():
        for given_sources, source in (
            ({"file_text": f'"{name}" = "{setting.default}"'}, "file"),
            ({"environ": {environment_name(name): setting.default}}, "environment"),
            ({"flags": {name: setting.default}}, "flag"),
        ):
            assert sources(**given_sources)[name] == (setting.default, source)


def test_names_in_the_environment_are_unique() -> None:
    names = [environment_name(name) for name in (*SETTINGS_BY_NAME, *ALIASES)]
    ambiguous = {name for name in names if names.count(name) > 1}
    assert ambiguous == set()


def test_every_row_is_an_attribute() -> None:
    config = loaded()
    for path, _ in NODE_SETTINGS:
        section, attribute = path.split(".")
        assert hasattr(getattr(config, section), attribute)


@given(st.text(max_size=80))
def test_any_text_is_a_file_or_refused(text: str) -> None:
    try:
        load_node_config(file_text=text)
    except InvalidConfigError as error:
        assert error.message


def test_a_file_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="has 100001 characters"):
        load_node_config(file_text="#" * 100_001)


def test_a_deeply_nested_file_is_refused() -> None:
    with pytest.raises(InvalidConfigError):
        load_node_config(file_text="a = " + "[" * 90_000)
    with pytest.raises(InvalidConfigError):
        load_node_config(file_text=".".join("a" * 3_000) + " = 1")


def test_clients_from_outside_are_told_other_addresses() -> None:
    listeners = loaded(file_text=OUTSIDE.format("0.0.0.0:17171")).listeners
    assert listeners.outside == "0.0.0.0:17171"
    assert dict(listeners.outside_advertised) == {1: "b:1"}
    assert loaded().listeners.outside == ""
