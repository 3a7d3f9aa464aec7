"""A registry that an older build made is read on, and what it hadn't sent yet is told."""

import sqlite3

from chalicelib.domain.transition import Transition
from chalicelib.local.sqlite import SqliteRegistry
from tests.fakes_pipeline import FakeClock

OLDER = """
CREATE TABLE transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL,
    rollout TEXT NOT NULL, at TEXT NOT NULL, message TEXT NOT NULL, data TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0
);
INSERT INTO transitions (id, kind, subject, rollout, at, message, data)
VALUES ('t1', 'drop.seen', 'm/1', '', '2026-01-01T00:00:00+00:00', 'an upload began', '{}');
"""


def test_transitions_that_say_no_schema_version_are_of_the_first(tmp_path):
    db = sqlite3.connect(tmp_path / "registry.sqlite")
    db.executescript(OLDER)
    db.close()
    registry = SqliteRegistry(tmp_path / "registry.sqlite")
    newer = Transition("t2", "drop.seen", "m/2", FakeClock().now, "an upload began", schema_version="1.7")
    registry.commit([], [newer])
    assert [(t.id, t.schema_version) for t in registry.unsent()] == [("t1", "1.0"), ("t2", "1.7")]
    registry.close()
    again = SqliteRegistry(tmp_path / "registry.sqlite")
    assert again.unsent()[1] == newer
    again.close()
