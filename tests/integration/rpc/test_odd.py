"""Odd input that is no attack. The hostile corpus is run in test_memory.py, on a real node."""

from __future__ import annotations

from logd_proto.v1 import admin_pb2, log_pb2

from tests.support.rpc_forge import nested_messages
from tests.support.rpc_server import ADMIN, LOG, Serving, call


async def test_nesting_that_means_nothing_is_passed_over(edge: Serving) -> None:
    answer = await call(
        edge.channel,
        ADMIN + "DescribeCluster",
        nested_messages(10_000),
        admin_pb2.DescribeClusterResponse,
    )
    assert answer.node_id == 1


async def test_fields_of_a_later_version_are_passed_over(edge: Serving) -> None:
    request = log_pb2.HelloRequest(client_id="me").SerializeToString()
    later = request + b"\xf8\x3f\x07" + b"\xfa\x3f\x03new"
    await call(edge.channel, LOG + "Hello", later, log_pb2.HelloResponse)
