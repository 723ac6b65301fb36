"""Health and metrics of a real node on real files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from logd_client import TopicPartition
from logd_client.aio import Admin, Consumer, Producer
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import ConfigError, LogdError
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from logd.app import running_node
from logd.model.node_config import load_node_config
from logd.observe import METRICS
from logd.runtime.node import Node
from tests.integration.http.conftest import Answer, Client
from tests.support.rpc_server import eventually

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@asynccontextmanager
async def node_on(path: Path, **settings: str) -> AsyncIterator[Node]:
    """A node that serves on free ports."""
    flags = {
        "node.data_dir": str(path),
        "listeners.grpc": "127.0.0.1:0",
        "listeners.admin": "127.0.0.1:0",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    config, entries = load_node_config(flags=flags)
    async with running_node(config, entries) as node:
        yield node


async def get(node: Node, path: str, *, method: str = "GET", accept: str = "") -> Answer:
    """One request to the admin port of `node`."""
    return await ask(node.config.listeners.admin, path, method=method, accept=accept)


async def ask(address: str, path: str, *, method: str = "GET", accept: str = "") -> Answer:
    host, _, port = address.rpartition(":")
    client = Client(*await asyncio.open_connection(host, int(port)))
    try:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
        await client.send(request.encode())
        return await client.answer(to_head=method == "HEAD")
    finally:
        await client.close()


async def scrape(node: Node) -> Samples:
    """Every sample by name and sorted labels; each is there once."""
    answer = await get(node, "/metrics")
    assert answer.status == 200
    return samples_of(answer.body.decode())


def samples_of(text: str) -> Samples:
    samples: Samples = {}
    for family in parse_text(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def produce(node: Node, topic: str, records: int, *, partition: int = 0) -> None:
    async with Producer(node.config.listeners.advertised, linger_ms=0) as producer:
        for number in range(records):
            await producer.send_and_wait(topic, b"value %d" % number, partition=partition)


async def consume(node: Node, topic: str, records: int) -> None:
    address, got = node.config.listeners.advertised, 0
    async with Consumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        while got < records:
            found = await consumer.getmany(timeout=10)
            assert found
            got += sum(map(len, found.values()))


async def commit(node: Node, group_id: str, topic: str, offset: int) -> None:
    """Commit an offset of partition 0 for a group without members, and measure its lag."""
    async with Admin(node.config.listeners.advertised) as admin:
        place = {TopicPartition(topic, 0): offset}
        await admin.alter_group_offsets(group_id, place, dry_run=False)
    await node.broker.groups.watch.look()


async def create(node: Node, *names: str, partitions: int = 1) -> None:
    async with Admin(node.config.listeners.advertised) as admin:
        for name in names:
            await admin.create_topic(name, partitions=partitions)


async def reasons(node: Node) -> list[str]:
    """Names of what keeps the node from being ready; [] comes with status 200."""
    answer = await get(node, "/readyz")
    document = json.loads(answer.body)
    names = [reason["name"] for reason in document["reasons"]]
    assert answer.headers["content-type"] == "application/json"
    assert document["ready"] is not bool(names)
    assert answer.status == (503 if names else 200)
    return names


async def test_a_node_that_serves_is_alive_and_ready(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        for path in ("/healthz", "/livez", "/"):
            assert (await get(node, path)).status == 200
        assert await reasons(node) == []
        head = await get(node, "/metrics", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 1_000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
async def test_there_is_nothing_to_write(tmp_path: Path, method: str) -> None:
    async with node_on(tmp_path) as node:
        answer = await get(node, "/metrics", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_no_path_comes_back(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        for path in ("/x<script>", "/metrics/", "//metrics", "/../etc", "http://x/metrics", "*"):
            answer = await get(node, path)
            assert answer.status == 404
            assert b"script" not in answer.body
            assert answer.headers["content-type"].startswith("text/plain")
        samples = await scrape(node)
        assert value(samples, "logd_admin_requests_total", path="other", code="404") == 6


async def test_what_went_in_and_out_is_counted(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders", partitions=2)
        await produce(node, "orders", 3)
        await produce(node, "orders", 2, partition=1)
        await consume(node, "orders", 5)
        samples = await scrape(node)
        topic = {"topic": "orders"}
        assert value(samples, "logd_produced_records_total", **topic) == 5
        assert value(samples, "logd_produced_batches_total", **topic) == 5
        assert value(samples, "logd_produced_duplicates_total", **topic) == 0
        stored = sum(
            value(samples, "logd_partition_size_bytes", partition=p, **topic) for p in ("0", "1")
        )
        assert value(samples, "logd_produced_bytes_total", **topic) == stored > 0
        assert value(samples, "logd_fetched_records_total", **topic) == 5
        assert value(samples, "logd_fetched_bytes_total", **topic) == stored
        assert value(samples, "logd_requests_total", api="Produce", code="NONE") == 5
        assert value(samples, "logd_requests_total", api="Fetch", code="NONE") >= 1
        name = "logd_request_duration_seconds"
        assert value(samples, f"{name}_count", api="Produce", outcome="ok") == 5
        assert 0 < value(samples, f"{name}_sum", api="Produce", outcome="ok") < 60
        for partition, end in (("0", 3), ("1", 2)):
            labels = {"partition": partition, **topic}
            assert value(samples, "logd_partition_high_watermark", **labels) == end
            assert value(samples, "logd_partition_end_offset", **labels) == end
            assert value(samples, "logd_partition_start_offset", **labels) == 0
            assert value(samples, "logd_partition_leader", **labels) == 1
            assert value(samples, "logd_partition_isr", **labels) == 1
        assert value(samples, "logd_fsync_duration_seconds_count", log="partitions") >= 2
        assert value(samples, "logd_fsync_duration_seconds_count", log="metadata") >= 2


async def test_a_batch_that_comes_twice_counts_once(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        topic_id = node.broker.image.topic_named("orders").topic_id
        records = [WireRecord(number, 1_000, None, b"v", ()) for number in range(3)]
        batch = encode_batch(records, producer_id=5, producer_epoch=0, base_sequence=0)
        for _ in range(3):
            await node.broker.produce(topic_id, 0, batch, leader_epoch=-1, acks=-1)
        samples = await scrape(node)
        assert value(samples, "logd_produced_batches_total", topic="orders") == 1
        assert value(samples, "logd_produced_records_total", topic="orders") == 3
        assert value(samples, "logd_produced_bytes_total", topic="orders") == len(batch)
        assert value(samples, "logd_produced_duplicates_total", topic="orders") == 2


async def test_failures_are_counted_by_method_and_code(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        async with Admin(node.config.listeners.advertised) as admin:
            for _ in range(2):
                with pytest.raises(LogdError):
                    await admin.create_topic("orders")
        async with Producer(node.config.listeners.advertised) as producer:
            with pytest.raises(LogdError):
                await producer.send_and_wait("orders", b"x", timestamp=2**50)
        samples = await scrape(node)
        api, code = "CreateTopic", "TOPIC_ALREADY_EXISTS"
        assert value(samples, "logd_requests_total", api=api, code=code) == 2
        assert value(samples, "logd_requests_total", api=api, code="NONE") == 1
        name = "logd_request_duration_seconds_count"
        assert value(samples, name, api=api, outcome="error") == 2
        assert value(samples, "logd_requests_total", api="Produce", code="INVALID_TIMESTAMP") == 1
        assert value(samples, "logd_produced_records_total", topic="orders") == 0


async def test_every_metric_of_the_catalogue_is_shown_and_no_other(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        await produce(node, "orders", 1)
        await consume(node, "orders", 1)
        await commit(node, "mailers", "orders", 1)
        text = (await get(node, "/metrics")).body.decode()
        text = (await get(node, "/metrics")).body.decode()
        families = {family.name: family for family in parse_text(text)}
        shown = {
            name + ("_total" if family.type == "counter" else "")
            for name, family in families.items()
            if name.startswith("logd_")
        }
        assert shown == set(METRICS)
        for metric in METRICS.values():
            family = families[metric.name.removesuffix("_total")]
            assert family.type == metric.kind.value
            assert family.samples, f"{metric.name} has no sample"
            for sample in family.samples:
                assert sample.labels.keys() - {"le"} == set(metric.labels)
                assert math.isfinite(sample.value)
        assert {"process_resident_memory_bytes", "python_gc_collections"} <= families.keys()


async def test_openmetrics_for_those_who_ask(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        answer = await get(node, "/metrics", accept=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert list(parse_openmetrics(answer.body.decode()))
        for odd in ("*/*", "text/plain; version=x", "application/openmetrics-tex", ";;;,,"):
            answer = await get(node, "/metrics", accept=odd)
            assert (answer.status, samples_of(answer.body.decode())) != (200, {})
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_there_are_no_more_series_than_allowed(tmp_path: Path) -> None:
    async with node_on(tmp_path, metrics__partitions_max="2") as node:
        await create(node, "a", "b", "c", partitions=2)
        await produce(node, "c", 1)
        samples = await scrape(node)
        assert topics(samples, "logd_produced_records_total") == {"", "a", "b"}
        assert value(samples, "logd_produced_records_total", topic="") == 1
        assert len(list(named(samples, "logd_partition_size_bytes"))) == 2
        assert value(samples, "logd_partitions") == 6
        assert value(samples, "logd_partitions_without_series") == 4
        async with Admin(node.config.listeners.advertised) as admin:
            await admin.delete_topic("a")
        await create(node, "d")
        samples = await scrape(node)
        assert topics(samples, "logd_produced_records_total") == {"", "b", "d"}
        assert value(samples, "logd_produced_records_total", topic="") == 1


async def test_partitions_can_be_left_out(tmp_path: Path) -> None:
    async with node_on(tmp_path, metrics__per_partition="false") as node:
        await create(node, "a")
        await produce(node, "a", 2)
        samples = await scrape(node)
        assert topics(samples, "logd_produced_records_total") == {""}
        assert value(samples, "logd_produced_records_total", topic="") == 2
        assert not list(named(samples, "logd_partition_size_bytes"))
        assert value(samples, "logd_partitions") == 1


def named(samples: Samples, name: str) -> Iterator[dict[str, str]]:
    return (dict(labels) for found, labels in samples if found == name)


def topics(samples: Samples, name: str) -> set[str]:
    return {labels["topic"] for labels in named(samples, name)}


async def test_a_label_is_escaped(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        partition = node.gauges().partitions[0]
        forged = 'x"} 1\nforged{a="\\'
        made = {key: getattr(partition, key) for key in partition.__dataclass_fields__}
        broken: Any = type(partition)(**{**made, "topic": forged})
        gauges = node.gauges()
        fields = {key: getattr(gauges, key) for key in gauges.__dataclass_fields__}
        changed = type(gauges)(**{**fields, "partitions": (broken,)})
        node.gauges = lambda: changed  # type: ignore[method-assign]
        samples = await scrape(node)
        assert value(samples, "logd_partition_isr", topic=forged, partition="0") == 1
        assert "forged" not in {name for name, _ in samples}


async def test_a_disk_that_is_full_silent_or_stuck_is_no_ready_node(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        files: Any = node.ports.files
        tell = files.free_bytes
        files.free_bytes = lambda: 1_000
        assert await reasons(node) == ["disk_full"]
        assert value(await scrape(node), "logd_node_up") == 0
        assert value(await scrape(node), "logd_disk_free_bytes") == 1_000

        def fail() -> int:
            raise OSError(5, "no")

        files.free_bytes = fail
        assert await reasons(node) == ["disk_silent"]
        assert value(await scrape(node), "logd_node_up") == 0
        files.free_bytes = tell
        assert await reasons(node) == []


async def test_a_node_that_failed_or_stops_says_so(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        node.broker.begin_stop()
        assert await reasons(node) == ["stopping"]
        node.failure = OSError(5, "no")
        assert await reasons(node) == ["failed"]
        assert (await get(node, "/healthz")).status == 200
        node.failure = None


async def test_a_node_is_alive_until_the_end_and_not_ready_while_it_stops(tmp_path: Path) -> None:
    told: list[list[str]] = []
    async with node_on(tmp_path) as node:
        await create(node, "orders")
        watching = asyncio.ensure_future(_watch_to_the_end(node.config.listeners.admin, told))
        await eventually(lambda: bool(told))
    await watching
    assert told[0] == []
    assert told[-1] == ["stopping"]


async def _watch_to_the_end(address: str, told: list[list[str]]) -> None:
    """Ask until nobody answers."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            assert (await ask(address, "/healthz")).status == 200
            answer = json.loads((await ask(address, "/readyz")).body)
            told.append([reason["name"] for reason in answer["reasons"]])


async def test_an_address_that_was_chosen_must_be_had(tmp_path: Path) -> None:
    async with node_on(tmp_path / "a") as first:
        taken = first.config.listeners.admin
        with pytest.raises(ConfigError, match=taken):
            async with node_on(tmp_path / "b", listeners__admin=taken):
                raise AssertionError("it serves")


async def test_nobody_chose_the_default_so_a_second_node_takes_another(tmp_path: Path) -> None:
    addresses = set()
    async with default_node(tmp_path / "a") as first, default_node(tmp_path / "b") as second:
        for node in (first, second):
            assert await reasons(node) == []
            addresses.add(node.config.listeners.admin)
    assert len(addresses) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)


@asynccontextmanager
async def default_node(path: Path) -> AsyncIterator[Node]:
    flags = {"node.data_dir": str(path), "listeners.grpc": "127.0.0.1:0"}
    async with running_node(load_node_config(flags=flags)[0]) as node:
        yield node


async def test_without_an_address_there_is_no_port(tmp_path: Path) -> None:
    async with node_on(tmp_path, listeners__admin="") as node:
        assert node.config.listeners.admin == ""
        await create(node, "orders")
        await produce(node, "orders", 1)
