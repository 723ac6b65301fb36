"""The least client of the sketch: fills batches, sends them, reads them; nothing else."""

from __future__ import annotations

import asyncio
import itertools
from importlib import import_module
from typing import Any

import grpc.aio
from logd_proto.v1 import log_pb2
from logd_wire import BatchBuilder, decode_batch
from logd_wire.limits import BATCH_HEADER_BYTES

from bench.drivers.worker import Measure, task_of_arguments, until, value_of
from bench.servers.sketch import FETCH, OPTIONS, PRODUCE
from bench.task import Task

_IN_FLIGHT_MAX = 8
_NOW_MS = 1_700_000_000_000
_LENGTH_AT, _BEFORE_LENGTH_ENDS = 8, 12


def _batch(value: bytes, size: int) -> tuple[bytes, int]:
    builder, count = BatchBuilder(bytes_max=size), 0
    append = builder.append
    while append(_NOW_MS, None, value) >= 0:
        count += 1
    return builder.build(), count


async def produce(task: Task, measure: Measure) -> None:
    async with grpc.aio.insecure_channel(task.address, options=OPTIONS) as channel:
        call: Any = channel.stream_stream(
            PRODUCE,
            request_serializer=log_pb2.ProduceRequest.SerializeToString,
            response_deserializer=log_pb2.ProduceResponse.FromString,
        )()
        room = asyncio.Semaphore(_IN_FLIGHT_MAX)
        reading = asyncio.ensure_future(_read_answers(call, room))
        measure.warm_records = await _fill(call, room, task, task.warm_seconds)
        await asyncio.to_thread(measure.begin)
        measure.finish(await _fill(call, room, task, task.seconds))
        reading.cancel()


async def _read_answers(call: Any, room: asyncio.Semaphore) -> None:
    while True:
        await call.read()
        room.release()


async def _fill(call: Any, room: asyncio.Semaphore, task: Task, seconds: float) -> int:
    value, done, numbers = value_of(task), 0, itertools.count()
    for _ in until(seconds):
        await room.acquire()
        records, count = _batch(value, task.batch_bytes)
        batch = log_pb2.ProduceBatch(id=next(numbers), records=records)
        await call.write(log_pb2.ProduceRequest(batches=[batch]))
        done += count
    for _ in range(_IN_FLIGHT_MAX):
        await room.acquire()
    for _ in range(_IN_FLIGHT_MAX):
        room.release()
    return done


async def consume(task: Task, measure: Measure) -> None:
    async with grpc.aio.insecure_channel(task.address, options=OPTIONS) as channel:
        call: Any = channel.stream_stream(
            FETCH, response_deserializer=log_pb2.FetchResponse.FromString
        )()
        measure.begin()
        done, size = 0, 0
        await call.write(b"0")
        while done < task.records:
            answer = await call.read()
            part = answer.partitions[0]
            if part.next_offset < task.records:
                await call.write(b"%d" % part.next_offset)
            for batch in _split(part.records):
                records = decode_batch(batch)
                for record in records:
                    size += len(record.value or b"")
                done += len(records)
        measure.finish(done)
        await call.done_writing()


def _split(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + BATCH_HEADER_BYTES <= len(data):
        length = int.from_bytes(data[at + _LENGTH_AT : at + _BEFORE_LENGTH_ENDS], "big")
        end = at + _BEFORE_LENGTH_ENDS + length
        found.append(data[at:end])
        at = end
    return found


def main() -> None:
    task = task_of_arguments()
    measure = Measure(task, "grpcio", "protobuf")
    work = produce(task, measure) if task.role == "produce" else consume(task, measure)
    import_module("uvloop").run(work)


if __name__ == "__main__":
    main()
