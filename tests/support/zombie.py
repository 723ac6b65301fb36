"""Questions that reach a node while it is frozen: they wait in its socket until it goes on.

It was the leader when it stopped, and does not know yet that it is not any more. What it answers
goes into the history, where the checker holds it against what the others have done meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from logd_client import LogdError, TopicPartition
from logd_client._transport import methods
from logd_client._transport.grpc import GrpcTransport
from logd_proto.v1 import log_pb2

from tests.sim.history import History, Send
from tests.support.load import value_of
from tests.support.recorded import key_of, seen

#: A client that waits for a frozen node however long it takes.
_PATIENT = [("grpc.keepalive_time_ms", 2**31 - 1), ("grpc.http2.ping_timeout_ms", 2**31 - 1)]
_PATIENCE_MS = 60_000.0
#: In the names of the records.
PRODUCER = 900


class Zombie:
    """A connection to one node, made while it was well."""

    def __init__(self, history: History, lock: threading.Lock, address: str) -> None:
        self._history, self._lock = history, lock
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._appends: list[tuple[Send, Future[Any]]] = []
        self._latest: list[tuple[str, int, Future[Any]]] = []
        self._next = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._channel = self._run(self._connect()).result(30)
        return self

    async def _connect(self) -> Any:
        transport = GrpcTransport(options=_PATIENT, responses=_RESPONSES)
        channel = transport.connect(self._address)
        await channel.unary(
            methods.HELLO, log_pb2.HelloRequest(protocol_version=1), timeout_ms=10_000
        )
        return channel

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._channel.close()).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def ask(self, places: Sequence[TopicPartition], number: int) -> None:
        """Send a record to each of `places`, and ask for its end, without waiting. `number`: of
        this round of questions; the records' names are made of it."""
        for index, place in enumerate(places):
            value = value_of(PRODUCER + number, index)
            named = seen(-1, value)
            key = key_of(place)
            with self._lock:
                send = self._history.begin_send(f"zombie{number}", key, named.value, named.digest)
                invoked = self._history.tick()
            request = log_pb2.AppendRequest(topic=place.topic, partition=place.partition)
            request.records.add(value=value)
            self._appends.append((send, self._call(_APPEND, request)))
            question = log_pb2.ListOffsetsRequest()
            question.queries.add(topic=place.topic, partition=place.partition, latest=True)
            self._latest.append((key, invoked, self._call(methods.LIST_OFFSETS, question)))

    def _call(self, method: str, request: Any) -> Future[Any]:
        return self._run(self._channel.unary(method, request, timeout_ms=_PATIENCE_MS))

    def collect(self) -> tuple[int, int]:
        """Wait for every answer and note it; returns how many questions were answered, and how
        many were refused."""
        answered = refused = 0
        for send, future in self._appends:
            try:
                found = future.result(_PATIENCE_MS / 1000 + 10)
            except LogdError as error:
                refused += 1
                with self._lock:
                    self._history.end_send(send, "info", error=str(error))
            else:
                answered += 1
                with self._lock:
                    self._history.end_send(send, "ok", found.base_offset)
        for key, invoked, future in self._latest:
            answer = _offset(future)
            if answer is None:
                refused += 1
            else:
                answered += 1
                with self._lock:
                    self._history.add_bound(key, "latest", answer, invoked)
        self._appends, self._latest = [], []
        return answered, refused


_APPEND = "/logd.v1.Log/Append"
_RESPONSES = {**methods.RESPONSES, _APPEND: log_pb2.AppendResponse}


def _offset(future: Future[Any]) -> int | None:
    """The end that was named; None: it was refused."""
    try:
        (answer,) = future.result(_PATIENCE_MS / 1000 + 10).answers
    except LogdError:
        return None
    return None if answer.HasField("error") else int(answer.offset)
