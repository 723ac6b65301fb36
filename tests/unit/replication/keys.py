"""The records of the model: each puts one of a few keys, or deletes it."""

from __future__ import annotations

from typing import Final

#: The epoch and the number of a record; None below the start of a log that was restarted.
Record = tuple[int, int] | None
CHUNK_RECORDS: Final = 3
#: The number of a record that was compacted.
GONE: Final = 0


def key_of(record: Record) -> int:
    """-1: it has none, because it is not there any more."""
    return -1 if record is None or record[1] == GONE else record[1] % 3


def deletes(record: Record) -> bool:
    return record is not None and record[1] % 2 == 0


def newest(log: list[Record], start: int, end: int) -> dict[int, int]:
    """The offset of the newest record of each key."""
    return {key_of(log[at]): at for at in range(start, end) if key_of(log[at]) >= 0}


def compacted(log: list[Record], start: int, end: int, kept_from: int) -> int:
    """Compact `log[start:end]` where it stands, and forget deletes below `kept_from`; return the
    end of those that went, 0 if none did. Every horizon has passed."""
    last, forgotten_end = newest(log, start, end), 0
    for at in range(start, end):
        record = log[at]
        if record is None or record[1] == GONE:
            continue
        forgets = last[key_of(record)] == at and deletes(record) and at < kept_from
        if forgets:
            forgotten_end = at + 1
        if forgets or last[key_of(record)] != at:
            log[at] = (record[0], GONE)
    return forgotten_end


def check_kept(log: list[Record], committed: list[Record], start: int, end: int) -> None:
    """What is there is what was committed there; the last of each key is, unless a later one takes
    its place, or it is a delete."""
    last = newest(committed, 0, len(committed))
    for at in range(start, end):
        here, record = log[at], committed[at]
        assert here is not None and record is not None and here[0] == record[0]
        if here != record:
            assert here[1] == GONE
            assert last[key_of(record)] != at or deletes(record), "a key is lost"


def check_deleted(log: list[Record], committed: list[Record], start: int, end: int) -> None:
    """No key is back whose newest record below `end` deleted it."""
    last = newest(committed, 0, len(committed))
    for key, at in newest(log, start, end).items():
        if last[key] < end and deletes(committed[last[key]]):
            assert at == last[key], "a key that was deleted is back"
