"""Attacks on the transport, on batches and on streams; see `rpc_hostile` for what a case is."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import grpc
import grpc.aio
import zstandard
from logd_proto.v1 import log_pb2
from logd_wire import Compression
from logd_wire.errors import ErrorCode, LogdError
from logd_wire.limits import BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, MIB

from tests.support import rpc_raw as raw
from tests.support.rpc_forge import (
    field,
    forged,
    good_batch,
    gzip_bomb,
    many,
    nested_groups,
    zstd_bomb,
)
from tests.support.rpc_server import LOG, ClientStream, call, connect

TOPIC: Final = "orders"
INT32_MAX: Final = 2**31 - 1
STREAMS: Final = {
    LOG + "Produce": log_pb2.ProduceResponse,
    LOG + "Fetch": log_pb2.FetchResponse,
}

Attack = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    attack: Attack
    #: Whether it takes megabytes on its way.
    large: bool = False


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[grpc.aio.Channel]:
    channel = connect(port)
    try:
        yield channel
    finally:
        await channel.close()


async def expect_status(
    port: int, method: str, data: bytes, status: grpc.StatusCode, **options: Any
) -> None:
    """Make the call; the transport refuses it before the node sees it."""
    async with connected(port) as channel:
        try:
            await cast(Any, channel.unary_unary(method))(data, timeout=20, **options)
        except grpc.aio.AioRpcError as error:
            assert error.code() is status, error
            return
    raise AssertionError("it was answered")


# --- transport ------------------------------------------------------------------------------------


def transport_cases() -> Iterable[Case]:
    yield Case("Append: a message of 16 MiB and one byte", _oversized, large=True)
    yield Case("Append: a message that inflates to 64 MiB", _grpc_gzip_bomb, large=True)
    yield Case(
        "Produce: a message of 16 MiB and one byte",
        partial(_oversized_stream, "Produce"),
        large=True,
    )
    yield Case(
        "Fetch: a message of 16 MiB and one byte", partial(_oversized_stream, "Fetch"), large=True
    )
    yield Case("metadata of 100 KB", _metadata)
    for name, path in (
        ("not UTF-8", b"/logd.v1.Log/\xff\xfe"),
        ("NUL and CRLF", b"/logd.v1.Log/\x00\r\n"),
        ("without a slash", b"Hello"),
        ("empty", b""),
        ("of 4 KB", b"/" + b"a" * 4_000),
    ):
        yield Case(f"a path {name}", partial(_path, path))
    hello = b"/logd.v1.Log/Hello"
    for name, fields, body in (
        ("metadata that is not UTF-8", [(b"x-user", b"\xff\xfe")], raw.message(b"")),
        ("binary metadata that is not base64", [(b"x-bin", b"\xff")], raw.message(b"")),
        ("an unknown encoding", [(b"grpc-encoding", b"\xff")], raw.message(b"")),
        ("a timeout of ages", [(b"grpc-timeout", b"99999999H")], raw.message(b"")),
        ("a timeout that is none", [(b"grpc-timeout", b"soon")], raw.message(b"")),
        ("a length of 4 GiB", [], raw.message(b"", length=2**32 - 1)),
        ("a length of 16 MiB and no more", [], raw.message(b"x", length=16 * MIB)),
        ("a compressed message without encoding", [], raw.message(b"x", compressed=1)),
        ("a compression flag of 7", [], raw.message(b"x", compressed=7)),
        ("half a prefix", [], b"\x00\x00"),
        ("no message", [], b""),
        ("two messages", [], raw.message(b"") * 2),
    ):
        yield Case(f"raw: {name}", partial(_raw_call, hello, fields, body))
    yield Case("raw: noise in place of HTTP/2", _noise)
    yield Case("raw: a preface and nothing more", _half_open)
    yield Case("raw: 2 000 pings", _pings)
    yield Case("raw: 2 000 settings", _settings)
    yield Case("raw: 500 calls reset at once", _resets)
    yield Case("raw: a call that is never finished", _unfinished)


async def _oversized(port: int) -> None:
    data = bytes(MESSAGE_BYTES_MAX + 1)
    await expect_status(port, LOG + "Append", data, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def _grpc_gzip_bomb(port: int) -> None:
    await expect_status(
        port,
        LOG + "Append",
        bytes(64 * MIB),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        compression=grpc.Compression.Gzip,
    )


async def _oversized_stream(method: str, port: int) -> None:
    async with connected(port) as channel:
        stream: Any = channel.stream_stream(LOG + method)()
        try:
            await stream.write(bytes(MESSAGE_BYTES_MAX + 1))
            answer = await stream.read()
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
            return
    raise AssertionError(f"it was answered: {answer!r}")


async def _metadata(port: int) -> None:
    await expect_status(
        port,
        LOG + "Hello",
        b"",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        metadata=(("x-big", "a" * 100_000),),
    )


async def _path(path: bytes, port: int) -> None:
    async with raw.RawConnection(port) as connection:
        connection.call(1, raw.request_fields(path), raw.message(b""))
        frames = await connection.drain(0.3)
    answers = [payload for kind, _, stream, payload in frames if kind == raw.HEADERS]
    assert any(b"grpc-status\x0212" in payload for payload in answers), frames


async def _raw_call(path: bytes, fields: list[raw.Field], body: bytes, port: int) -> None:
    async with raw.RawConnection(port) as connection:
        connection.call(1, raw.request_fields(path, *fields), body)
        await connection.drain(0.2)


async def _noise(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        connection.send(bytes(range(256)) * 1_000)
        await connection.drain(0.2)


async def _half_open(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        await connection.drain(0.1)


async def _pings(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        connection.send(raw.frame(raw.PING, 0, 0, bytes(8)) * 2_000)
        frames = await connection.drain(0.5)
    assert any(kind == raw.GOAWAY for kind, *_ in frames), "too many pings went unpunished"


async def _settings(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        connection.send(raw.frame(raw.SETTINGS, 0, 0) * 2_000)
        await connection.drain(0.3)


async def _resets(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        block = raw.header_block(raw.request_fields(b"/logd.v1.Log/Produce"))
        for number in range(1, 1_001, 2):
            connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, number, block))
            connection.send(raw.frame(raw.RST_STREAM, 0, number, bytes([0, 0, 0, 8])))
        await connection.drain(0.3)


async def _unfinished(port: int) -> None:
    async with raw.RawConnection(port) as connection:
        body = raw.message(bytes(100), length=8 * MIB)
        connection.call(1, raw.request_fields(b"/logd.v1.Log/Append"), body, end=False)
        await connection.drain(0.2)


# --- batches --------------------------------------------------------------------------------------


async def topic_id(channel: grpc.aio.Channel) -> bytes:
    request = log_pb2.GetMetadataRequest(topics=[TOPIC])
    answer = await call(channel, LOG + "GetMetadata", request, log_pb2.GetMetadataResponse)
    return answer.topics[0].topic_id


async def produce(channel: grpc.aio.Channel, records: bytes) -> log_pb2.ProduceResult:
    """Send one batch on a stream of its own."""
    entry = log_pb2.ProduceBatch(
        id=1, topic_id=await topic_id(channel), leader_epoch=-1, acks=-1, records=records
    )
    stream = ClientStream(channel, LOG + "Produce", log_pb2.ProduceResponse)
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    result: log_pb2.ProduceResult = (await stream.receive()).results[0]
    await stream.half_close()
    assert await stream.receive() is None
    return result


def batch_cases() -> Iterable[Case]:
    corrupt, big = ErrorCode.CORRUPT_BATCH, ErrorCode.BATCH_TOO_LARGE
    invalid, record = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_RECORD
    good = good_batch()
    for name, records, codes in (
        ("no bytes", b"", (invalid,)),
        ("zeros", bytes(200), (corrupt,)),
        ("noise", bytes(range(256)), (corrupt,)),
        ("a header cut", good[:60], (invalid,)),
        ("a byte missing", good[:-1], (corrupt,)),
        ("a byte more", good + b"x", (corrupt,)),
        ("two batches", good * 2, (corrupt,)),
        ("a bit turned", good[:-1] + bytes([good[-1] ^ 1]), (corrupt,)),
        ("length 2^31-1", forged(batch_length=INT32_MAX), (big, corrupt)),
        ("length -1", forged(batch_length=-1), (corrupt,)),
        ("length 0", forged(batch_length=0), (corrupt,)),
        ("magic 1", forged(magic=1), (corrupt,)),
        ("magic -1", forged(magic=-1), (corrupt,)),
        ("another CRC", forged(crc=1), (corrupt,)),
        ("codec 7", forged(attributes=7), (corrupt,)),
        ("a control batch", forged(attributes=0x20), (record,)),
        ("a transaction", forged(attributes=0x10), (record,)),
        ("count 2^31-1", forged(records_count=INT32_MAX), (corrupt, big)),
        (
            "count and delta 2^31-1",
            forged(records_count=INT32_MAX, last_offset_delta=INT32_MAX - 1),
            (corrupt, big),
        ),
        ("count -1", forged(records_count=-1), (corrupt,)),
        ("count 0", forged(records_count=0), (corrupt,)),
        ("delta -1", forged(last_offset_delta=-1), (corrupt,)),
        ("producer id -2", forged(producer_id=-2), (corrupt,)),
        ("a sequence without a producer", forged(base_sequence=5), (record,)),
        (
            "timestamps upside down",
            forged(base_timestamp=9, max_timestamp=3),
            (ErrorCode.INVALID_TIMESTAMP,),
        ),
        ("8 MiB and a byte", forged(bytes(BATCH_BYTES_MAX - 60)), (big,)),
    ):
        yield Case(f"batch: {name}", partial(_bad_batch, records, codes), large=len(records) > MIB)
    for name, records in _bombs():
        yield Case(f"bomb: {name}", partial(_bomb, records), large=True)


def _bombs() -> Iterable[tuple[str, bytes]]:
    """Batches whose header and CRC are right and whose record area is far larger than it came."""
    gzip_code, zstd_code = int(Compression.GZIP), int(Compression.ZSTD)
    yield "gzip, 256 MiB", forged(gzip_bomb(256 * MIB), attributes=gzip_code)
    members = gzip.compress(bytes(MIB)) * 200
    yield "gzip, 200 members", forged(members, attributes=gzip_code)
    yield "gzip of gzip", forged(gzip.compress(gzip_bomb(64 * MIB)), attributes=gzip_code)
    sized = zstd_bomb(256 * MIB, declared=True)
    yield "zstd, 256 MiB, declared", forged(sized, attributes=zstd_code)
    streamed = zstd_bomb(256 * MIB, declared=False)
    yield "zstd, 256 MiB, streamed", forged(streamed, attributes=zstd_code)
    frames = zstandard.compress(bytes(MIB)) * 200
    yield "zstd, 200 frames", forged(frames, attributes=zstd_code)
    yield "lz4, noise", forged(bytes(1_000), attributes=int(Compression.LZ4))
    yield "snappy, noise", forged(bytes(1_000), attributes=int(Compression.SNAPPY))
    yield "gzip, noise", forged(bytes(1_000), attributes=gzip_code)
    yield "zstd, cut", forged(sized[:100], attributes=zstd_code)
    yield "records that are not", forged(b"\xff" * 1_000)
    empty = forged(b"", records_count=100_000, last_offset_delta=99_999)
    yield "100 000 records in no bytes", empty


async def _bad_batch(records: bytes, codes: tuple[ErrorCode, ...], port: int) -> None:
    async with connected(port) as channel:
        result = await produce(channel, records)
    assert result.error.code in codes, result
    assert result.error.message.isprintable() and len(result.error.message) < 700


async def _bomb(records: bytes, port: int) -> None:
    """The broker stores what it need not decode; Read meets it, says so, and says how to go on."""
    async with connected(port) as channel:
        result = await produce(channel, records)
        assert result.error.code == 0, result
        request = log_pb2.ReadRequest(topic=TOPIC, offset=result.base_offset)
        try:
            await call(channel, LOG + "Read", request, log_pb2.ReadResponse)
        except LogdError as error:
            assert error.code in {
                ErrorCode.DECOMPRESSED_TOO_LARGE,
                ErrorCode.CORRUPT_BATCH,
                ErrorCode.UNSUPPORTED_COMPRESSION,
            }, repr(error)
            assert error.next_offset > result.base_offset
            return
    raise AssertionError("it was decoded")


# --- streams --------------------------------------------------------------------------------------


def stream_cases() -> Iterable[Case]:
    for method in STREAMS:
        short = method.rpartition("/")[2]
        for name, data in (
            ("garbage", b"\xff" * 100),
            ("cut", b"\x0a\x20abc"),
            ("10000 groups", nested_groups(10_000)),
            ("unknown fields", many(15, 110_000)),
        ):
            yield Case(f"{short}: {name}", partial(_bad_stream, method, data))
    full = (MESSAGE_BYTES_MAX - 1_000) // 2
    fetch = LOG + "Fetch"
    yield Case(
        "Produce: empty batches", partial(_bad_stream, LOG + "Produce", many(1, full)), large=True
    )
    yield Case("Fetch: empty subscriptions", partial(_bad_stream, fetch, many(1, 500_000)))
    packed = field(2, b"\x01" * 1_000_000)
    yield Case("Fetch: removals", partial(_bad_stream, fetch, packed))
    yield Case("Fetch: too long", partial(_bad_stream, fetch, field(15, bytes(2 * MIB))))


async def _bad_stream(method: str, data: bytes, port: int) -> None:
    async with connected(port) as channel:
        stream = ClientStream(channel, method, STREAMS[method])
        await stream.send(data)
        try:
            answer = await stream.receive()
        except LogdError as error:
            assert error.code is ErrorCode.INVALID_REQUEST, repr(error)
            return
    raise AssertionError(f"it was answered: {answer!r}")
