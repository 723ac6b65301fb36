"""Hostile input: a typed error each, the server goes on serving, and its memory stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from logd_proto.v1 import admin_pb2, log_pb2

from tests.support.rpc_hostile import Case, all_cases, nested_messages
from tests.support.rpc_server import ADMIN, LOG, Serving, call


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return all_cases()


@pytest.fixture
async def orders(edge: Serving) -> AsyncIterator[Serving]:
    await edge.broker.create_topic("orders")
    yield edge


async def test_each_gets_its_answer_and_the_server_goes_on(
    orders: Serving, cases: list[Case]
) -> None:
    assert len(cases) > 300
    wrong = []
    for case in cases:
        try:
            async with asyncio.timeout(20):
                await case.attack(orders.port)
                await call(orders.channel, LOG + "Hello", b"", log_pb2.HelloResponse)
        except (AssertionError, TimeoutError) as error:
            wrong.append(f"{case.name}: {error!r}"[:300])
    assert not wrong, "\n".join(wrong)
    assert orders.broker.budget.held == 0
    assert list(orders.broker.image.topic_ids) == ["orders"]


async def test_nesting_that_means_nothing_is_passed_over(edge: Serving) -> None:
    answer = await call(
        edge.channel, ADMIN + "DescribeCluster", nested_messages(10_000),
        admin_pb2.DescribeClusterResponse,
    )
    assert answer.node_id == 1


async def test_fields_of_a_later_version_are_passed_over(edge: Serving) -> None:
    request = log_pb2.HelloRequest(client_id="me").SerializeToString()
    later = request + b"\xf8\x3f\x07" + b"\xfa\x3f\x03new"
    await call(edge.channel, LOG + "Hello", later, log_pb2.HelloResponse)
