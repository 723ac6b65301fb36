"""A pytest fixture: `pytest_plugins = ["logd.testing.pytest_plugin"]` in your conftest.py.

def test_orders(run_in_memory):
    async def scenario(cluster):
        await cluster.create_topic("orders")
        ...

    run_in_memory(scenario)
"""

from __future__ import annotations

import pytest

from logd.testing.cluster import run as run_scenario


@pytest.fixture
def run_in_memory() -> object:
    """`logd.testing.run`: takes a scenario, and options of the cluster by name."""
    return run_scenario
