"""The stream to one peer: opened when there is something to say, and again when it broke.

    waiting ──a message──▶ connected ──error, end──▶ apart ──backoff──▶ waiting

In `apart` and before the first frame was written the outbox holds little; what was in a frame that
broke is lost.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from google.protobuf.message import Message
from logd_client._transport.api import Channel, Stream
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import LogdError, NetworkError

from logd.consensus.messages import Body
from logd.rpc.peer_codec import RAFT, Route, encode_body, encode_introduction
from logd.rpc.peer_outbox import APART, CONNECTED, Outbox
from logd.runtime.ports import Clock, Rng

logger = logging.getLogger("logd.peer")

BACKOFF_MS_MIN: Final = 50
BACKOFF_MS_MAX: Final = 1_000
#: A stream that lived so long makes its failure the first of a row.
STEADY_MS: Final = 1_000
#: How long a broken stream may take to say why.
_REASON_S: Final = 0.2
#: Stands for all failures that pass by themselves: nodes come and go.
_GONE: Final = "gone"


class Backoff:
    """Delays that double, from BACKOFF_MS_MIN to BACKOFF_MS_MAX, each with up to half of jitter."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        self._most_ms = 2 * BACKOFF_MS_MIN

    def next_ms(self) -> float:
        """How long to wait now."""
        half_ms = self._most_ms / 2
        self._most_ms = min(2 * self._most_ms, BACKOFF_MS_MAX)
        return half_ms + half_ms * self._rng.random()


class PeerLink:
    """One direction to one peer at one address. `close` ends it for good."""

    def __init__(self, route: Route, channel: Channel, clock: Clock, rng: Rng) -> None:
        """Runs from now on, on this loop; the channel is closed with it."""
        self.route = route
        self.address = channel.address
        self._channel = channel
        self._clock = clock
        self._backoff = Backoff(rng)
        self._outbox = Outbox()
        self._news = asyncio.Event()
        #: What was logged last: `_GONE`, a refusal, or nothing.
        self._told = ""
        #: When the last stream was opened.
        self._began_ms = 0
        self._task = asyncio.ensure_future(self._run())
        self._task.set_name(f"peer {route.receiver}")

    def send(self, body: Body) -> None:
        """Send some time, in order, or not at all; never waits."""
        self._outbox.put(body)
        self._news.set()

    async def close(self) -> None:
        """Stop, and wait for the end; what was not written is lost."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close()

    async def _run(self) -> None:
        while True:
            while not self._outbox:
                self._news.clear()
                await self._news.wait()
            await self._one_stream()
            await self._clock.sleep_ms(self._backoff.next_ms())

    async def _one_stream(self) -> None:
        self._began_ms = self._clock.monotonic_ms()
        stream = self._channel.stream(RAFT)
        try:
            error = await self._talk(stream)
        except Exception as defect:
            # Whatever it is, the next try is better than a peer that is never spoken to again.
            logger.exception("the stream to peer %d failed", self.route.receiver)
            error = LogdError(f"internal error: {defect!r}")
        finally:
            stream.cancel()
            self._outbox.limit(APART)
        if self._is_steady:
            self._backoff.reset()
        self._tell(error)

    async def _talk(self, stream: Stream) -> LogdError:
        """Write what there is, until the stream ends; returns why it did."""
        reading = asyncio.ensure_future(stream.read())
        reading.add_done_callback(self._on_end)
        error: LogdError | None = None
        try:
            await self._write(stream, reading)
        except LogdError as failure:
            error = failure
            # Why it failed comes by the other direction.
            await asyncio.wait((reading,), timeout=_REASON_S)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
        finally:
            reading.cancel()
        return _reason(reading) or error or NetworkError("the stream was ended there")

    async def _write(self, stream: Stream, reading: asyncio.Future[Message | None]) -> None:
        frame = encode_introduction(self.route)
        while not reading.done():
            bodies = self._outbox.take()
            if not bodies:
                self._news.clear()
                await self._news.wait()
                continue
            frame.messages.extend(map(encode_body, bodies))
            await stream.write(frame)
            self._outbox.limit(CONNECTED)
            self._written()
            frame = pb.RaftRequest()

    def _on_end(self, _reading: asyncio.Future[Message | None]) -> None:
        self._news.set()

    @property
    def _is_steady(self) -> bool:
        return self._clock.monotonic_ms() - self._began_ms >= STEADY_MS

    def _written(self) -> None:
        # That one frame was taken does not say yet that anybody is there.
        if self._told == _GONE and self._is_steady:
            self._told = ""
            logger.info("peer %d at %s can be reached", self.route.receiver, self.address)

    def _tell(self, error: LogdError) -> None:
        """Log why the stream ended: once until it is connected again, once for each refusal."""
        reason = _GONE if error.retriable else str(error)
        if reason != self._told:
            level = logging.INFO if error.retriable else logging.WARNING
            logger.log(level, "peer %d at %s: %s", self.route.receiver, self.address, error)
        self._told = reason


def is_cancelled() -> bool:
    """Whether a CancelledError is meant for this task; gRPC raises it also for a call that ended
    because its channel was closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(reading: asyncio.Future[Message | None]) -> LogdError | None:
    if not reading.done() or reading.cancelled():
        return None
    error = reading.exception()
    if error is None or isinstance(error, LogdError):
        return error
    raise error
