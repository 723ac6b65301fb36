"""Noticing that the process was forked."""

from __future__ import annotations

import os

from logd_wire.errors import ForkError


class _Generation:
    """`number` grows by one in each child. A slot, because every `send` reads it."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


current = _Generation()


def _in_child() -> None:
    current.number += 1


os.register_at_fork(after_in_child=_in_child)


def fork_error(what: str) -> ForkError:
    """The error of a client that was used before the fork."""
    return ForkError(
        f"this {what} was first used in the parent process and cannot be used in a forked child",
        hint="create it after the fork (gunicorn: post_fork; multiprocessing: 'spawn'), or do not "
        "use it before",
    )
