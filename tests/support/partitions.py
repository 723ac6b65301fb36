"""A partition without a node around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from logd.model.ids import NodeId
from logd.runtime.partition import Surroundings


class Done:
    """A future that is done."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None

    def result(self) -> Any:
        return self._result

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


class InlineDriver:
    """Does what a `DiskDriver` is called for at once; nothing is appended through it."""

    def call(self, work: Callable[[], Any], _target: Any = None, *, sync: bool = False) -> Any:
        return Done(work())


def alone(own_id: NodeId) -> Surroundings:
    """What a partition needs on a node without others."""
    driver: Any = InlineDriver()
    return Surroundings(
        own_id=own_id,
        driver=driver,
        latest_ms=lambda: 1_000,
        monotonic_ms=lambda: 0,
        lag_ms_max=3_000,
        propose=lambda _partition, _proposal: None,
    )
