"""What the admin port answers.

/healthz  /livez    200 while the process answers at all
/readyz             200, or 503 with the reasons
/metrics            for Prometheus
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from logd.http.exposition import render
from logd.http.messages import Request, Response, json_response, text_response
from logd.http.watch import NodeWatch

_METHODS: Final = ("GET", "HEAD")
#: Under this name every path is counted that is none of ours.
_ANY_OTHER_PATH: Final = "other"
_INDEX: Final = "logd admin port: /healthz /livez /readyz /metrics"


class Endpoints:
    """Answers requests about one node; called on its event loop."""

    def __init__(self, watch: NodeWatch) -> None:
        self._watch = watch
        self._routes: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/": self._index,
            "/healthz": self._alive,
            "/livez": self._alive,
            "/readyz": self._ready,
            "/metrics": self._metrics,
        }
        self._requests: dict[tuple[str, int], int] = {}
        # One scrape at a time: many at once would take the processor from the node's work.
        self._scraping = asyncio.Lock()

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        route = self._routes.get(request.path)
        if route is None:
            response = text_response(404, "there is nothing here; see /")
        elif request.method not in _METHODS:
            allowed = ", ".join(_METHODS)
            response = text_response(405, "read only: GET or HEAD", ("Allow", allowed))
        else:
            response = await route(request)
        key = (request.path if route is not None else _ANY_OTHER_PATH, response.status)
        self._requests[key] = self._requests.get(key, 0) + 1
        return response

    async def _index(self, _request: Request) -> Response:
        return text_response(200, _INDEX)

    async def _alive(self, _request: Request) -> Response:
        return json_response(200, {"status": "alive"})

    async def _ready(self, _request: Request) -> Response:
        reasons = await self._watch.reasons()
        document = {"ready": not reasons, "reasons": [reason._asdict() for reason in reasons]}
        return json_response(503 if reasons else 200, document)

    async def _metrics(self, request: Request) -> Response:
        async with self._scraping:
            snapshot = await self._watch.snapshot()
            counted = dict(self._requests)
            return await asyncio.to_thread(render, snapshot, counted, request.accept)
