"""Inputs that only an enemy or a broken client would send, and what each must be answered.

A case is a coroutine function over an address: it makes its attack on connections of its own and
checks the answer. The server has a topic `orders` with one partition.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
import zstandard
from crc32c import crc32c
from google.protobuf.message import Message
from logd_proto.v1 import admin_pb2, common_pb2, log_pb2
from logd_wire import Compression, WireRecord, encode_batch
from logd_wire.errors import ErrorCode, LogdError
from logd_wire.limits import BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, MIB

from tests.support import rpc_raw as raw
from tests.support.rpc_server import ADMIN, LOG, ClientStream, call, connect

TOPIC: Final = "orders"
UNARY: Final[dict[str, type[Message]]] = {
    LOG + "Hello": log_pb2.HelloRequest,
    LOG + "GetMetadata": log_pb2.GetMetadataRequest,
    LOG + "Append": log_pb2.AppendRequest,
    LOG + "Read": log_pb2.ReadRequest,
    LOG + "ListOffsets": log_pb2.ListOffsetsRequest,
    LOG + "InitProducerId": log_pb2.InitProducerIdRequest,
    ADMIN + "CreateTopic": admin_pb2.CreateTopicRequest,
    ADMIN + "DeleteTopic": admin_pb2.DeleteTopicRequest,
    ADMIN + "AlterTopic": admin_pb2.AlterTopicRequest,
    ADMIN + "DescribeTopics": admin_pb2.DescribeTopicsRequest,
    ADMIN + "TrimTopic": admin_pb2.TrimTopicRequest,
    ADMIN + "DescribeCluster": admin_pb2.DescribeClusterRequest,
    ADMIN + "DescribeConfig": admin_pb2.DescribeConfigRequest,
}
STREAMS: Final = {
    LOG + "Produce": log_pb2.ProduceResponse,
    LOG + "Fetch": log_pb2.FetchResponse,
}

NAMES: Final = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "parent": "../x",
    "slash": "a/b",
    "percent": "%2e%2e",
    "nul": "a\0b",
    "crlf": "a\r\nb",
    "override": "a\u202eb",
    "accent": "é",
    "space": "a b",
    "long": "a" * 250,
    "endless": "a" * 500_000,
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


# --- forging --------------------------------------------------------------------------------------


def nested_groups(depth: int) -> bytes:
    """Groups inside of groups, of an unknown field."""
    return b"\xfb\x3e" * depth + b"\xfc\x3e" * depth


def nested_messages(depth: int) -> bytes:
    """Length-delimited values inside of each other, of an unknown field."""
    data = b""
    for _ in range(depth):
        length, rest = bytearray(), len(data)
        while rest >= 0x80:
            length.append(rest & 0x7F | 0x80)
            rest >>= 7
        data = b"\xfa\x3e" + bytes(length) + bytes([rest]) + data
    return data


def many(field: int, count: int, value: bytes = b"") -> bytes:
    """`count` occurrences of one length-delimited field."""
    return (bytes([field << 3 | 2, len(value)]) + value) * count


def good_batch(count: int = 1, value: bytes = b"value") -> bytes:
    return encode_batch([WireRecord(i, 1, None, value, ()) for i in range(count)])


#: Kafka's header: base offset, length, epoch, magic, crc, attributes, last offset delta, base and
#: largest time, producer id, epoch, base sequence, count.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_FIELDS: Final = [
    "base_offset",
    "batch_length",
    "leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "records_count",
]


def forged(area: bytes | None = None, *, seal: bool = True, **fields: int) -> bytes:
    """A batch with other header fields or another record area; `seal`: with a right CRC."""
    batch = good_batch()
    values = dict(zip(_FIELDS, _HEADER.unpack_from(batch), strict=True))
    area = batch[_HEADER.size :] if area is None else area
    values["batch_length"] = len(area) + _HEADER.size - 12
    values.update(fields)
    head = bytearray(_HEADER.pack(*(values[name] for name in _FIELDS)))
    if seal and "crc" not in fields:
        struct.pack_into(">I", head, 17, crc32c(bytes(head[21:]) + area))
    return bytes(head) + area


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(parts) + packer.flush()


def zstd_bomb(size: int, *, declared: bool) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj(size if declared else -1)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(parts) + packer.flush()


# --- unary calls ----------------------------------------------------------------------------------


async def expect(
    port: int, method: str, data: Message | bytes, *codes: ErrorCode, **options: Any
) -> None:
    """Make the call; its error, or the first error of an entry of its answer, is one of `codes`."""
    async with connected(port) as channel:
        try:
            answer = await call(channel, method, data, _Bytes, **options)
        except LogdError as error:
            assert error.code in codes, repr(error)
            assert error.message and len(str(error)) < 1_500, error
            assert str(error).isprintable(), "an error's text belongs on one line"
            return
    code = _entry_code(method, answer.data)
    assert code in codes, f"answered with {answer.data[:100]!r}"


class _Bytes:
    """Stands for a response type: the bytes as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def FromString(cls, data: bytes) -> _Bytes:
        return cls(data)


