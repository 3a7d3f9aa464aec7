"""The audit on AWS: lines of a log that CloudWatch reads as a metric."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chalicelib.adapters.audit_log import METRIC, AuditLog
from chalicelib.domain.hook_audit import MOST_REFUSED, AuditLine, Outcome
from chalicelib.telemetry import NAMESPACE
from tests.aws.translated import parsed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = AuditLine(NOW, "ci", Outcome.REFUSED, "bad signature")


def logged(*lines):
    shown: list[str] = []
    audit = AuditLog(NAMESPACE, "md-abc", shown.append)
    for line in lines:
        audit(line)
    return [json.loads(text) for text in shown]


def test_a_refused_call_is_a_line_and_one_of_a_metric():
    assert logged(REFUSED) == [
        {
            "audit": {"at": NOW.isoformat(), "hook": "ci", "outcome": "refused", "why": "bad signature"},
            "_aws": {
                "Timestamp": int(NOW.timestamp() * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [["stack"]], "Metrics": [{"Name": METRIC, "Unit": "Count"}]}
                ],
            },
            "stack": "md-abc",
            METRIC: 1,
        }
    ]


def test_what_was_not_refused_is_a_line_only():
    assert logged(replace(REFUSED, outcome=Outcome.ACCEPTED, why="")) == [
        {"audit": {"at": NOW.isoformat(), "hook": "ci", "outcome": "accepted"}}
    ]


def test_the_metric_counts_refused_calls_that_have_no_line():
    lines = logged(*[REFUSED] * 500, replace(REFUSED, at=NOW + timedelta(minutes=1)))
    assert len(lines) == MOST_REFUSED + 1
    assert sum(line[METRIC] for line in lines) == 501


def test_the_alarm_is_on_that_metric_of_its_stack():
    alarm = parsed()["Resources"]["HookCallsAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, METRIC)
    assert alarm["Threshold"] < MOST_REFUSED
    assert alarm["Dimensions"] == [{"Name": "stack", "Value": {"Ref": "Bus"}}]
