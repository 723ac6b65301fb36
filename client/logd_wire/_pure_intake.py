"""What a producer does for each record: the pure-Python definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from logd_wire.limits import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from logd_wire._pure_encode import BatchBuilder


class Receipt:
    """Where a record is: its batch, its index there, and its time in ms since 1970."""

    __slots__ = ("_batch", "_index", "_timestamp_ms")

    def __init__(self, batch: Any, index: int, timestamp_ms: int, /) -> None:
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms


R = TypeVar("R", bound=Receipt)


class Intake:
    """Where values go that are all there is to a record.

    The compiled one does all of `add` without letting go of the interpreter's lock.
    """

    __slots__ = ("_batch", "_builder")

    def __init__(self) -> None:
        self._builder: BatchBuilder | None = None
        self._batch: object = None

    def put(self, builder: BatchBuilder | None, batch: object, /) -> None:
        """From now on add to `builder` (None: to nothing), which makes `batch`."""
        self._builder = builder
        self._batch = batch

    def add(self, value: object, receipt: type[R], time_ns: Callable[[], int], /) -> R | None:
        """Add a record that is only a value, of now; return its receipt, of the class `receipt`.

        `time_ns` is the clock, in nanoseconds since 1970; the compiled one reads `time.time_ns`
        without a call.

        None, and nothing was added: no builder is there or it is full, or the value is no `bytes`
        or too large.
        """
        builder = self._builder
        if builder is None or type(value) is not bytes or len(value) > RECORD_BYTES_MAX:
            return None
        stamp = time_ns() // 1_000_000
        index = builder.append(stamp, None, value)
        return None if index < 0 else receipt(self._batch, index, stamp)
