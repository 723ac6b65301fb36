"""Fixtures of the client's tests."""

from __future__ import annotations

import pytest

from tests.unit.client.facades import Facades
from tests.unit.client.memory_cluster import MemoryCluster


@pytest.fixture
def logd() -> Facades:
    """The public classes against a cluster of one node, n1:7171, that answers at once."""
    return Facades(MemoryCluster(latency_ms=0))
