"""The yardstick: gRPC streams that carry the same payloads and do nothing with them.

Server and client are processes of their own, as with a node. No checksum is computed, nothing is
stored, nothing is decoded. In the form `messages` the payloads travel in the protocol's own
protobuf messages, as in any gRPC service; in the form `bytes` without protobuf, as raw bytes.

    python -m logd.cli.benchmark.bare serve                                  prints its port
    python -m logd.cli.benchmark.bare push|pull messages|bytes PORT BYTES MESSAGES
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib import import_module
from typing import Any

import grpc
import grpc.aio
from logd_proto.v1 import log_pb2
from logd_wire.limits import MESSAGE_BYTES_MAX

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
]
_IN_FLIGHT_MAX = 16

Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]


def _raw(data: bytes) -> bytes:
    return data


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _codec(message: Any) -> Codec:
    return message.FromString, _serialize


def _batch(payload: bytes) -> Any:
    """What a producer sends."""
    batch = log_pb2.ProduceBatch(id=1, topic_id=b"t" * 16, acks=-1, records=payload)
    return log_pb2.ProduceRequest(batches=[batch])


def _answer() -> Any:
    """What it gets back."""
    result = log_pb2.ProduceResult(id=1, base_offset=1 << 20, synced=True, replicas=1)
    return log_pb2.ProduceResponse(results=[result])


def _frame(payload: bytes) -> Any:
    """What a consumer gets."""
    partition = log_pb2.FetchedPartition(
        subscription_id=1, records=payload, high_watermark=1 << 20, next_offset=1 << 20
    )
    return log_pb2.FetchResponse(partitions=[partition])


#: method -> (request codec, response codec, how a payload and an answer are wrapped).
_METHODS: dict[str, tuple[Codec, Codec, Callable[[bytes], Any]]] = {
    "/bare/push/messages": (
        _codec(log_pb2.ProduceRequest),
        _codec(log_pb2.ProduceResponse),
        _batch,
    ),
    "/bare/pull/messages": ((_raw, _raw), _codec(log_pb2.FetchResponse), _frame),
    "/bare/push/bytes": ((_raw, _raw), (_raw, _raw), _raw),
    "/bare/pull/bytes": ((_raw, _raw), (_raw, _raw), _raw),
}


class _Handlers(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        request, response, wrap = _METHODS[method]
        answer: Any = b"1" if response[0] is _raw else _answer()

        async def answer_each(messages: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
            async for _message in messages:
                yield answer

        async def send_what_is_asked(
            requests: AsyncIterator[bytes], _context: Any
        ) -> AsyncIterator[Any]:
            async for asked in requests:
                message_bytes, messages = map(int, asked.split())
                payload = os.urandom(message_bytes)
                for _ in range(messages):
                    yield wrap(payload)

        return grpc.stream_stream_rpc_method_handler(
            answer_each if "/push/" in method else send_what_is_asked,
            request_deserializer=request[0],
            response_serializer=response[1],
        )


async def _serve() -> None:
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


def _call(channel: grpc.aio.Channel, method: str) -> Any:
    request, response, _wrap = _METHODS[method]
    return channel.stream_stream(
        method, request_serializer=request[1], response_deserializer=response[0]
    )()


async def _push(method: str, port: int, message_bytes: int, messages: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call = _call(channel, method)
        wrap = _METHODS[method][2]
        payload = os.urandom(message_bytes)
        room = asyncio.Semaphore(_IN_FLIGHT_MAX)

        async def read_answers(expected: int) -> None:
            for _ in range(expected):
                await call.read()
                room.release()

        await call.write(wrap(payload))
        await call.read()
        started = time.perf_counter()
        reading = asyncio.ensure_future(read_answers(messages))
        for _ in range(messages):
            await room.acquire()
            await call.write(wrap(payload))
        await reading
        elapsed = time.perf_counter() - started
        await call.done_writing()
    return elapsed


async def _pull(method: str, port: int, message_bytes: int, messages: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call = _call(channel, method)
        await call.write(b"1 1")
        await call.read()
        started = time.perf_counter()
        await call.write(b"%d %d" % (message_bytes, messages))
        for _ in range(messages):
            await call.read()
        elapsed = time.perf_counter() - started
        await call.done_writing()
    return elapsed


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with contextlib.suppress(ImportError):
        return import_module("uvloop").run(coroutine)
    return asyncio.run(coroutine)


def main(arguments: list[str]) -> None:
    """Run one side; see the module's text."""
    match arguments:
        case ["serve"]:
            _run(_serve())
        case ["push" | "pull" as way, "messages" | "bytes" as form, port, size, count]:
            side = _push if way == "push" else _pull
            print(_run(side(f"/bare/{way}/{form}", int(port), int(size), int(count))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
