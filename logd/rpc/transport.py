"""gRPC's asyncio server, made to survive a method name that is not UTF-8.

The server of grpcio decodes the method name of every unregistered call in the task that accepts
calls; bytes that are not UTF-8 end that task, and with it the whole server. (Seen in 1.85.1:
sixty bytes from anybody who can connect.) So every method is registered here, whose names gRPC
matches as bytes, and a call of anything else is answered without looking at its name.

This takes hold of the class beneath `grpc.aio.Server`. Where a version of grpcio has no such class
any more, the public one serves instead, with a warning in the log; tests fail in that case.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from logd_wire.errors import ErrorCode, LogdError

from logd.rpc.errors import details_of, trailers

logger = logging.getLogger(__name__)

Handler = Any  # grpc.RpcMethodHandler, generic in its stubs only
Options = Sequence[tuple[str, int]]

_core: Final[Any] = importlib.import_module("grpc._cython.cygrpc")
_AioServer: Final[Any] = getattr(_core, "AioServer", object)
_NEEDED: Final = ("_make_request_call_future", "_request_call", "add_registered_method_handlers")

#: Whether this version of grpcio can be guarded.
GUARDED: Final = all(hasattr(_AioServer, name) for name in _NEEDED)


class _GuardedServer(_AioServer):  # type: ignore[misc]
    """Refuses every call that is not of a registered method."""

    def _make_request_call_future(self, method: bytes | None) -> Any:
        if method is not None:
            return super()._make_request_call_future(method)
        # In place of the next call of any name, which would be decoded.
        return asyncio.ensure_future(self._refuse_unknown_calls())

    async def _refuse_unknown_calls(self) -> None:
        """Runs until the server stops; `_request_call` raises then."""
        refusals: dict[asyncio.Task[None], None] = {}
        while True:
            call = await self._request_call()
            refusal = asyncio.ensure_future(_refuse(call))
            refusals[refusal] = None
            refusal.add_done_callback(refusals.pop)


async def _refuse(call: Any) -> None:
    context = _core._ServicerContext(call, None, None, asyncio.get_running_loop())
    error = LogdError(
        "this node has no such method",
        code=ErrorCode.UNSUPPORTED_VERSION,
        hint="compare the versions of client and node",
    )
    try:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, details_of(error), trailers(error))
    except grpc.aio.BaseError:
        # The abort itself, or the caller has gone.
        return


class Transport:
    """A gRPC server with exactly these methods, by full name."""

    def __init__(self, handlers: Mapping[str, Handler], *, options: Options, rpcs_max: int) -> None:
        if GUARDED:
            loop = _core.get_working_loop()
            self._server: Any = _GuardedServer(loop, None, (), (), tuple(options), rpcs_max)
            self._server.add_registered_method_handlers(dict(handlers))
        else:
            logger.warning("grpcio %s cannot be guarded", grpc.__version__)
            self._server = grpc.aio.server(
                handlers=(_Handlers(handlers),), options=options, maximum_concurrent_rpcs=rpcs_max
            )

    def listen(self, address: str) -> int:
        """Bind `address` and return the port; raises OSError when it cannot be had."""
        try:
            port: int = self._server.add_insecure_port(address.encode() if GUARDED else address)
        except RuntimeError:
            port = 0
        if port == 0:
            raise OSError(f"cannot bind {address}")
        return port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Close the listener, wait so long for calls to end, cancel the rest."""
        await (self._server.shutdown if GUARDED else self._server.stop)(grace_s)


class _Handlers(grpc.GenericRpcHandler):
    """Answers by full method name."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)
