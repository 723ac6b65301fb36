"""A server over a broker in memory, for every test of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.rpc_server import Serving, serving


@pytest.fixture
async def edge() -> AsyncIterator[Serving]:
    async with serving() as running:
        yield running
