"""Checks on words: comments of the protocol, leftovers, what must not be written down."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.architecture.sources import Source, Violation

# Brackets keep these patterns from matching themselves.
_LEFTOVER = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
_MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:[w]ork|[r]oot|[h]ome|[U]sers|tmp/[v]env)/")
_REGISTRY = re.compile(
    r"pypi[.]org|pythonhosted[.]org|index[-]url|find[-]links|registry[.]npmjs|proxy[.]golang"
    r"|crates[.]io|deb[.]debian|--ha[s]h=",
    re.IGNORECASE,
)
_PROTO_ELEMENT = re.compile(
    r"(?:message|enum|service|oneof|rpc)\s+(?P<block>\w+)"
    r"|(?:(?:optional|repeated)\s+)?[\w.]+(?:<[^>]*>)?\s+(?P<field>\w+)\s*=\s*\d+"
    r"|(?P<value>[A-Z][A-Z0-9_]*)\s*=\s*-?\d+"
)
_PROTO_NO_ELEMENT = re.compile(r"(?:syntax|package|import|option|reserved|extensions)\b|}")


def leftovers(source: Source) -> Iterator[Violation]:
    for number, line in enumerate(source.lines, 1):
        if found := _LEFTOVER.search(line):
            yield Violation(source.path, number, f"{found[0]}: do it, or file it")


def foreign_places(source: Source) -> Iterator[Violation]:
    """Paths of one machine, and addresses of registries."""
    for number, line in enumerate(source.lines, 1):
        for pattern, what in ((_MACHINE_PATH, "a machine's path"), (_REGISTRY, "a registry")):
            if found := pattern.search(line):
                yield Violation(source.path, number, f"names {what}: {found[0]!r}")


def uncommented(source: Source) -> Iterator[Violation]:
    """Elements of a .proto file without a comment above or beside them."""
    commented = False
    for number, line in enumerate(source.lines, 1):
        code, _, comment = (part.strip() for part in line.partition("//"))
        if not code:
            # A blank line parts a comment from what follows it.
            commented = bool(comment)
            continue
        found = None if _PROTO_NO_ELEMENT.match(code) else _PROTO_ELEMENT.match(code)
        if found and not commented and not comment:
            yield Violation(source.path, number, f"{found[found.lastgroup or 0]} has no comment")
        commented = False


def released_version(changelog: str) -> str:
    """Return the version of the topmost entry; raises ValueError when there is none."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\] - \S+", changelog, re.MULTILINE)
    if found is None:
        raise ValueError("no '## [x.y.z] - date' in the changelog")
    return found[1]
