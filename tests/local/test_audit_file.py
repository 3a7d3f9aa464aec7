"""The audit of one machine: a line for each call, for its owner's eyes, in a file that doesn't grow for ever."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from chalicelib.domain.hook_audit import MOST_REFUSED, AuditLine, Outcome
from chalicelib.local.audit_file import AuditFile

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACCEPTED = AuditLine(NOW, "ci", Outcome.ACCEPTED, call="msg_1", action="promote", endpoint="digits")
REFUSED = AuditLine(NOW, "ci", Outcome.REFUSED, "bad signature")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_call_is_a_line_that_only_its_owner_reads(tmp_path):
    audit = AuditFile(tmp_path / "audit.jsonl")
    audit(ACCEPTED)
    audit(REFUSED)
    assert [line["outcome"] for line in lines(tmp_path / "audit.jsonl")] == ["accepted", "refused"]
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_flood_of_forged_calls_fills_no_disk(tmp_path):
    audit = AuditFile(tmp_path / "audit.jsonl")
    for _ in range(5000):
        audit(REFUSED)
    assert len(lines(tmp_path / "audit.jsonl")) == MOST_REFUSED


def test_a_full_file_is_set_aside_once(tmp_path):
    audit = AuditFile(tmp_path / "audit.jsonl", most=1000)
    for _ in range(100):
        audit(ACCEPTED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_lines_of_calls_at_once_stay_whole(tmp_path):
    audit = AuditFile(tmp_path / "audit.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: audit(ACCEPTED), range(400)))
    assert lines(tmp_path / "audit.jsonl") == [dict(ACCEPTED.to_json())] * 400
