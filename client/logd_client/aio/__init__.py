"""The client for asyncio: the names of `logd_client`, with coroutines where something is awaited.

    async with Producer("localhost:7171") as producer:
        delivery = await producer.send("events", b"hello")
        print(await delivery)

All I/O happens on the process's I/O thread, so a handler that blocks its loop delays nothing but
itself. Objects may be used from any loop.
"""

from __future__ import annotations

from logd_client._delivery import AsyncBulkDelivery, AsyncDelivery
from logd_client.aio._group_calls import Batch
from logd_client.aio.admin import Admin
from logd_client.aio.consumer import Consumer
from logd_client.aio.producer import Producer

__all__ = ["Admin", "AsyncBulkDelivery", "AsyncDelivery", "Batch", "Consumer", "Producer"]
