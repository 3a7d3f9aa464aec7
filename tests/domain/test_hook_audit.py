"""Every call has a line, but no flood of refused ones fills a disk."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chalicelib.domain.hook_audit import MOST_REFUSED, AuditLine, Outcome, tell

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = AuditLine(NOW, "ci", Outcome.REFUSED, "bad signature")


def told(lines):
    minute, kept = None, []
    for line in lines:
        shown, minute = tell(line, minute)
        kept += [shown] if shown else []
    return kept


def test_a_few_refused_calls_have_a_line_each():
    assert told([REFUSED] * MOST_REFUSED) == [REFUSED] * MOST_REFUSED


def test_a_flood_is_counted_and_told_with_the_next_minutes_first_line():
    later = replace(REFUSED, at=NOW + timedelta(minutes=1))
    lines = told([REFUSED] * 1000 + [later])
    assert len(lines) == MOST_REFUSED + 1
    assert lines[-1] == replace(later, left_out=1000 - MOST_REFUSED)


def test_what_is_proven_has_its_line_also_in_a_flood():
    accepted = AuditLine(NOW, "ci", Outcome.ACCEPTED, call="msg_1")
    repeated = AuditLine(NOW, "ci", Outcome.REPEATED, call="msg_1")
    assert told([REFUSED] * 1000 + [accepted, repeated])[-2:] == [accepted, repeated]


def test_a_clock_that_was_set_back_begins_anew():
    earlier = replace(REFUSED, at=NOW - timedelta(hours=1))
    assert told([REFUSED] * 1000 + [earlier])[-1].left_out == 1000 - MOST_REFUSED


def test_a_name_that_nobody_could_have_given_a_hook_is_not_repeated():
    assert replace(REFUSED, hook="<script>").to_json()["hook"] == "(no name)"
    assert REFUSED.to_json() == {"at": NOW.isoformat(), "hook": "ci", "outcome": "refused", "why": "bad signature"}
