"""Input to records, and records to the cluster, independent of the command's arguments."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from logd_wire.errors import InvalidRecordError, LogdError, RecordTooLargeError
from logd_wire.limits import RECORD_BYTES_MAX

from logd.cli.template import InputTemplate

if TYPE_CHECKING:
    from logd_client import Producer, ProducerRecord

_READ_BYTES = 1 << 20
#: Chunks sent and not yet answered; the producer's own buffer bounds the bytes.
_CHUNKS_IN_FLIGHT = 32
_RATE_SLICES_PER_SECOND = 20


def read_pieces(stream: BinaryIO, delimiter: bytes) -> Iterator[list[bytes]]:
    """Yield what has arrived, cut at `delimiter`, without it; the last piece may lack it."""
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    rest = b""
    while chunk := read(_READ_BYTES):
        *pieces, rest = (rest + chunk).split(delimiter)
        if len(rest) > RECORD_BYTES_MAX:
            raise RecordTooLargeError(
                f"the input has a record of more than {RECORD_BYTES_MAX} bytes: "
                f"{rest[:40]!r}… (no delimiter {delimiter!r} found)",
                hint="name the input's delimiter with -D",
            )
        if pieces:
            yield pieces
    if rest:
        yield [rest]


@dataclass(frozen=True)
class Recipe:
    """What is made of each piece of input."""

    key: bytes | None = None
    key_delimiter: bytes | None = None
    template: InputTemplate | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    empty_is_null: bool = False

    @property
    def plain(self) -> bool:
        """Whether a piece is the value and there is nothing else."""
        return self == Recipe()


def records_of(
    pieces: Iterable[bytes], recipe: Recipe, topic: str, first_number: int
) -> list[ProducerRecord[bytes, bytes]]:
    """Records for pieces of input; raises InvalidRecordError with the piece's number (from 1)."""
    from logd_client import ProducerRecord

    records = []
    for number, piece in enumerate(pieces, first_number):
        try:
            fields = _fields(piece, recipe)
        except ValueError as error:
            raise InvalidRecordError(f"input record {number}: {error}") from None
        records.append(ProducerRecord(**fields))
    return records


def _fields(piece: bytes, recipe: Recipe) -> dict[str, Any]:
    key, value, headers = recipe.key, piece, recipe.headers
    fields: dict[str, Any] = {"partition": recipe.partition}
    if recipe.template is not None:
        found = recipe.template.read(piece)
        key, value = found.get("k", key), found.get("v", b"")
        headers += _parse_headers(found.get("h", b""))
        if "p" in found:
            fields["partition"] = int(found["p"])
        if "T" in found:
            fields["timestamp"] = int(found["T"])
    elif recipe.key_delimiter is not None and recipe.key_delimiter in piece:
        key, _, value = piece.partition(recipe.key_delimiter)
    null = recipe.empty_is_null and not value
    return fields | {"key": key, "value": None if null else value, "headers": headers}


def _parse_headers(text: bytes) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(parse_header(item) for item in text.split(b",") if item)


def parse_header(item: bytes) -> tuple[str, bytes | None]:
    """`k=v`; `k` alone is a header with a null value. Raises ValueError."""
    name, equals, value = item.partition(b"=")
    if not name:
        raise ValueError(f"header {item!r} has no name; write k=v")
    return name.decode(), value if equals else None


@dataclass
class Sent:
    """What has been acknowledged so far."""

    records: int = 0
    size_bytes: int = 0
    #: (topic, partition) -> first offset, last offset, records.
    ranges: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    durable: bool = True
    located: bool = True

    def add(self, metadata: Iterable[Any], size_bytes: int) -> None:
        self.size_bytes += size_bytes
        for item in metadata:
            self.records += 1
            if item.offset is None or item.offset < 0:
                self.located = False
                continue
            self.durable = self.durable and bool(item.durable)
            place = (item.topic, item.partition)
            first, last, count = self.ranges.get(place, (item.offset, item.offset, 0))
            self.ranges[place] = (min(first, item.offset), max(last, item.offset), count + 1)


class Sender:
    """Sends chunks of input in order and collects the answers."""

    def __init__(
        self,
        producer: Producer[bytes, bytes],
        topic: str,
        recipe: Recipe,
        *,
        rate_per_second: float,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.sent = Sent()
        self.accepted = 0
        self._producer = producer
        self._topic = topic
        self._recipe = recipe
        self._rate = rate_per_second
        self._on_progress = on_progress
        self._flying: deque[tuple[Any, int]] = deque()
        self._next_send = time.monotonic()

    def run(self, chunks: Iterable[list[bytes]]) -> None:
        """Send everything and wait for every answer; raises the first error."""
        for pieces in chunks:
            for part in self._paced(pieces):
                self._send(part)
                self._collect(_CHUNKS_IN_FLIGHT)
        self._producer.flush()
        self._collect(0)

    def pending(self) -> tuple[int, int]:
        """Records that wait for an answer, and those that have one; from any thread."""
        answered = self.sent.records
        return self.accepted - answered, answered

    def last_error(self) -> LogdError | None:
        """What the last try of the oldest chunk without an answer ended in; from any thread."""
        with contextlib.suppress(IndexError):
            error: LogdError | None = self._flying[0][0].last_error
            return error
        return None

    def collect_quietly(self, timeout_seconds: float) -> None:
        """After an error: wait a little for what is under way and count what was acknowledged."""
        with contextlib.suppress(LogdError):
            self._producer.flush(timeout_seconds)
        while self._flying:
            delivery, size_bytes = self._flying.popleft()
            try:
                self.sent.add(delivery.result(0), size_bytes)
            except LogdError:
                continue

    def _send(self, pieces: list[bytes]) -> None:
        values: list[Any] = pieces
        if not self._recipe.plain:
            values = records_of(pieces, self._recipe, self._topic, self.accepted + 1)
        self.accepted += len(pieces)
        delivery = self._producer.send_many(self._topic, values)
        self._flying.append((delivery, sum(map(len, pieces))))

    def _collect(self, leave: int) -> None:
        while self._flying and (len(self._flying) > leave or self._flying[0][0].done()):
            delivery, size_bytes = self._flying[0]
            metadata = delivery.result()
            self._flying.popleft()
            self.sent.add(metadata, size_bytes)
            self._on_progress(self.sent.records, self.sent.size_bytes)

    def _paced(self, pieces: list[bytes]) -> Iterator[list[bytes]]:
        if not self._rate:
            yield pieces
            return
        step = max(1, int(self._rate / _RATE_SLICES_PER_SECOND))
        for position in range(0, len(pieces), step):
            part = pieces[position : position + step]
            now = time.monotonic()
            if self._next_send > now:
                time.sleep(self._next_send - now)
            self._next_send = max(self._next_send, now - 1) + len(part) / self._rate
            yield part
