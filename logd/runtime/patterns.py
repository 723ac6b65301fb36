"""Regular expressions from users: RE2, whose time is linear in the text, whatever the pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2
from logd_wire.errors import ErrorCode, InvalidGroupError
from logd_wire.limits import KIB

#: Longer ones are refused: what they say can be said by a list of names.
PATTERN_CHARACTERS_MAX: Final = 1_000
#: Memory of one compiled pattern, its automaton included.
PATTERN_BYTES_MAX: Final = 256 * KIB
#: Compiled patterns that are kept.
_KEPT_MAX: Final = 1_000


class TopicPattern:
    """One compiled pattern; implements the groups' `Pattern`."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def fullmatch(self, name: str) -> bool:
        """Whether the whole name matches."""
        return self._compiled.fullmatch(name) is not None


@lru_cache(maxsize=_KEPT_MAX)
def compile_pattern(text: str) -> TopicPattern:
    """Compile a pattern in RE2's syntax; raises InvalidGroupError (INVALID_PATTERN) in words."""
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise _invalid(
            text, f"has {len(text)} characters, at most {PATTERN_CHARACTERS_MAX} are taken"
        )
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    try:
        return TopicPattern(re2.compile(text, options=options))
    except re2.error as error:
        reason = error.args[0] if error.args else "it cannot be compiled"
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise _invalid(text, f"is not one of RE2: {words}") from None


def _invalid(text: str, what: str) -> InvalidGroupError:
    return InvalidGroupError(
        f"the pattern {text[:64]!a} {what}",
        code=ErrorCode.INVALID_PATTERN,
        hint="https://github.com/google/re2/wiki/Syntax; the whole name of a topic has to match",
    )
