"""One partition on the reading side: what was fetched, and where its reader stands.

    frames (whole batches as they came) -> decoded (records of one batch) -> the caller

`position` is the offset of the next record to be handed out, `fetch_offset` that of the next one
to be fetched; what is between them is buffered here. Batches are decoded one at a time, by the
caller's thread, when it gets there.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, IntFlag
from typing import Any, Final, NamedTuple

from logd_wire import decode_rows, read_header
from logd_wire.errors import CorruptBatchError, LogdError, RecordTooLargeError

from logd_client.read_errors import ReadCorruptBatchError, ReadError, located
from logd_client.values import Record, TopicPartition

_RECORD: Final[type[Record[bytes, bytes]]] = Record


class Reset(Enum):
    """Where to begin a partition that has no position."""

    EARLIEST = "earliest"
    LATEST = "latest"
    ERROR = "error"


class Hold(IntFlag):
    """Why nothing of a partition is handed out or fetched for now, besides `paused`."""

    NONE = 0
    #: The application is told first that it has the partition.
    ASSIGNING = 1
    #: It is given up.
    REVOKING = 2
    #: A handler failed; it is called again later.
    RESTING = 4


class Frame(NamedTuple):
    """Batches as one answer brought them. `account`: the stream whose credit they used."""

    records: bytes
    next_offset: int
    leader_epoch: int
    account: str


class PartitionReader:
    """See the module. Fields are guarded by the fetcher's lock."""

    __slots__ = (
        "address",
        "assigned_id",
        "attempts",
        "blocked_until_ms",
        "committed",
        "cursor",
        "decoded",
        "decoded_next_offset",
        "error",
        "fetch_offset",
        "finished",
        "first_offset",
        "frame_position",
        "frames",
        "generation",
        "heard_id",
        "high_watermark",
        "hold",
        "leader_epoch",
        "log_start_offset",
        "looking_up",
        "paused",
        "position",
        "reset",
        "settled",
        "subscription_id",
        "topic_id",
        "tp",
        "trouble",
    )

    def __init__(self, tp: TopicPartition, reset: Reset, assigned_id: bytes = b"") -> None:
        self.tp = tp
        #: The topic that a group has assigned, and no other of its name; empty: no group has.
        self.assigned_id = assigned_id
        self.reset = reset
        self.position: int | None = None
        self.fetch_offset = -1
        self.frames: deque[Frame] = deque()
        self.frame_position = 0
        self.decoded: list[Record[Any, Any]] = []
        self.cursor = 0
        self.decoded_next_offset = -1
        #: Changes whenever what is under way becomes meaningless (seek, pause, unassign).
        self.generation = 0
        self.subscription_id = 0
        #: The subscription of which something came last.
        self.heard_id = 0
        self.address = ""
        self.leader_epoch = -1
        #: The topic that the position is one in; empty: not known.
        self.topic_id = assigned_id
        self.paused = False
        self.hold = Hold.NONE
        #: What the application is done with ends here; None: it has begun with nothing.
        self.finished: int | None = None
        #: As the group keeps it; None: not known.
        self.committed: int | None = None
        #: What of `finished` needs no commit any more; None: nothing.
        self.settled: int | None = None
        #: Where reading began, or the lowest offset that was sought since; -1: nowhere yet.
        self.first_offset = -1
        self.looking_up = False
        self.error: LogdError | None = None
        #: Why it was tried again last; None: nothing of it since something came.
        self.trouble: LogdError | None = None
        self.blocked_until_ms = 0.0
        self.attempts = 0
        self.high_watermark = -1
        self.log_start_offset = -1

    @property
    def has_data(self) -> bool:
        """Whether something can be handed out (or raised) without waiting."""
        return self.cursor < len(self.decoded) or bool(self.frames) or self.error is not None

    @property
    def is_served(self) -> bool:
        """Whether a node sends it: has said something of the subscription there is."""
        return self.subscription_id != 0 and self.heard_id == self.subscription_id

    def begin_at(self, offset: int) -> None:
        """Everything below `offset` is none of the application's business."""
        self.finished = offset
        if self.first_offset < 0 or offset < self.first_offset:
            self.first_offset = offset

    def drop_buffer(self) -> None:
        """Forget what is buffered."""
        self.frames.clear()
        self.frame_position = 0
        self.decoded = []
        self.cursor = 0
        self.generation += 1

    def move_to(self, offset: int | None) -> None:
        """Stand at `offset` (None: nowhere yet). The buffer must have been dropped."""
        self.position = offset
        self.fetch_offset = -1 if offset is None else offset
        self.error = None
        self.blocked_until_ms = 0.0
        self.attempts = 0

    def hand_out(self, count: int) -> list[Record[Any, Any]]:
        """Up to `count` decoded records; the position moves behind them."""
        begin = self.cursor
        records = self.decoded[begin : begin + count]
        self.cursor = begin + len(records)
        if self.cursor == len(self.decoded):
            self.position = self.decoded_next_offset
            self.decoded = []
            self.cursor = 0
        elif records:
            self.position = records[-1].offset + 1
        return records

    def next_batch_bytes(self) -> int:
        """Size of the batch that is decoded next, as it says itself; 0: there is none."""
        if not self.frames:
            return 0
        begin = self.frame_position + 8
        return int.from_bytes(self.frames[0].records[begin : begin + 4], "big")

    def where(self) -> str:
        return f"{self.tp.topic}[{self.tp.partition}] at offset {self.position}"


class Decoded(NamedTuple):
    """One batch taken out of a frame, or why that is impossible.

    `size` bytes of the frame are used up; `next_offset` is where reading goes on.
    """

    records: list[Record[Any, Any]]
    size: int
    next_offset: int
    error: LogdError | None = None


def decode_next(reader: PartitionReader, frame: Frame, begin: int, position: int) -> Decoded:
    """Decode the batch of `frame` at byte `begin`; records below `position` are left out.

    Runs without the lock: it uses of `reader` only what never changes.
    """
    buffer = frame.records
    topic, partition = reader.tp
    try:
        header = read_header(buffer, begin)
    except LogdError as error:
        # Nothing in the rest of the frame can be found without this header.
        return Decoded([], len(buffer) - begin, frame.next_offset, error)
    if header.next_offset <= position or header.is_control:
        return Decoded([], header.size, max(position, header.next_offset))
    try:
        records = decode_rows(
            buffer, begin, _RECORD, (topic, partition), (header.leader_epoch, None)
        )
    except LogdError as error:
        return Decoded([], header.size, header.next_offset, error)
    if header.base_offset < position:
        records = [record for record in records if record.offset >= position]
    return Decoded(records, header.size, header.next_offset)


def corrupt_error(reader: PartitionReader, cause: LogdError, next_offset: int) -> ReadError:
    """The error with which a reader stops before a batch that cannot be decoded."""
    corrupt = isinstance(cause, CorruptBatchError | RecordTooLargeError)
    error = located(
        ReadCorruptBatchError if corrupt else ReadError,
        f"the batch of {reader.where()} cannot be decoded: {cause.message}",
        topic=reader.tp.topic,
        partition=reader.tp.partition,
        offset=-1 if reader.position is None else reader.position,
        cause=cause,
        hint=cause.hint or f"skip it with seek(..., {next_offset}) or on_corrupt='skip'",
    )
    error.next_offset = next_offset
    return error