def _entry_code(method: str, data: bytes) -> int:
    match method.rpartition("/")[2]:
        case "GetMetadata":
            return log_pb2.GetMetadataResponse.FromString(data).topics[0].error.code
        case "ListOffsets":
            return log_pb2.ListOffsetsResponse.FromString(data).answers[0].error.code
        case "DescribeTopics":
            return admin_pb2.DescribeTopicsResponse.FromString(data).topics[0].error.code
        case _:
            return 0


async def expect_status(
    port: int, method: str, data: bytes, status: grpc.StatusCode, **options: Any
) -> None:
    """Make the call; the transport refuses it before the node sees it."""
    async with connected(port) as channel:
        try:
            await channel.unary_unary(method)(data, timeout=20, **options)  # type: ignore[call-arg]
        except grpc.aio.AioRpcError as error:
            assert error.code() is status, error
            return
    raise AssertionError("it was answered")


def _named(name: str) -> Iterable[tuple[str, Message]]:
    yield LOG + "GetMetadata", log_pb2.GetMetadataRequest(topics=[name])
    yield LOG + "Append", log_pb2.AppendRequest(topic=name, records=[common_pb2.Record()])
    yield LOG + "Read", log_pb2.ReadRequest(topic=name)
    query = log_pb2.OffsetQuery(topic=name, latest=True)
    yield LOG + "ListOffsets", log_pb2.ListOffsetsRequest(queries=[query])
    yield ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name=name)
    yield ADMIN + "DeleteTopic", admin_pb2.DeleteTopicRequest(name=name)
    yield ADMIN + "AlterTopic", admin_pb2.AlterTopicRequest(name=name, partitions=2)
    yield ADMIN + "DescribeTopics", admin_pb2.DescribeTopicsRequest(names=[name])
    trim = admin_pb2.TrimPartition(partition=0, before_offset=-1)
    yield ADMIN + "TrimTopic", admin_pb2.TrimTopicRequest(name=name, partitions=[trim])


INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1
INT64_MIN: Final = -(2**63)


