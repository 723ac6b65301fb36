"""Clients inside and outside of a network find the same nodes under different addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from logd_client import Admin, Consumer, Producer, TopicPartition

from tests.support.nodes import free_port
from tests.support.quorum import RealCluster

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

#: What the nodes are called inside can be resolved nowhere else.
INSIDE = "node{}.invalid:7171"


def test_clients_stay_on_the_side_they_came_from(tmp_path: Path) -> None:
    ports = {number: free_port() for number in (1, 2, 3)}
    advertised = ",".join(f"{number}@127.0.0.1:{port}" for number, port in ports.items())
    settings = {"LOGD__LISTENERS__OUTSIDE_ADVERTISED": advertised}
    cluster = RealCluster(tmp_path, settings=settings)
    for number, node in cluster.nodes.items():
        node.set("LOGD__LISTENERS__ADVERTISED", INSIDE.format(number))
        node.set("LOGD__LISTENERS__OUTSIDE", f"127.0.0.1:{ports[number]}")
    with cluster:
        outside = f"127.0.0.1:{ports[1]}"
        with Admin(outside) as admin:
            found = admin.describe_cluster()
            assert {node.id: node.address for node in found.nodes} == {
                number: f"127.0.0.1:{port}" for number, port in ports.items()
            }
            assert {member.address for member in found.members} == {
                f"127.0.0.1:{port}" for port in ports.values()
            }
            leaders = {part.leader for part in admin.create_topic("t", partitions=3).partitions}
            assert leaders == {1, 2, 3}
        with Producer(outside) as producer:
            for partition in range(3):
                producer.send_and_wait("t", b"v", partition=partition)
        with Consumer(bootstrap_servers=outside) as consumer:
            consumer.assign([TopicPartition("t", partition) for partition in range(3)])
            consumer.seek_to_beginning()
            records = [consumer.getone(timeout=20) for _ in range(3)]
            assert {record.partition for record in records if record} == {0, 1, 2}
        inside = cluster.ask(lambda admin: admin.describe_cluster(), 1)
        assert {node.id: node.address for node in inside.nodes} == {
            number: INSIDE.format(number) for number in ports
        }
        cluster.stop()
