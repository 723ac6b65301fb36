"""What the synchronous and the asyncio admin client share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logd_wire.errors import ConfigError

from logd_client._config import cluster_config
from logd_client._engine.admin import AdminEngine
from logd_client._io_thread import IoThread
from logd_client._runtime import Environment, Life


def new_life(
    environment: Environment,
    bootstrap_servers: str | Sequence[str],
    client_id: str | None,
    request_timeout_ms: float,
) -> Life[AdminEngine]:
    """An admin client that connects when first used."""
    config = cluster_config(bootstrap_servers, client_id, request_timeout_ms)

    def make(_: IoThread) -> AdminEngine:
        return AdminEngine(environment.transport(), environment.clock, environment.rng(), config)

    return Life("admin client", make)


def trim_points(before: Mapping[int, int]) -> dict[int, int]:
    """Checked: partition -> first offset to keep, -1: the end."""
    for partition, offset in before.items():
        if partition < 0 or offset < -1:
            raise ConfigError(
                f"partition {partition}: {offset} is not an offset",
                hint="give the first offset to keep, or -1 for the end",
            )
    return dict(before)


def directory_bytes(directory_id: str) -> bytes:
    """The id of a data directory as it travels; empty: none was named."""
    try:
        found = bytes.fromhex(directory_id)
    except ValueError:
        found = b"?"
    if len(found) not in (0, 16):
        raise ConfigError(
            f"{directory_id!r} is not the id of a data directory",
            hint="it has 32 hexadecimal digits: see describe_cluster().members",
        )
    return found
