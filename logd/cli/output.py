"""Printing: tables on a terminal, tab-separated otherwise, JSON, YAML and names."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from logd.cli.options import Format, Invocation
from logd.cli.times import format_bytes


def emit(
    invocation: Invocation,
    *,
    document: Any,
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Any]]]],
    names: Sequence[str],
) -> None:
    """Print one result in the chosen format.

    `document` is what JSON and YAML show; `tables` are (title, header, rows), the title only
    where there are several; `names` is what `-F name` shows, one a line.
    """
    chosen = invocation.format or Format.TABLE
    if chosen is Format.JSON:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif chosen is Format.YAML:
        print("\n".join(yaml_lines(document)))
    elif chosen is Format.NAME:
        for name in names:
            print(name)
    else:
        _print_tables(invocation, tables)


def _print_tables(
    invocation: Invocation,
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Any]]]],
) -> None:
    pretty = sys.stdout.isatty()
    for number, (title, header, rows) in enumerate(tables):
        if len(tables) > 1:
            print(("\n" if number else "") + (f"{title}" if pretty else f"# {title}"))
        cells = [[_cell(value) for value in row] for row in rows]
        if pretty:
            for line in aligned(header, cells, bold=invocation.colored()):
                print(line)
        else:
            for row in [list(header), *cells]:
                print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return str(value)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, bold: bool) -> list[str]:
    """Columns as wide as their widest cell, two blanks apart; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    right = [
        bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(header))
    ]
    lines = []
    for row in [list(header), *rows]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    if bold:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return lines


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.removeprefix("-").replace(".", "", 1).isdigit()


def yaml_lines(value: Any, indent: str = "") -> list[str]:
    """`value`, made of what JSON knows, as YAML lines."""
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _yaml_entry(key, item, indent)]
    if isinstance(value, list | tuple) and value:
        lines = []
        for item in value:
            first, *rest = yaml_lines(item, indent + "  ")
            lines += [f"{indent}- {first.removeprefix(indent + '  ')}", *rest]
        return lines
    return [indent + _yaml_scalar(value)]


def _yaml_entry(key: Any, item: Any, indent: str) -> list[str]:
    name = _yaml_scalar(str(key))
    if isinstance(item, dict | list | tuple) and item:
        return [f"{indent}{name}:", *yaml_lines(item, indent + "  ")]
    return [f"{indent}{name}: {_yaml_scalar(item)}"]


_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})


def _yaml_scalar(value: Any) -> str:
    """A plain word where YAML reads it back as that text, otherwise JSON, which is YAML."""
    if isinstance(value, str):
        plain = value.replace("_", "").replace("-", "").replace(".", "").isalnum()
        if plain and value[0].isalpha() and value.lower() not in _YAML_WORDS and value.isascii():
            return value
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict | list | tuple):
        return "[]" if not isinstance(value, dict) else "{}"
    return json.dumps(value)


class Progress:
    """A line on stderr that is rewritten, only where stderr is a terminal."""

    def __init__(self, invocation: Invocation, what: str) -> None:
        self._shown = not invocation.quiet and sys.stderr.isatty()
        self._what = what
        self._started = time.monotonic()
        self._drawn = 0.0

    def update(self, records: int, size_bytes: int, total: int | None = None) -> None:
        """Show the state, at most ten times a second."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < 0.1:
            return
        self._drawn = now
        elapsed = max(now - self._started, 1e-6)
        share = f" of {total:,}" if total else ""
        sys.stderr.write(
            f"\r\x1b[K{self._what}: {records:,}{share} records, {format_bytes(size_bytes)}, "
            f"{records / elapsed:,.0f} records/s"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._shown and self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
