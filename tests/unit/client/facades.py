"""Clients as applications use them, against a cluster in memory instead of a network."""

from __future__ import annotations

from typing import Any

import logd_client
from logd_client import aio
from logd_client._runtime import Environment

from tests.unit.client.memory_cluster import MemoryCluster


class Facades:
    """The public classes, bound to one cluster."""

    def __init__(self, cluster: MemoryCluster) -> None:
        environment = Environment(transport=lambda: cluster)

        class Producer(logd_client.Producer[Any, Any]):
            _environment = environment

        class Consumer(logd_client.Consumer[Any, Any]):
            _environment = environment

        class Admin(logd_client.Admin):
            _environment = environment

        class AsyncProducer(aio.Producer[Any, Any]):
            _environment = environment

        class AsyncConsumer(aio.Consumer[Any, Any]):
            _environment = environment

        class AsyncAdmin(aio.Admin):
            _environment = environment

        self.cluster = cluster
        # Any: what is typed is checked by tests/typing; here options come in all forms.
        self.Producer: Any = Producer
        self.Consumer: Any = Consumer
        self.Admin: Any = Admin
        self.AsyncProducer: Any = AsyncProducer
        self.AsyncConsumer: Any = AsyncConsumer
        self.AsyncAdmin: Any = AsyncAdmin
