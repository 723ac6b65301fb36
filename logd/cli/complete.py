"""Dynamic completion: within 300 ms or not at all, and never an error on the terminal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import typer

from logd.cli.options import invocation_of

BUDGET_SECONDS = 0.3


def within_budget(ask: Callable[[], list[str]], seconds: float = BUDGET_SECONDS) -> list[str]:
    """The answer of `ask`, or nothing when it fails or takes longer."""
    answer: list[str] = []

    def run() -> None:
        with contextlib.suppress(Exception):
            answer.extend(ask())

    thread = threading.Thread(target=run, daemon=True, name="logd-completion")
    thread.start()
    thread.join(seconds)
    return [] if thread.is_alive() else answer


def topic_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Topics that begin with what was typed."""
    invocation = invocation_of(ctx)

    def ask() -> list[str]:
        from logd.cli.connect import open_admin

        with open_admin(invocation) as admin:
            return [info.name for info in admin.list_topics()]

    return sorted(name for name in within_budget(ask) if name.startswith(incomplete))


def group_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Consumer groups that begin with what was typed."""
    invocation = invocation_of(ctx)

    def ask() -> list[str]:
        from logd.cli.connect import open_admin

        with open_admin(invocation) as admin:
            return [info.group_id for info in admin.list_groups()]

    return [name for name in within_budget(ask) if name.startswith(incomplete)]


def node_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Nodes whose ids begin with what was typed."""
    invocation = invocation_of(ctx)

    def ask() -> list[str]:
        from logd.cli.connect import open_admin

        with open_admin(invocation) as admin:
            return [str(member.id) for member in admin.describe_cluster().members]

    return [number for number in within_budget(ask) if number.startswith(incomplete)]
