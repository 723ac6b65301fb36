"""Consumers that read all the time while nodes are hurt; what they get goes into the history."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from logd_client import Consumer, LogdError, TopicPartition

from tests.sim.history import History
from tests.support.recorded import key_of, seen

#: How long one read waits for a first record.
_POLL_S = 0.2
#: A reader that does not come to an end hangs.
_END_S = 60.0


class RecordedReader:
    """One consumer on a thread of its own, from the start of every partition on.

    Its position is its own: what a checker calls a gap is one, whatever became of connections and
    leaders meanwhile.
    """

    def __init__(
        self,
        history: History,
        lock: threading.Lock,
        address: str,
        places: Sequence[TopicPartition],
        name: str,
    ) -> None:
        """`lock` is of all that write into the history."""
        self.records = 0
        #: Why reads failed; they were tried again.
        self.failed: list[LogdError] = []
        self._history, self._lock = history, lock
        self._address, self._places, self._name = address, places, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_END_S)
        assert not self._thread.is_alive(), "the reader hangs"

    def _run(self) -> None:
        # Not sought: some partitions may not be on their nodes yet, and a lookup is tried again.
        with Consumer(bootstrap_servers=self._address, auto_offset_reset="earliest") as consumer:
            consumer.assign(list(self._places))
            while not self._stop.is_set():
                try:
                    found = consumer.getmany(timeout=_POLL_S)
                except LogdError as error:
                    self.failed.append(error)
                    self._stop.wait(_POLL_S)
                    continue
                with self._lock:
                    for place, records in found.items():
                        read = [seen(record.offset, record.value) for record in records]
                        self._history.add_poll(self._name, 0, key_of(place), read)
                        self.records += len(read)
