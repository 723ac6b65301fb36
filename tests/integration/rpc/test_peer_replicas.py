"""Streams of replicas over gRPC on the loopback interface."""

from __future__ import annotations

import asyncio

import pytest
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError, NetworkError
from logd_wire.limits import BATCH_BYTES_MAX, MIB

from logd.model.ids import ClusterId, LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.rpc import replica_codec as codec
from logd.rpc.api import Methods, ServerStream, StreamMethod
from logd.rpc.peer_codec import REPLICATE, Route
from logd.rpc.replica_streams import PeerReplicaStream
from logd.runtime.replica_frames import ReplicaChunk, ReplicaPosition
from tests.support.rpc_attacks import connected
from tests.support.rpc_peers import Member, heartbeat, identity, members
from tests.support.rpc_server import ClientStream, eventually

TOPIC = TopicId(b"t" * 16)


def position(partition: int = 0, end_offset: int = 0) -> ReplicaPosition:
    return ReplicaPosition(
        TopicPartitionId(TOPIC, partition), LeaderEpoch(3), 5, end_offset, last_epoch=-1
    )


def to(one: Member, two: Member) -> PeerReplicaStream:
    return one.transport.replicate(NodeId(two.number), two.address)


async def chunks_of(stream: PeerReplicaStream, count: int) -> list[ReplicaChunk]:
    found: list[ReplicaChunk] = []
    while len(found) < count:
        some = await stream.read()
        assert some is not None
        found += some
    return found


async def test_positions_are_answered_in_order() -> None:
    async with members(2) as (one, two):
        two.handler.chunk_of = lambda asked: ReplicaChunk(
            asked.partition, asked.leader_epoch, high_watermark=asked.end_offset
        )
        stream = to(one, two)
        for number in range(300):
            await stream.write([position(0, number), position(1, 1_000 + number)])
            first, second = await chunks_of(stream, 2)
            assert (first.partition.partition, first.high_watermark) == (0, number)
            assert (second.partition.partition, second.high_watermark) == (1, 1_000 + number)
        assert two.handler.callers == [identity(1)], "one stream, introduced once"
        await stream.close()


async def test_more_positions_than_a_frame_holds_are_several_frames() -> None:
    async with members(2) as (one, two):
        stream = to(one, two)
        count = 2 * codec.FRAME_PARTITIONS_MAX + 1
        await stream.write([position(number) for number in range(count)])
        found = await chunks_of(stream, count)
        assert [each.partition.partition for each in found] == list(range(count))
        await stream.close()


async def test_a_chunk_may_be_as_large_as_a_batch() -> None:
    async with members(2) as (one, two):
        two.handler.chunk_of = lambda asked: ReplicaChunk(
            asked.partition, asked.leader_epoch, bytes(BATCH_BYTES_MAX)
        )
        stream = to(one, two)
        await stream.write([position()])
        [chunk] = await chunks_of(stream, 1)
        assert len(chunk.records) == BATCH_BYTES_MAX
        await stream.close()


async def test_bulk_data_has_a_connection_of_its_own() -> None:
    """A follower that does not read holds up no heartbeat of the same pair."""
    async with members(2) as (one, two):
        two.handler.chunk_of = lambda asked: ReplicaChunk(
            asked.partition, asked.leader_epoch, bytes(2 * MIB)
        )
        stream = to(one, two)
        await stream.write([position()])
        await chunks_of(stream, 1)
        for number in range(20):
            await stream.write([position(number)])
        for number in range(50):
            one.send(2, heartbeat(number))
        await eventually(lambda: two.handler.rounds(1)[-1:] == [49])
        await stream.close()


async def test_a_foreign_cluster_is_refused_in_words() -> None:
    async with members(2) as (one, two):
        one.transport.introduce(identity(1, ClusterId(b"some other thing")))
        stream = to(one, two)
        await stream.write([position()])
        with pytest.raises(LogdError, match="another cluster") as caught:
            await stream.read()
        assert caught.value.code is ErrorCode.CLUSTER_ID_MISMATCH
        await stream.close()


async def test_nobody_listens_or_the_server_stops() -> None:
    async with members(2) as (one, two):
        stream = to(one, two)
        await stream.write([position()])
        await chunks_of(stream, 1)
        stopping = asyncio.ensure_future(two.stop_listening())
        with pytest.raises(LogdError):
            while True:
                assert await stream.read() is not None
        await stopping
        await stream.close()
        late = to(one, two)
        with pytest.raises(NetworkError):
            await late.write([position()])
            await late.read()
        await late.close()