def _numbers() -> Iterable[tuple[str, str, Message, ErrorCode]]:
    """Name, method, request, code."""
    invalid = ErrorCode.INVALID_REQUEST
    record = common_pb2.Record(value=b"v")
    for partition in (-1, INT32_MIN, INT32_MAX):
        for method, request in (
            (LOG + "Read", log_pb2.ReadRequest(topic=TOPIC, partition=partition)),
            (
                LOG + "Append",
                log_pb2.AppendRequest(topic=TOPIC, partition=partition, records=[record]),
            ),
            (
                LOG + "ListOffsets",
                log_pb2.ListOffsetsRequest(
                    queries=[log_pb2.OffsetQuery(topic=TOPIC, partition=partition, latest=True)]
                ),
            ),
            (
                ADMIN + "TrimTopic",
                admin_pb2.TrimTopicRequest(
                    name=TOPIC, partitions=[admin_pb2.TrimPartition(partition=partition)]
                ),
            ),
        ):
            yield f"partition {partition}", method, request, invalid
    for fields in (
        {"offset": -1},
        {"offset": INT64_MIN},
        {"max_records": -1},
        {"max_records": 10_001},
        {"max_wait_ms": -1},
        {"max_wait_ms": 30_001},
    ):
        yield str(fields), LOG + "Read", log_pb2.ReadRequest(topic=TOPIC, **fields), invalid
    yield (
        "offset behind the end",
        LOG + "Read",
        log_pb2.ReadRequest(topic=TOPIC, offset=2**63 - 1),
        ErrorCode.OFFSET_OUT_OF_RANGE,
    )
    yield (
        "acks 2",
        LOG + "Append",
        log_pb2.AppendRequest(topic=TOPIC, acks=2, records=[record]),
        invalid,
    )
    yield "no records", LOG + "Append", log_pb2.AppendRequest(topic=TOPIC), invalid
    negative = common_pb2.Record(timestamp_ms=-1)
    yield (
        "timestamp -1",
        LOG + "Append",
        log_pb2.AppendRequest(topic=TOPIC, records=[negative]),
        ErrorCode.INVALID_TIMESTAMP,
    )
    for partitions in (-1, INT32_MIN, INT32_MAX, 10_001):
        for method, request in (
            (
                ADMIN + "CreateTopic",
                admin_pb2.CreateTopicRequest(name="new", partitions=partitions),
            ),
            (ADMIN + "AlterTopic", admin_pb2.AlterTopicRequest(name=TOPIC, partitions=partitions)),
        ):
            yield f"{partitions} partitions", method, request, ErrorCode.INVALID_PARTITIONS
    for factor in (-2, INT32_MIN, INT32_MAX, 101):
        yield (
            f"{factor} replicas",
            ADMIN + "CreateTopic",
            admin_pb2.CreateTopicRequest(name="new", replication_factor=factor),
            ErrorCode.INVALID_REPLICATION_FACTOR,
        )
    yield (
        "before_offset -2",
        ADMIN + "TrimTopic",
        admin_pb2.TrimTopicRequest(
            name=TOPIC, partitions=[admin_pb2.TrimPartition(before_offset=-2)]
        ),
        invalid,
    )
    twice = [admin_pb2.TrimPartition(), admin_pb2.TrimPartition()]
    yield (
        "a partition twice",
        ADMIN + "TrimTopic",
        admin_pb2.TrimTopicRequest(name=TOPIC, partitions=twice),
        invalid,
    )
    yield "version -1", LOG + "Hello", log_pb2.HelloRequest(protocol_version=-1), invalid


