"""Options: what is accepted, and what an error says."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from logd_client import (
    Admin,
    ConfigError,
    Consumer,
    Producer,
    UnsupportedCompressionError,
    aio,
)
from logd_client._config import TABLES, acks_of, addresses_of, options_from
from logd_client._core.partition_reader import Reset
from logd_wire import Compression


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a:1,b:2", ("a:1", "b:2")),
        (" a:1 , a:1,", ("a:1",)),
        (["a", "b:2"], ("a:7171", "b:2")),
        ("[::1]:5", ("[::1]:5",)),
        ("[::1]", ("[::1]:7171",)),
    ],
)
def test_addresses(given: str | list[str], expected: tuple[str, ...]) -> None:
    assert addresses_of(given) == expected


@pytest.mark.parametrize("given", ["", ",", [], "a:b", "a:0", "a:70000", ":7171"])
def test_what_is_no_address_is_refused(given: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        Producer(given)


@pytest.mark.parametrize(
    ("given", "expected"), [(0, 0), (1, 1), ("all", -1), (-1, -1), ("-1", -1), ("1", 1)]
)
def test_acks(given: object, expected: int) -> None:
    assert acks_of(given) == expected


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"acks": 2}, 'choose 0, 1 or "all"'),
        ({"acks": True}, "acks is True"),
        ({"linger_ms": -1}, "linger_ms is -1.*at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 9 * 2**20}, "from 1 to 8.38861e"),
        ({"batch_size": 10.5}, "an integer"),
        ({"buffer_memory": 10}, "buffer_memory is 10.*at least 65536"),
        ({"delivery_timeout_ms": "soon"}, "delivery_timeout_ms is 'soon'"),
        ({"client_id": "x" * 256}, "client_id is longer"),
    ],
)
def test_values_of_a_producer_are_checked(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Producer(**options)
    with pytest.raises(ConfigError, match=text):
        aio.Producer(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"auto_offset_reset": "first"}, "'earliest', 'latest', 'error'"),
        ({"on_corrupt": "ignore"}, "'stop', 'skip'"),
        ({"fetch_max_wait_ms": 0}, "fetch_max_wait_ms is 0"),
        ({"max_poll_records": 0}, "max_poll_records is 0"),
        ({"consumer_timeout_ms": -5}, "consumer_timeout_ms"),
    ],
)
def test_values_of_a_consumer_are_checked(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Consumer(**options)
    with pytest.raises(ConfigError, match=text):
        aio.Consumer(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group_id": ""}, "group_id is '' .text of 1 to 249"),
        ({"group_id": "g" * 250}, "group_id is"),
        ({"group_instance_id": "one"}, "only with a group_id"),
        ({"group_id": "g", "group_instance_id": ""}, "group_instance_id is ''"),
        ({"group_id": "g", "session_timeout_ms": 0}, "session_timeout_ms is 0"),
        ({"group_id": "g", "partition_assignment_strategy": "sticky"}, "'uniform', 'range'"),
        ({"group_id": "g", "client_rack": ""}, "client_rack is ''"),
    ],
)
def test_values_of_a_member_are_checked(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Consumer("t", **options)
    with pytest.raises(ConfigError, match=text):
        aio.Consumer("t", **options)


def test_topics_must_be_names() -> None:
    with pytest.raises(ConfigError, match="a topic is a list"):
        Consumer(["a", "b"])  # type: ignore[call-overload]


def test_snappy_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedCompressionError, match="choose zstd, gzip or lz4"):
        Producer(compression_type="snappy")
    with pytest.raises(UnsupportedCompressionError, match="unknown compression"):
        Producer(compression_type="brotli")  # type: ignore[call-overload]


def test_a_dotted_configuration_works_unchanged() -> None:
    producer = Producer.from_config(
        {
            "bootstrap.servers": "a:1,b:2",
            "client.id": "me",
            "acks": "-1",
            "linger.ms": "7.5",
            "batch.size": "1000",
            "enable.idempotence": "false",
            "compression.type": "zstd",
            "delivery.timeout.ms": 5_000,
        }
    )
    config = producer._front.config
    assert config.cluster.bootstrap_servers == ("a:1", "b:2")
    assert config.cluster.client_id == "me"
    assert (config.acks, config.idempotent) == (-1, False)
    assert (config.batching.linger_ms, config.batching.batch_bytes) == (7.5, 1_000)
    assert config.batching.compression is Compression.ZSTD
    consumer = Consumer.from_config(
        {"bootstrap.servers": "a:1", "auto.offset.reset": "earliest", "fetch.wait.max.ms": "20"},
        "t",
    )
    assert consumer._front.config.fetch.reset is Reset.EARLIEST
    assert consumer._front.config.fetch.max_wait_ms == 20
    Admin.from_config({"bootstrap.servers": "a:1"})
    aio.Admin.from_config({"bootstrap.servers": "a:1"})


@pytest.mark.parametrize(
    ("client", "key", "text"),
    [
        ("Producer", "linger.msec", "did you mean 'linger.ms'"),
        ("Producer", "bootstrap.server", "did you mean 'bootstrap.servers'"),
        ("Consumer", "auto.offset.rest", "did you mean 'auto.offset.reset'"),
        ("Consumer", "qwertz", "there are auto.commit.interval.ms, .*"),
        ("Admin", "acks", "not an option of Admin"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(client: str, key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        options_from(client, {key: "1"})


@pytest.mark.parametrize(("key", "value"), [("linger.ms", "soon"), ("enable.idempotence", "maybe")])
def test_a_value_that_is_not_understood_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match="not understood"):
        options_from("Producer", {key: value})


def test_every_option_of_a_constructor_has_a_dotted_name() -> None:
    for client in (Producer, Consumer, Admin):
        parameters = set(inspect.signature(client).parameters) - {"topics"}
        assert parameters == set(TABLES[client.__name__])
