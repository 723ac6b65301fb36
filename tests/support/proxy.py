"""A TCP proxy that breaks connections at chosen moments, or passes nothing on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

#: Between two looks at `held`.
_LOOK_S = 0.01


class BreakingProxy:
    """Listens on the loopback interface and forwards to `target`.

    `break_when(direction, total)` is asked for every piece of data, with "up" (to the node) or
    "down" and the number of bytes seen in that direction on this connection; True cuts the
    connection before the piece is passed on. While `held` is set nothing is passed on, and nobody
    is told: as with a target that is frozen.
    """

    def __init__(self, target_port: int, break_when: Callable[[str, int], bool]) -> None:
        self._target_port = target_port
        self._break_when = break_when
        self.broken = 0
        self.held = threading.Event()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> BreakingProxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return

        def cut() -> None:
            writer.transport.abort()
            up_writer.transport.abort()

        try:
            await asyncio.gather(
                self._forward("up", reader, up_writer, cut),
                self._forward("down", up_reader, writer, cut),
            )
        except asyncio.CancelledError:
            # The test is over; who started this task has no use for more.
            pass
        finally:
            cut()

    async def _forward(
        self,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: Callable[[], None],
    ) -> None:
        total = 0
        try:
            while data := await reader.read(1 << 16):
                total += len(data)
                while self.held.is_set():
                    await asyncio.sleep(_LOOK_S)
                if self._break_when(direction, total):
                    self.broken += 1
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            cut()
