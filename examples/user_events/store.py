"""What the workers write: users and their events, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    UNIQUE (topic, partition, offset)
);
CREATE TABLE IF NOT EXISTS users (
    user TEXT PRIMARY KEY,
    events INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    last_kind TEXT NOT NULL
);
"""
_EVENT = """
INSERT OR IGNORE INTO events (topic, partition, offset, user, kind, amount)
VALUES (?, ?, ?, ?, ?, ?)
"""
_USER = """
INSERT INTO users (user, events, balance, last_kind) VALUES (?1, 1, ?2, ?3)
ON CONFLICT (user) DO UPDATE SET events = events + 1, balance = balance + ?2, last_kind = ?3
"""


class Store:
    """One connection. Several processes may use one file."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(_TABLES)

    def write(self, records: Iterable[Any]) -> int:
        """Apply records in one transaction; return how many were new.

        A record that was applied before is passed over: its place in the log is unique. So a
        worker that dies between this and its commit does no harm when the record comes again.
        """
        new = 0
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            for record in records:
                user, event = record.key.decode(), json.loads(record.value)
                place = (record.topic, record.partition, record.offset)
                cursor.execute(_EVENT, (*place, user, event["kind"], event["amount"]))
                if cursor.rowcount:
                    new += 1
                    cursor.execute(_USER, (user, event["amount"], event["kind"]))
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        return new

    def close(self) -> None:
        self._connection.close()
