"""Health and reflection: the standard services that tools expect of a gRPC server.

Their implementations come with grpcio; here they are put behind the same admission as every call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from logd.rpc.binding import Context, abort, peer_of, told
from logd.rpc.calls import Calls
from logd.rpc.parsing import parse_request
from logd.rpc.transport import Handler

HEALTH_SERVICE: Final[str] = health.SERVICE_NAME
REFLECTION_SERVICE: Final[str] = reflection.SERVICE_NAME
#: Newer tools ask under this name first; the messages are the same.
_REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Probes:
    """Health of `services` and of the server as a whole, and reflection of `services`."""

    def __init__(self, services: Sequence[str], calls: Calls) -> None:
        self._calls = calls
        self._services = tuple(services)
        self._health: Any = health.aio.HealthServicer()
        self._reflection: Any = reflection.aio.ReflectionServicer(
            (*services, HEALTH_SERVICE, REFLECTION_SERVICE)
        )

    def handlers(self) -> dict[str, Handler]:
        """The handlers of both services by full name."""
        reflect: Any = grpc.stream_stream_rpc_method_handler(
            self._reflect, response_serializer=_serialize
        )
        return {
            f"/{HEALTH_SERVICE}/Check": grpc.unary_unary_rpc_method_handler(
                self._guarded("Check", self._health.Check), response_serializer=_serialize
            ),
            f"/{HEALTH_SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(
                self._guarded("Watch", self._health.Watch), response_serializer=_serialize
            ),
            f"/{REFLECTION_SERVICE}/ServerReflectionInfo": reflect,
            f"/{_REFLECTION_V1}/ServerReflectionInfo": reflect,
        }

    async def set_serving(self, serving: bool) -> None:
        """Tell every watcher whether calls are answered."""
        for service in ("", *self._services):
            await self._health.set(service, _SERVING if serving else _NOT_SERVING)

    def _guarded(
        self, method: str, handler: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(data: bytes, context: Context) -> Any:
            try:
                with self._calls.admitted(peer_of(context), awaited=False):
                    request = parse_request(health_pb2.HealthCheckRequest, data)
                    return await handler(request, context)
            except grpc.aio.BaseError:
                raise
            except Exception as error:
                failure = told(error, f"/{HEALTH_SERVICE}/{method}")
            return await abort(context, failure)

        return call

    async def _reflect(self, _requests: object, context: Context) -> None:
        try:
            with self._calls.admitted(peer_of(context), awaited=False):
                requests = self._parsed(context)
                async for response in self._reflection.ServerReflectionInfo(requests, context):
                    await context.write(response)
                return
        except grpc.aio.BaseError:
            raise
        except Exception as error:
            failure = told(error, f"/{REFLECTION_SERVICE}/ServerReflectionInfo")
        await abort(context, failure)

    @staticmethod
    async def _parsed(context: Context) -> Any:
        while (data := await context.read()) is not grpc.aio.EOF:
            yield parse_request(reflection_pb2.ServerReflectionRequest, data)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