def _texts() -> Iterable[tuple[str, str, Message, ErrorCode]]:
    invalid, config = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_CONFIG
    for text in ("a" * 256, "a\0b", "a\r\nb", "a\u202eb", "\x1b[31m"):
        yield (
            f"client_id {text[:9]!a}",
            LOG + "Hello",
            log_pb2.HelloRequest(client_id=text),
            invalid,
        )
        software = log_pb2.HelloRequest(client_software=text)
        yield f"client_software {text[:9]!a}", LOG + "Hello", software, invalid
    for text in ("x", "a" * 10_000, "\r\n"):
        request = log_pb2.HelloRequest(expected_cluster_id=text)
        yield f"cluster id {text[:9]!a}", LOG + "Hello", request, invalid
    for name, value in (
        ("no.such.setting", "1"),
        ("retention.ms", "x" * 5_000),
        ("retention.ms", "-9" * 30),
        ("retention.ms", "\0"),
        ("a" * 5_000, "1"),
        ("a\r\nb", "1"),
        ("", "1"),
        ("cleanup.policy", "\u202e"),
    ):
        for method, request in (
            (ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name="n", config={name: value})),
            (
                ADMIN + "AlterTopic",
                admin_pb2.AlterTopicRequest(name=TOPIC, set_config={name: value}),
            ),
        ):
            yield f"config {name[:16]!a}={value[:9]!a}", method, request, config
    settings = {f"s{number}": "1" for number in range(101)}
    yield (
        "101 settings",
        ADMIN + "CreateTopic",
        admin_pb2.CreateTopicRequest(name="n", config=settings),
        invalid,
    )
    for topic_id in (b"x", bytes(15), bytes(17), bytes(5_000)):
        yield (
            f"topic id of {len(topic_id)}",
            LOG + "GetMetadata",
            log_pb2.GetMetadataRequest(topic_ids=[topic_id]),
            invalid,
        )
        query = log_pb2.OffsetQuery(topic_id=topic_id, latest=True)
        yield (
            f"topic id of {len(topic_id)}",
            LOG + "ListOffsets",
            log_pb2.ListOffsetsRequest(queries=[query]),
            invalid,
        )


def unary_cases() -> Iterable[Case]:
    invalid = ErrorCode.INVALID_REQUEST
    for method in UNARY:
        short = method.rpartition("/")[2]
        for name, data in (
            ("garbage", b"\xff" * 100),
            ("noise", bytes(range(256)) * 4),
            ("a varint without end", b"\x80" * 50_000),
            ("a length of 2^63", b"\x0a" + b"\xff" * 9 + b"\x01"),
            ("cut", b"\x0a\x20abc"),
            ("10000 groups", nested_groups(10_000)),
            ("an open group", b"\x0b"),
        ):
            yield Case(f"{short}: {name}", partial(_expect, method, data, (invalid,)))
        too_much = many(15, 60_000 if short != "Append" else 110_000)
        yield Case(f"{short}: unknown fields", partial(_expect, method, too_much, (invalid,)))
        if short != "Append":
            endless = b"\x7a\x80\x80\x44" + bytes(0x11 << 16)
            yield Case(f"{short}: too long", partial(_expect, method, endless, (invalid,)))
    for name, text in NAMES.items():
        for method, request in _named(text):
            wanted = (
                (ErrorCode.INVALID_TOPIC_NAME, invalid)
                if name == "endless"
                else (ErrorCode.INVALID_TOPIC_NAME,)
            )
            short = method.rpartition("/")[2]
            yield Case(f"{short}: name {name}", partial(_expect, method, request, wanted))
    internal = admin_pb2.CreateTopicRequest(name="__x")
    yield Case(
        "CreateTopic: internal name",
        partial(_expect, ADMIN + "CreateTopic", internal, (ErrorCode.INVALID_TOPIC_NAME,)),
    )
    yield Case(
        "Read: a name that is not UTF-8",
        partial(_expect, LOG + "Read", b"\x0a\x02\xff\xfe", (invalid,)),
    )
    for name, method, request, code in (*_numbers(), *_texts()):
        short = method.rpartition("/")[2]
        yield Case(f"{short}: {name}", partial(_expect, method, request, (code,)))
    yield from _amplifications()


async def _expect(
    method: str, data: Message | bytes, codes: tuple[ErrorCode, ...], port: int
) -> None:
    await expect(port, method, data, *codes)


