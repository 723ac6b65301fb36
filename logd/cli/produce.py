"""`logd produce`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from logd.cli.complete import topic_names
from logd.cli.exits import UsageProblem
from logd.cli.options import Format, Invocation, invocation_of

if TYPE_CHECKING:
    from logd.cli.producing import Recipe, Sent

_LAST_WAIT_SECONDS = 5.0

HELP = """Append records read from standard input, one a line.

Each line's bytes become a record's value unchanged, without the newline. The summary goes to
stderr; -F json prints it to stdout instead.

\b
Examples:
  echo hello | logd produce greetings
  logd produce orders -K : < lines.txt             customer7:{"total":3} has key customer7
  logd produce orders -k customer7 -H source=shop -z zstd
  logd produce orders -f '%k\\t%v\\n' -l export.tsv  key and value, tab-separated
  printf 'a\\0b\\0' | logd produce blobs -D '\\0'     any delimiter
"""


class Codec(StrEnum):
    """How a batch is compressed."""

    NONE = "none"
    GZIP = "gzip"
    LZ4 = "lz4"
    ZSTD = "zstd"
    SNAPPY = "snappy"


class Acks(StrEnum):
    """Who must have a record before it is acknowledged."""

    NONE = "0"
    LEADER = "1"
    ALL = "all"


def produce(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(help="Where to.", autocompletion=topic_names)],
    key: Annotated[
        str | None, typer.Option("--key", "-k", metavar="KEY", help="The key of every record.")
    ] = None,
    key_delimiter: Annotated[
        str | None,
        typer.Option(
            "--key-delimiter", "-K", metavar="TEXT", help="A line is KEY, this text, VALUE."
        ),
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="K=V", help="Header of every record; repeatable."),
    ] = None,
    partition: Annotated[
        int | None,
        typer.Option("--partition", "-p", min=0, metavar="N", help="Default: by key, else spread."),
    ] = None,
    codec: Annotated[
        Codec | None, typer.Option("--compression", "-z", help="How batches are compressed.")
    ] = None,
    delimiter: Annotated[
        str,
        typer.Option("--delimiter", "-D", metavar="TEXT", help=r"What ends a record of input."),
    ] = "\\n",
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            "-f",
            metavar="FORMAT",
            help="How a line is made: %k key, %v or %s value, %p partition, %T time in ms, "
            "%h headers as k=v,k=v.",
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-l", metavar="FILE", help="Read this file instead of stdin."),
    ] = None,
    empty_is_null: Annotated[
        bool, typer.Option("--null", "-Z", help="An empty value is sent as null (a tombstone).")
    ] = False,
    acks: Annotated[
        Acks | None,
        typer.Option("--acks", help="all: every in-sync replica has it on disk (default)."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0, metavar="N", help="Records a second; 0: no limit.")
    ] = 0,
) -> None:
    """Append records read from standard input, one a line."""
    invocation = invocation_of(ctx)
    if invocation.format in (Format.YAML, Format.NAME):
        raise UsageProblem(f"-F {invocation.format.value} is for lists; produce knows -F json")
    recipe = _recipe(key, key_delimiter, headers, partition, template, empty_is_null)
    ends = _bytes_of("-D", delimiter)
    if not ends:
        raise UsageProblem("-D: the delimiter must not be empty")
    options = {
        "compression_type": codec.value if codec else None,
        "acks": None if acks is None else (0 if acks is Acks.NONE else _acks(acks)),
        "enable_idempotence": False if acks in (Acks.NONE, Acks.LEADER) else None,
    }
    with _input(file, invocation) as stream:
        _send(invocation, topic, recipe, stream, ends, options, rate)


def _acks(acks: Acks) -> int | str:
    return 1 if acks is Acks.LEADER else "all"


def _recipe(
    key: str | None,
    key_delimiter: str | None,
    headers: list[str] | None,
    partition: int | None,
    template: str | None,
    empty_is_null: bool,
) -> Recipe:
    from logd.cli.producing import Recipe, parse_header
    from logd.cli.template import InputTemplate

    if key_delimiter is not None and template is not None:
        raise UsageProblem("-K and -f exclude each other: -f '%k:%v\\n' is what -K : does")
    if key_delimiter == "":
        raise UsageProblem("-K: the text between key and value must not be empty")
    try:
        parsed = tuple(
            parse_header(item.encode("utf-8", "surrogateescape")) for item in headers or ()
        )
        reader = None if template is None else InputTemplate(template)
    except ValueError as error:
        raise UsageProblem(str(error)) from None
    return Recipe(
        key=None if key is None else key.encode("utf-8", "surrogateescape"),
        key_delimiter=None if key_delimiter is None else _bytes_of("-K", key_delimiter),
        template=reader,
        headers=parsed,
        partition=partition,
        empty_is_null=empty_is_null,
    )


def _bytes_of(option: str, text: str) -> bytes:
    from logd.cli.template import unescape

    try:
        return unescape(text)
    except ValueError as error:
        raise UsageProblem(f"{option}: {error}") from None


@contextlib.contextmanager
def _input(file: str | None, invocation: Invocation) -> Iterator[BinaryIO]:
    if file is not None and file != "-":
        with open(file, "rb") as stream:
            yield stream
        return
    if sys.stdin.isatty():
        invocation.say("reading records from the terminal, one a line; Ctrl-D ends")
    yield sys.stdin.buffer


def _send(
    invocation: Invocation,
    topic: str,
    recipe: Recipe,
    stream: BinaryIO,
    delimiter: bytes,
    options: dict[str, Any],
    rate: float,
) -> None:
    from logd_wire.errors import LogdError

    from logd.cli.connect import open_producer, suggest_topic
    from logd.cli.output import Progress
    from logd.cli.producing import Sender, read_pieces
    from logd.cli.waiting import WaitNotice

    progress = Progress(invocation, f"to {topic}")
    started = time.monotonic()
    producer = open_producer(invocation, **options)
    sender = Sender(producer, topic, recipe, rate_per_second=rate, on_progress=progress.update)
    notice = WaitNotice(invocation.say, sender.pending, sender.last_error)
    try:
        with notice:
            sender.run(read_pieces(stream, delimiter))
    except (LogdError, KeyboardInterrupt) as error:
        if sender.accepted:
            sender.collect_quietly(_LAST_WAIT_SECONDS)
            progress.clear()
            _tell(invocation, topic, sender.sent, time.monotonic() - started, sender.accepted)
        if isinstance(error, LogdError):
            raise suggest_topic(error, topic, invocation) from None
        raise
    else:
        progress.clear()
        _tell(invocation, topic, sender.sent, time.monotonic() - started, sender.accepted)
    finally:
        # What was to be waited for has been waited for: never hang here for what cannot be sent.
        with contextlib.suppress(LogdError):
            producer.close(0)


def _tell(invocation: Invocation, topic: str, sent: Sent, seconds: float, accepted: int) -> None:
    places = sorted(sent.ranges.items())
    if invocation.format is Format.JSON:
        import json

        document = {
            "topic": topic,
            "records": sent.records,
            "bytes": sent.size_bytes,
            "seconds": round(seconds, 6),
            "durable": sent.durable and sent.located,
            "partitions": [
                {"partition": place[1], "first_offset": low, "last_offset": high, "records": count}
                for place, (low, high, count) in places
            ],
        }
        print(json.dumps(document))
        return
    from logd.cli.times import format_bytes

    of = f" of {accepted:,}" if accepted != sent.records else ""
    where = "; ".join(
        f"partition {place[1]}: {count:,} at {low}..{high}"
        for place, (low, high, count) in places[:8]
    )
    more = f"; and {len(places) - 8} partitions more" if len(places) > 8 else ""
    kind = "" if not sent.located else (", durable" if sent.durable else ", not synced to disk")
    invocation.say(
        f"{sent.records:,}{of} records, {format_bytes(sent.size_bytes)} to {topic} "
        f"in {seconds:.2f} s{kind if sent.records else ''}" + (f" ({where}{more})" if where else "")
    )
