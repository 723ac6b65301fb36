"""The yardstick: a gRPC stream that carries the same bytes and does nothing with them.

Server and client are processes of their own, as with a node; messages are raw bytes without
protobuf, no checksum is computed and nothing is stored.

    python -m logd.cli.benchmark.bare serve           prints its port
    python -m logd.cli.benchmark.bare push PORT MESSAGE_BYTES MESSAGES
    python -m logd.cli.benchmark.bare pull PORT MESSAGE_BYTES MESSAGES
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from importlib import import_module
from typing import Any

import grpc
import grpc.aio
from logd_wire.limits import MESSAGE_BYTES_MAX

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
]
_IN_FLIGHT_MAX = 16
_PUSH = "/bare/Push"
_PULL = "/bare/Pull"


async def _answer_each(messages: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for _message in messages:
        yield b"1"


async def _send_what_is_asked(
    requests: AsyncIterator[bytes], _context: Any
) -> AsyncIterator[bytes]:
    async for request in requests:
        message_bytes, messages = map(int, request.split())
        payload = os.urandom(message_bytes)
        for _ in range(messages):
            yield payload


class _Handlers(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        handler = _answer_each if handler_call_details.method == _PUSH else _send_what_is_asked
        return grpc.stream_stream_rpc_method_handler(handler)


async def _serve() -> None:
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


async def _push(port: int, message_bytes: int, messages: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call: Any = channel.stream_stream(_PUSH)()
        payload = os.urandom(message_bytes)
        room = asyncio.Semaphore(_IN_FLIGHT_MAX)

        async def read_answers(expected: int) -> None:
            for _ in range(expected):
                await call.read()
                room.release()

        await call.write(payload)
        await call.read()
        started = time.perf_counter()
        reading = asyncio.ensure_future(read_answers(messages))
        for _ in range(messages):
            await room.acquire()
            await call.write(payload)
        await reading
        elapsed = time.perf_counter() - started
        await call.done_writing()
    return elapsed


async def _pull(port: int, message_bytes: int, messages: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call: Any = channel.stream_stream(_PULL)()
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
        case ["push" | "pull" as way, port, message_bytes, messages]:
            side = _push if way == "push" else _pull
            print(_run(side(int(port), int(message_bytes), int(messages))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