def _amplifications() -> Iterable[Case]:
    """Small on the wire, large in memory: megabytes of values of no bytes."""
    invalid = (ErrorCode.INVALID_REQUEST,)
    topic = b"\x0a\x06orders"
    full = (MESSAGE_BYTES_MAX - 1_000) // 2
    inner = many(3, 8_000)
    for name, method, data in (
        ("empty records", LOG + "Append", topic + many(3, full)),
        ("empty headers", LOG + "Append", topic + _field(3, many(3, full - 10))),
        ("records and headers", LOG + "Append", topic + _field(3, inner) * 900),
        ("headers, then garbage", LOG + "Append", topic + _field(3, many(3, full - 10)) + b"\xff"),
        ("empty settings", ADMIN + "CreateTopic", b"\x0a\x01n" + many(4, 500_000)),
        ("empty names", ADMIN + "DescribeTopics", many(1, 500_000)),
        ("empty queries", LOG + "ListOffsets", many(1, 500_000)),
        ("names", ADMIN + "DescribeTopics", many(1, 10_001, b"a")),
        ("queries", LOG + "ListOffsets", many(1, 10_001)),
        ("records", LOG + "Append", topic + many(3, 10_001)),
    ):
        attack = partial(_expect, method, data, invalid)
        yield Case(f"{method.rpartition('/')[2]}: {name}", attack, large=len(data) > MIB)


def _field(number: int, data: bytes) -> bytes:
    length, rest = bytearray(), len(data)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([number << 3 | 2]) + bytes(length) + bytes([rest]) + data


# --- transport ------------------------------------------------------------------------------------


def transport_cases() -> Iterable[Case]:
    yield Case("Append: a message of 16 MiB and one byte", _oversized, large=True)
    yield Case("Append: a message that inflates to 64 MiB", _grpc_gzip_bomb, large=True)
    yield Case("Produce: a message of 16 MiB and one byte", partial(_oversized_stream, "Produce"), large=True)
    yield Case("Fetch: a message of 16 MiB and one byte", partial(_oversized_stream, "Fetch"), large=True)
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
    count = {"records_count": 1, "last_offset_delta": 0}
    gzip_code, zstd_code = int(Compression.GZIP), int(Compression.ZSTD)
    yield "gzip, 256 MiB", forged(gzip_bomb(256 * MIB), attributes=gzip_code, **count)
    members = gzip.compress(bytes(MIB)) * 200
    yield "gzip, 200 members", forged(members, attributes=gzip_code, **count)
    yield "gzip of gzip", forged(gzip.compress(gzip_bomb(64 * MIB)), attributes=gzip_code, **count)
    sized = zstd_bomb(256 * MIB, declared=True)
    yield "zstd, 256 MiB, declared", forged(sized, attributes=zstd_code, **count)
    streamed = zstd_bomb(256 * MIB, declared=False)
    yield "zstd, 256 MiB, streamed", forged(streamed, attributes=zstd_code, **count)
    frames = zstandard.compress(bytes(MIB)) * 200
    yield "zstd, 200 frames", forged(frames, attributes=zstd_code, **count)
    yield "lz4, noise", forged(bytes(1_000), attributes=int(Compression.LZ4), **count)
    yield "snappy, noise", forged(bytes(1_000), attributes=int(Compression.SNAPPY), **count)
    yield "gzip, noise", forged(bytes(1_000), attributes=gzip_code, **count)
    yield "zstd, cut", forged(sized[:100], attributes=zstd_code, **count)
    yield "records that are not", forged(b"\xff" * 1_000, **count)
    many_records = {"records_count": 100_000, "last_offset_delta": 99_999}
    yield "100 000 records in no bytes", forged(b"", **many_records)


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
    yield Case("Produce: empty batches", partial(_bad_stream, LOG + "Produce", many(1, full)), large=True)
    yield Case("Fetch: empty subscriptions", partial(_bad_stream, fetch, many(1, 500_000)))
    packed = _field(2, b"\x01" * 1_000_000)
    yield Case("Fetch: removals", partial(_bad_stream, fetch, packed))
    yield Case("Fetch: too long", partial(_bad_stream, fetch, _field(15, bytes(2 * MIB))))


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


def all_cases() -> list[Case]:
    return [*unary_cases(), *transport_cases(), *batch_cases(), *stream_cases()]