async def test_a_stream_that_is_closed_ends_who_reads_it() -> None:
    async with members(2) as (one, two):
        stream = to(one, two)
        await stream.write([position()])
        await chunks_of(stream, 1)
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0)
        await stream.close()
        with pytest.raises(NetworkError):
            await reading


async def test_a_reader_that_is_cancelled_is_cancelled() -> None:
    async with members(2) as (one, two):
        stream = to(one, two)
        await stream.write([position()])
        await chunks_of(stream, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.read()
        await stream.close()


async def test_chunks_that_make_no_sense_are_a_broken_network() -> None:
    async def odd(stream: ServerStream) -> None:
        await stream.read()
        await stream.write(pb.ReplicateResponse(chunks=[pb.ReplicaChunk(topic_id=b"short")]))
        await stream.read()

    async with members(1) as (one,):
        two = Member(2)
        method = StreamMethod(pb.ReplicateRequest, pb.ReplicateResponse, odd)
        await two.listen(Methods({}, {REPLICATE: method}))
        stream = to(one, two)
        await stream.write([position()])
        with pytest.raises(NetworkError, match="topic_id has 5 bytes") as caught:
            await stream.read()
        assert caught.value.broker == two.address
        await stream.close()
        await two.close()


async def test_nothing_is_copied_before_an_introduction_and_after_the_end() -> None:
    one = Member(1)
    one.transport._identity = None
    with pytest.raises(RuntimeError, match="before introduce"):
        one.transport.replicate(NodeId(2), "nowhere:1")
    one.transport.introduce(identity(1))
    await one.close()
    with pytest.raises(NetworkError, match="stopping"):
        one.transport.replicate(NodeId(2), "nowhere:1")


async def test_a_stream_has_one_sender() -> None:
    introduced = codec.encode_positions([position()])
    codec.introduce(introduced, Route(identity(2), NodeId(1)))
    async with members(1) as (one,), connected(one.port) as channel:
        for frames, words in (
            ([codec.encode_positions([position()])], "does not begin with its sender"),
            ([introduced, introduced], "a second sender"),
        ):
            stream = ClientStream(channel, REPLICATE, pb.ReplicateResponse)
            for frame in frames:
                await stream.send(frame)
            with pytest.raises(InvalidRequestError, match=words):
                while await stream.receive() is not None:
                    pass
        quiet = ClientStream(channel, REPLICATE, pb.ReplicateResponse)
        await quiet.half_close()
        assert await quiet.receive() is None


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pb.ReplicateRequest(positions=[pb.ReplicaPosition(topic_id=b"x")]), "topic_id has 1"),
        (
            pb.ReplicateRequest(
                positions=[pb.ReplicaPosition(topic_id=TOPIC, end_offset=-1, last_epoch=-1)]
            ),
            "end_offset is -1",
        ),
        (
            pb.ReplicateRequest(
                positions=[pb.ReplicaPosition(topic_id=TOPIC)] * (codec.FRAME_PARTITIONS_MAX + 1)
            ),
            "1001 positions in one frame",
        ),
    ],
    ids=["id", "offset", "count"],
)
async def test_hostile_positions_end_their_stream_alone(
    frame: pb.ReplicateRequest, words: str
) -> None:
    async with members(2) as (one, two), connected(two.port) as channel:
        well = to(one, two)
        await well.write([position()])
        await chunks_of(well, 1)
        for introduced_first in (True, False):
            stream = ClientStream(channel, REPLICATE, pb.ReplicateResponse)
            hostile = pb.ReplicateRequest()
            hostile.CopyFrom(frame)
            if introduced_first:
                hello = codec.encode_positions([])
                codec.introduce(hello, Route(identity(3), NodeId(2)))
                await stream.send(hello)
            else:
                codec.introduce(hostile, Route(identity(3), NodeId(2)))
            await stream.send(hostile)
            with pytest.raises(InvalidRequestError, match=words):
                while await stream.receive() is not None:
                    pass
        await well.write([position(1)])
        assert len(await chunks_of(well, 1)) == 1
        await well.close()
