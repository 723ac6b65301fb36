"""HTTP as other people's clients speak it, and as attackers do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logd_wire.errors import ConfigError

from logd.http.connection import HttpLimits
from logd.http.messages import Request, Response, text_response
from logd.http.server import HttpServer
from tests.integration.http.conftest import QUICK, Web, web
from tests.support.rpc_server import eventually

GET = b"GET /abc HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_an_answer_says_what_it_is(served: Web) -> None:
    head = b"GET /abc?x=1&y HTTP/1.1\r\nHost: x\r\n"
    answer = await served.ask(head + b"Accept: a\r\nAccept: b\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"4\n")
    assert answer.headers["content-length"] == "2"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["date"].endswith(" GMT")
    assert served.asked == [Request("GET", "/abc", "a,b")]


async def test_a_connection_is_kept_and_requests_may_be_sent_ahead(served: Web) -> None:
    client = await served.connect()
    await client.send(GET + GET.replace(b"/abc", b"/") + GET[:10])
    assert [(await client.answer()).body for _ in range(2)] == [b"4\n", b"1\n"]
    await client.send(GET[10:])
    assert (await client.answer()).body == b"4\n"
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await client.answer()).headers["connection"] == "close"
    assert await client.ended()


async def test_head_is_get_without_the_body(served: Web) -> None:
    client = await served.connect()
    await client.send(b"HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    answer = await client.answer(to_head=True)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"")
    assert (await client.answer()).body == b"4\n"


async def test_http_1_0_is_answered_and_closed(served: Web) -> None:
    client = await served.connect()
    await client.send(b"GET /abc HTTP/1.0\r\n\r\n")
    assert (await client.answer()).body == b"4\n"
    assert await client.ended()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"POST /abc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 413),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /abc HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1_500 + b"\r\n", 431),
    ],
)
async def test_what_is_no_request_of_ours_is_refused(served: Web, data: bytes, status: int) -> None:
    client = await served.connect()
    await client.send(data)
    answer = await client.answer()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert await client.ended()
    assert served.asked == []
    assert (await served.ask(GET)).status == 200


async def test_an_empty_body_is_no_body(served: Web) -> None:
    assert (await served.ask(GET[:-2] + b"Content-Length: 0\r\n\r\n")).status == 200


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [b"GET ", b"HEAD /abc", b" HTTP/1.1\r\n", b"\r\n", b"Host: x\r\n", b"\r\n\r\n", GET]
            ),
        ),
        max_size=8,
    )
)
def test_any_bytes_leave_the_server_well(parts: list[bytes]) -> None:
    async def scenario() -> None:
        async with web() as served:
            client = await served.connect()
            await client.send(b"".join(parts))
            client.writer.write_eof()
            received = await client.reader.read()
            assert received == b"" or received.startswith(b"HTTP/1.1 ")
            assert (await served.ask(GET)).status == 200

    asyncio.run(scenario())


async def test_a_head_that_dribbles_is_cut_off(served: Web) -> None:
    client = await served.connect()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, AssertionError)):
        for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 10_000:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.01)
            assert not client.reader.at_eof()
    assert QUICK.head_s <= loop.time() - begun < QUICK.head_s + 2
    assert (await served.ask(GET)).status == 200


async def test_the_rest_of_a_request_sent_ahead_is_not_waited_for_longer(served: Web) -> None:
    client = await served.connect()
    await client.send(GET + GET[:10])
    await client.answer()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await client.ended()
    assert loop.time() - begun < QUICK.idle_s


async def test_a_silent_connection_ends(served: Web) -> None:
    fresh, used = await served.connect(), await served.connect()
    await used.send(GET)
    await used.answer()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await fresh.ended()
    assert await used.ended()
    assert QUICK.idle_s - 0.1 <= loop.time() - begun < QUICK.idle_s + 2


async def test_those_who_hold_connections_keep_nobody_out(served: Web) -> None:
    holders = [await served.connect() for _ in range(QUICK.connections_max)]
    for number, holder in enumerate(holders):
        await holder.send(GET[: number * 4])
    await eventually(lambda: served.server.connections == QUICK.connections_max)
    assert (await served.ask(GET)).status == 200
    assert await holders[0].ended(0.2)
    assert served.server.connections <= QUICK.connections_max


async def test_those_who_are_being_answered_are_not_put_out() -> None:
    release, asked = asyncio.Event(), 0

    async def slow(_request: Request) -> Response:
        nonlocal asked
        asked += 1
        await release.wait()
        return text_response(200, "at last")

    async with web(slow) as served:
        waiting = [await served.connect() for _ in range(QUICK.connections_max)]
        for client in waiting:
            await client.send(GET)
        await eventually(lambda: all(c.busy for c in served.server._connections))
        surplus = await served.connect()
        with contextlib.suppress(ConnectionError):
            await surplus.send(GET)
        assert await surplus.ended()
        assert asked == QUICK.connections_max
        release.set()
        assert [(await client.answer()).body for client in waiting] == [b"at last\n"] * 4


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def much(_request: Request) -> Response:
        return Response(200, "text/plain", b"x" * 20_000_000)

    async with web(much) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: served.server.connections == 1)
        await eventually(lambda: served.server.connections == 0)


async def test_an_error_in_a_handler_is_logged_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing(_request: Request) -> Response:
        raise ValueError("secret")

    async with web(failing) as served:
        answer = await served.ask(GET)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "secret" in caplog.text


async def test_a_stop_lets_answers_be_taken() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        asked.set()
        await release.wait()
        return text_response(200, "at last")

    async with web(slow) as served:
        busy, idle = await served.connect(), await served.connect()
        await busy.send(GET)
        await asked.wait()
        await eventually(lambda: served.server.connections == 2)
        stopping = asyncio.ensure_future(served.server.stop(5))
        assert await idle.ended()
        with pytest.raises(OSError):
            await served.connect()
        release.set()
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"at last\n", "close")
        await stopping
        assert served.server.connections == 0


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_ends_whoever_is_just_coming(turns: int) -> None:
    async with web() as served:
        coming = asyncio.ensure_future(served.ask(GET))
        for _ in range(turns):
            await asyncio.sleep(0)
        await served.server.stop(1)
        async with asyncio.timeout(5):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                assert (await coming).status == 200
        assert served.server.connections == 0


@pytest.mark.filterwarnings("error")
async def test_without_a_file_descriptor_one_more_is_taken_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("logd.http.server._ACCEPT_PAUSE_S", 0.05)
    async with web() as served:
        real = served.server._listening

        class Exhausted:
            """Refuses the first accept, as a process without free descriptors does."""

            tried = 0

            def accept(self) -> tuple[socket.socket, object]:
                self.tried += 1
                if self.tried == 1:
                    raise OSError(errno.EMFILE, "Too many open files")
                return real.accept()

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        monkeypatch.setattr(served.server, "_listening", Exhausted())
        assert (await served.ask(GET)).status == 200
    assert "Too many open files" in caplog.text


async def test_a_stop_does_not_wait_for_ever() -> None:
    async def stuck(_request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with web(stuck) as served:
        client = await served.connect()
        await client.send(GET)
        await eventually(lambda: any(c.busy for c in served.server._connections))
        async with asyncio.timeout(3):
            await served.server.stop(0.1)
        assert await client.ended()


async def test_an_address_that_is_taken() -> None:
    async with web() as served:
        taken = f"127.0.0.1:{served.port}"
        second = HttpServer(_nothing, HttpLimits())
        with pytest.raises(ConfigError, match=taken):
            await second.start(taken)
        address = await second.start(taken, or_any_port=True)
        assert address != taken
        assert address.startswith("127.0.0.1:")
        await second.stop(1)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        await HttpServer(_nothing).start("192.0.2.1:0", or_any_port=True)


async def _nothing(_request: Request) -> Response:
    raise AssertionError("nobody asks")
