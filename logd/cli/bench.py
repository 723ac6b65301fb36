"""`logd bench …`."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from logd_wire.errors import InvalidConfigError

from logd.cli.benchmark.workload import Acks, Api, Workload
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, Format, Invocation, group, invocation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from logd.cli.benchmark.workload import Result

app = group(
    """Measure throughput and latency.

Without -b a node is started for the measurement, in a process of its own, with a folder of its
own; and the same payloads are sent over a bare gRPC stream that does nothing with them, between two
more processes, for comparison: in the same protobuf messages ("bare"), and as raw bytes without
protobuf ("raw"). With -b the cluster named is measured, without the comparison.

\b
Examples:
  logd bench produce
  logd bench produce --size 1024 --batch-size 256KiB --json
  logd bench produce --api send_many --records 3_000_000
  logd bench consume --partitions 10
  logd bench e2e --rate 5000 -b node1:7171
""",
    name="bench",
)


def _number(text: str | int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number such as 1_000_000") from None
    if number < 0:
        raise typer.BadParameter(f"{text!r} is negative")
    return number


def _size(text: str | int) -> int:
    from logd.model.units import parse_size_bytes

    try:
        size = parse_size_bytes(str(text))
    except InvalidConfigError as error:
        raise typer.BadParameter(str(error)) from None
    if size < 0:
        raise typer.BadParameter(f"{text!r} is negative")
    return size


Records = Annotated[
    str, typer.Option("--records", metavar="N", callback=_number, help="How many; 1_000_000 too.")
]
Size = Annotated[
    str, typer.Option("--size", metavar="SIZE", callback=_size, help="Size of a value.")
]
BatchSize = Annotated[
    str,
    typer.Option(
        "--batch-size",
        metavar="SIZE",
        callback=_size,
        help="The producer's batch.size, such as 256KiB.",
    ),
]
Partitions = Annotated[
    int, typer.Option("--partitions", min=1, metavar="N", help="Partitions, all of them in use.")
]
KeyBytes = Annotated[
    int, typer.Option("--key-bytes", min=0, metavar="BYTES", help="Bytes of a key; 0: no key.")
]
AcksOption = Annotated[Acks, typer.Option("--acks", help="Who must have a record.")]
Compression = Annotated[
    str, typer.Option("--compression", metavar="CODEC", help="none, gzip, lz4 or zstd.")
]
Rate = Annotated[
    float, typer.Option("--rate", min=0, metavar="N", help="Records a second; 0: no limit.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, as -F json does.")]
CsvOption = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE", help="Append a line to this file, with a header."),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress line.")]
NoBare = Annotated[
    bool, typer.Option("--no-bare", help="Leave out the comparison with a bare gRPC stream.")
]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Where the own node's folder is made."),
]


@app.command("produce", cls=Command)
def produce(
    ctx: typer.Context,
    records: Records = "1000000",
    size: Size = "100",
    batch_size: BatchSize = "64KiB",
    partitions: Partitions = 1,
    key_bytes: KeyBytes = 0,
    acks: AcksOption = Acks.ALL,
    api: Annotated[Api, typer.Option("--api", help="send or send_many.")] = Api.SEND,
    compression: Compression = "none",
    rate: Rate = 0,
    as_json: JsonOption = False,
    csv_file: CsvOption = None,
    no_progress: NoProgress = False,
    no_bare: NoBare = False,
    data_dir: DataDir = None,
) -> None:
    """Send records as fast as one producer can."""
    if api not in (Api.SEND, Api.SEND_MANY):
        raise UsageProblem(f"--api {api.value}: producing has send and send_many")
    workload = Workload(
        kind="produce",
        records=int(records),
        size_bytes=int(size),
        key_bytes=key_bytes,
        batch_bytes=int(batch_size),
        partitions=partitions,
        acks=acks,
        api=api,
        compression=compression,
        rate_per_second=rate,
    )
    bare = not (no_bare or rate)
    _measure(invocation_of(ctx), workload, as_json, csv_file, no_progress, bare, data_dir)


@app.command("consume", cls=Command)
def consume(
    ctx: typer.Context,
    records: Records = "1000000",
    size: Size = "100",
    batch_size: BatchSize = "64KiB",
    partitions: Partitions = 1,
    key_bytes: KeyBytes = 0,
    api: Annotated[Api, typer.Option("--api", help="getmany or iterate.")] = Api.GETMANY,
    compression: Compression = "none",
    as_json: JsonOption = False,
    csv_file: CsvOption = None,
    no_progress: NoProgress = False,
    no_bare: NoBare = False,
    data_dir: DataDir = None,
) -> None:
    """Read a topic from its beginning, after filling it."""
    if api not in (Api.GETMANY, Api.ITERATE):
        raise UsageProblem(f"--api {api.value}: consuming has getmany and iterate")
    workload = Workload(
        kind="consume",
        records=int(records),
        size_bytes=int(size),
        key_bytes=key_bytes,
        batch_bytes=int(batch_size),
        partitions=partitions,
        acks=Acks.ALL,
        api=api,
        compression=compression,
    )
    _measure(invocation_of(ctx), workload, as_json, csv_file, no_progress, not no_bare, data_dir)


@app.command("e2e", cls=Command)
def e2e(
    ctx: typer.Context,
    records: Records = "20000",
    size: Size = "100",
    batch_size: BatchSize = "64KiB",
    partitions: Partitions = 1,
    key_bytes: KeyBytes = 0,
    acks: AcksOption = Acks.ALL,
    compression: Compression = "none",
    rate: Rate = 2000,
    as_json: JsonOption = False,
    csv_file: CsvOption = None,
    no_progress: NoProgress = False,
    data_dir: DataDir = None,
) -> None:
    """Produce at a steady rate and read at once: the latency from one end to the other."""
    if int(size) < 8:
        raise UsageProblem("--size must be 8 or more: a value carries the time it was sent")
    workload = Workload(
        kind="e2e",
        records=int(records),
        size_bytes=int(size),
        key_bytes=key_bytes,
        batch_bytes=int(batch_size),
        partitions=partitions,
        acks=acks,
        api=Api.SEND,
        compression=compression,
        rate_per_second=rate,
    )
    _measure(invocation_of(ctx), workload, as_json, csv_file, no_progress, False, data_dir)


def _measure(
    invocation: Invocation,
    workload: Workload,
    as_json: bool,
    csv_file: str | None,
    no_progress: bool,
    bare: bool,
    data_dir: str | None,
) -> None:
    from logd.cli.benchmark import processes, runs
    from logd.cli.connect import start_time_limit
    from logd.cli.output import Progress
    from logd.cli.settings import client_settings

    if not workload.records:
        raise UsageProblem("--records must be 1 or more")
    start_time_limit(invocation)
    settings = client_settings(invocation)
    own = settings.bootstrap_source == "default"
    progress = Progress(invocation, f"bench {workload.kind}")
    run: Callable[..., Result] = {
        "produce": runs.produce,
        "consume": runs.consume,
        "e2e": runs.end_to_end,
    }[workload.kind]
    with contextlib.ExitStack() as stack:
        if own:
            address = stack.enter_context(processes.own_node(data_dir))
        else:
            address = settings.bootstrap
            invocation.say(f"measuring {address} ({settings.bootstrap_source})")
        result = run(address, workload, _ignore if no_progress else progress.update)
        progress.clear()
    if own and bare:
        _measure_bare(invocation, result)
    _print(invocation, result, as_json=as_json, csv_file=csv_file, own=own)


def _ignore(_records: int, _size_bytes: int) -> None:
    """Progress that nobody wants to see."""


#: What the node pushes in one frame, when there is so much.
_FRAME_BYTES = 1 << 20
_BARE_BYTES = 300_000_000
_BARE_MESSAGES_MAX = 20_000


def _measure_bare(invocation: Invocation, result: Result) -> None:
    """Send the same batches (produce) or frames of batches (consume) over a bare stream."""
    from logd.cli.benchmark import processes
    from logd.cli.benchmark.payload import full_batch

    workload = result.workload
    if invocation.verbose:
        invocation.say("measuring a bare gRPC stream of the same payloads")
    batch, records = full_batch(workload)
    message_bytes = len(batch)
    if workload.kind == "consume":
        batches = max(1, _FRAME_BYTES // message_bytes)
        message_bytes, records = message_bytes * batches, records * batches
    messages = max(200, min(_BARE_MESSAGES_MAX, _BARE_BYTES // message_bytes))
    way = "push" if workload.kind == "produce" else "pull"
    rate = processes.bare_messages_per_second
    result.bare_records_per_second = rate(way, "messages", message_bytes, messages) * records
    result.raw_records_per_second = rate(way, "bytes", message_bytes, messages) * records
    result.bare_message_bytes = message_bytes


def _print(
    invocation: Invocation, result: Result, *, as_json: bool, csv_file: str | None, own: bool
) -> None:
    from logd.cli.machine import machine, versions
    from logd.cli.output import emit

    figures: dict[str, Any] = {**result.document(), "own_node": own}
    document = {**figures, "machine": machine(), "versions": versions()}
    if csv_file is not None:
        _append_csv(csv_file, {**figures, "processor": document["machine"]["processor"]})
    if as_json and invocation.format is None:
        print(json.dumps(document))
        return
    rows = [[name, value] for name, value in figures.items() if value is not None]
    rows += [[name, value] for name, value in document["machine"].items()]
    emit(
        invocation,
        document=document,
        tables=[("bench", ["FIGURE", "VALUE"], rows)],
        names=[f"{figures['records_per_second']} records/s"],
    )
    if invocation.format in (None, Format.TABLE, Format.WIDE):
        invocation.say(_in_words(result))


def _in_words(result: Result) -> str:
    words = [
        f"{result.records_per_second:,.0f} records/s",
        f"{result.megabytes_per_second:,.1f} MB/s",
        f"{result.client_cpu_us_per_record:.2f} us of client CPU a record",
    ]
    if result.latency_ms:
        words.append("p50 {p50:.2f} ms, p99 {p99:.2f} ms".format(**result.latency_ms))
    if result.ratio_to_bare is not None:
        words.append(f"{result.ratio_to_bare:.0%} of a bare gRPC stream of the same payloads")
    return ", ".join(words)


def _append_csv(path: str, figures: dict[str, Any]) -> None:
    new = not Path(path).exists() or Path(path).stat().st_size == 0
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(figures)
        writer.writerow(figures.values())
