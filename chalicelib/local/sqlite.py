"""The registry of one machine: SQLite in WAL mode, which survives a kill at any moment."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import Doc, Write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS docs (
    kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL,
    rollout TEXT NOT NULL, at TEXT NOT NULL, message TEXT NOT NULL, data TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    schema_version TEXT NOT NULL DEFAULT '1.0'
);
CREATE INDEX IF NOT EXISTS transitions_subject ON transitions (subject, seq);
CREATE INDEX IF NOT EXISTS transitions_rollout ON transitions (rollout, seq);
CREATE INDEX IF NOT EXISTS transitions_unsent ON transitions (seq) WHERE sent = 0;
"""
# What a table that an older build made lacks.
_SINCE = {"schema_version": "ALTER TABLE transitions ADD COLUMN schema_version TEXT NOT NULL DEFAULT '1.0'"}
_Rows = list[tuple[Any, ...]]
_FIELDS = "id, kind, subject, at, message, rollout, data, schema_version"


class SqliteRegistry:
    """`pipeline.ports.Registry` in one file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Who sets `on_commit` is told of every commit that went through."""
        self.on_commit: Callable[[Sequence[Write]], None] = lambda _: None
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)
        _add_columns(self._db)
        path.chmod(0o600)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def get(self, kind: str, id: str) -> Doc | None:  # noqa: A002 - the port's word
        rows = self._rows("SELECT kind, id, revision, body FROM docs WHERE kind = ? AND id = ?", (kind, id))
        return _doc(rows[0]) if rows else None

    def list(self, kind: str, prefix: str = "") -> Sequence[Doc]:
        query = "SELECT kind, id, revision, body FROM docs WHERE kind = ? AND substr(id, 1, ?) = ? ORDER BY id"
        return [_doc(row) for row in self._rows(query, (kind, len(prefix), prefix))]

    def commit(self, writes: Sequence[Write], transitions: Sequence[Transition] = ()) -> None:
        """Do all writes or none; raises Conflict."""
        with self._transaction() as db:
            for write in writes:
                _apply(db, write)
            db.executemany(
                f"INSERT OR IGNORE INTO transitions ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
                map(_row, transitions),
            )
        self.on_commit(writes)

    def timeline(self, *, subject: str = "", rollout: str = "", limit: int = 200) -> Sequence[Transition]:
        query = (
            f"SELECT {_FIELDS} FROM transitions WHERE (? = '' OR subject = ?) AND (? = '' OR rollout = ?) "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?"
        )
        rows = self._rows(query, (subject, subject, rollout, rollout, limit))
        return [_transition(row) for row in reversed(rows)]

    def unsent(self, limit: int = 100) -> Sequence[Transition]:
        query = f"SELECT {_FIELDS} FROM transitions WHERE sent = 0 ORDER BY seq LIMIT ?"  # noqa: S608 - constant
        return [_transition(row) for row in self._rows(query, (limit,))]

    def mark_sent(self, ids: Sequence[str]) -> None:
        with self._transaction() as db:
            db.executemany("UPDATE transitions SET sent = 1 WHERE id = ?", [(i,) for i in ids])

    def _rows(self, query: str, values: tuple[Any, ...]) -> _Rows:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db


def _apply(db: sqlite3.Connection, write: Write) -> None:
    """Do one conditional write inside a transaction; raises Conflict, which undoes the others."""
    key = (write.kind, write.id)
    if write.body is None:
        done = db.execute("DELETE FROM docs WHERE kind = ? AND id = ? AND revision = ?", (*key, write.expected))
    elif write.expected == 0:
        done = db.execute("INSERT OR IGNORE INTO docs VALUES (?, ?, 1, ?)", (*key, json.dumps(write.body)))
    else:
        done = db.execute(
            "UPDATE docs SET revision = revision + 1, body = ? WHERE kind = ? AND id = ? AND revision = ?",
            (json.dumps(write.body), *key, write.expected),
        )
    if done.rowcount != 1:
        raise Conflict(f"{write.kind} {write.id} is no longer at revision {write.expected}")


def _add_columns(db: sqlite3.Connection) -> None:
    there = {name for _, name, *_ in db.execute("PRAGMA table_info(transitions)")}
    for name, statement in _SINCE.items():
        if name not in there:
            db.execute(statement)


def _doc(row: tuple[Any, ...]) -> Doc:
    kind, id_, revision, body = row
    return Doc(kind, id_, revision, json.loads(body))


def _row(t: Transition) -> tuple[str, ...]:
    return t.id, t.kind, t.subject, t.at.isoformat(), t.message, t.rollout, json.dumps(t.data), t.schema_version


def _transition(row: tuple[Any, ...]) -> Transition:
    id_, kind, subject, at, message, rollout, data, schema_version = row
    return Transition(
        id=id_,
        kind=kind,
        subject=subject,
        at=datetime.fromisoformat(at),
        message=message,
        rollout=rollout,
        data=json.loads(data),
        schema_version=schema_version,
    )
