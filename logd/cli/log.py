"""`logd log …`: partition logs as they lie on disk, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logd.cli.exits import ExitCode, UsageProblem
from logd.cli.options import Command, Invocation, group, invocation_of
from logd.cli.output import emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logd.storage.inspect import DumpEntry, PartitionReport

app = group("Read what lies on disk, without a node.", name="log")

DUMP_HELP = """Show what a file of a data directory holds: one line a batch, entry or producer.

FILE is a segment (.log), one of the files beside it, leader-epochs or a ledger. Exit code 1 when
something in it is damaged.

\b
Examples:
  logd log dump data/partitions/…-0/00000000000000000000.log
  logd log dump 00000000000000000000.log --verify     with checksums and the chain of offsets
  logd log dump 00000000000000000000.log --index      its offset index instead
"""


@app.command("dump", cls=Command, help=DUMP_HELP)
def dump(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    index: Annotated[
        bool, typer.Option("--index", help="The offset index beside the segment.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check checksums and the chain of offsets too.")
    ] = False,
) -> None:
    from logd.storage.inspect import dump_file
    from logd.storage.segment import INDEX_SUFFIX, LOG_SUFFIX

    invocation = invocation_of(ctx)
    if index and verify:
        raise UsageProblem("--index and --verify exclude each other: an index always is verified")
    if index and file.suffix == LOG_SUFFIX:
        file = file.with_suffix(INDEX_SUFFIX)
        if not file.exists():
            raise UsageProblem(f"{file} does not exist: it is written when the segment is full")
    entries = list(dump_file(file, verify=verify))
    _emit_entries(invocation, entries)
    if any(entry.kind == "damage" for entry in entries):
        raise typer.Exit(ExitCode.FAILED)


def _emit_entries(invocation: Invocation, entries: Sequence[DumpEntry]) -> None:
    names = list(dict.fromkeys(name for entry in entries for name in entry.fields))
    emit(
        invocation,
        document=[
            {"kind": entry.kind, "position": entry.position, **entry.fields} for entry in entries
        ],
        tables=[
            (
                "entries",
                ["KIND", "POSITION", *(name.upper() for name in names)],
                [
                    [entry.kind, entry.position, *(entry.fields.get(name) for name in names)]
                    for entry in entries
                ],
            )
        ],
        names=[str(entry.position) for entry in entries],
    )


VERIFY_HELP = """Check every byte of a data directory, or of one partition's directory.

Nothing is changed. Stop the node before: of a running one the newest batches may be missed. Exit
code 1 when something is damaged.

\b
Examples:
  logd log verify data
  logd log verify data/partitions/609b933a8eb928f1a8a5663b28a2fc80-0 -F json
"""


@app.command("verify", cls=Command, help=VERIFY_HELP)
def verify_directory(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
) -> None:
    from logd.storage import inspect

    invocation = invocation_of(ctx)
    report = inspect.verify_directory(directory)
    rows = [
        [
            item.path,
            item.segments,
            item.batches,
            item.size_bytes,
            item.start_offset,
            item.end_offset,
            item.durable_end_offset,
            "damaged" if item.problems else "ok",
        ]
        for item in report.partitions
    ]
    header = ["PATH", "SEGMENTS", "BATCHES", "BYTES", "START", "END", "DURABLE_END", "STATE"]
    emit(
        invocation,
        document={
            "path": report.path,
            "ok": report.ok,
            "partitions": [_document(item) for item in report.partitions],
        },
        tables=[("partitions", header, rows)],
        names=[item.path for item in report.partitions],
    )
    _say_what_was_found(invocation, report.partitions)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def _document(item: PartitionReport) -> dict[str, Any]:
    return {
        "path": item.path,
        "segments": item.segments,
        "batches": item.batches,
        "size_bytes": item.size_bytes,
        "start_offset": item.start_offset,
        "end_offset": item.end_offset,
        "durable_end_offset": item.durable_end_offset,
        "problems": item.problems,
        "notes": item.notes,
    }


def _say_what_was_found(invocation: Invocation, partitions: Sequence[PartitionReport]) -> None:
    """Notes and problems on stderr, and one line in the end."""
    damaged = 0
    for item in partitions:
        damaged += bool(item.problems)
        for note in item.notes:
            invocation.say(f"note: {item.path}: {note}")
        for problem in item.problems:
            invocation.say(f"damage: {item.path}: {problem}")
    logs = f"{len(partitions)} log{'' if len(partitions) == 1 else 's'}"
    batches = sum(item.batches for item in partitions)
    if damaged:
        invocation.say(f"damage in {damaged} of {logs}; the rest can be read")
    else:
        invocation.say(f"{logs} with {batches:,} batches: no damage")
