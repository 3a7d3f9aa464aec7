"""What an operator makes of findings: which block, warn or pass, and which always block."""

import re
from dataclasses import replace

import pytest

from chalicelib.domain.codes import CODES
from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import ArtifactFormat, Finding, PolicyChange, Report, Severity, Verdict
from chalicelib.domain.formats import DEFAULTS, judge_upload
from chalicelib.domain.policy import ALWAYS_BLOCK, NO_POLICY, Action, Policy, apply
from chalicelib.domain.report_text import as_json, as_text, summary
from tests.domain.test_upload_codes import DOMAIN, ROOT, made
from tests.domain.uploads import Memory, codes, mar, upload_of

ERROR = Finding("bad_handler", "model.mar", "two classes", "have one")
WARNING = Finding("pickle_beside", "m.pkl", "a pickle", "save weights", Severity.WARNING)
REPORT = Report("digits/1/", Verdict.REJECT, ArtifactFormat.TORCH_ARCHIVE, (ERROR, WARNING))


def policy(**actions):
    return Policy({code: Action(action) for code, action in actions.items()})


@pytest.mark.parametrize(
    ("actions", "verdict", "severities"),
    [
        ({}, Verdict.REJECT, {"bad_handler": "error", "pickle_beside": "warning"}),
        (
            {"bad_handler": "block", "pickle_beside": "warn"},
            Verdict.REJECT,
            {"bad_handler": "error", "pickle_beside": "warning"},
        ),
        ({"bad_handler": "warn"}, Verdict.ACCEPT, {"bad_handler": "warning", "pickle_beside": "warning"}),
        ({"bad_handler": "allow"}, Verdict.ACCEPT, {"pickle_beside": "warning"}),
        (
            {"bad_handler": "warn", "pickle_beside": "block"},
            Verdict.REJECT,
            {"bad_handler": "warning", "pickle_beside": "error"},
        ),
        ({"bad_handler": "allow", "pickle_beside": "allow"}, Verdict.ACCEPT, {}),
    ],
)
def test_a_policy_decides_what_each_finding_counts_as_and_the_verdict_follows(actions, verdict, severities):
    judged = apply(policy(**actions), REPORT)
    assert judged.verdict is verdict
    assert {f.code: f.severity for f in judged.findings} == severities


def test_what_is_missing_is_awaited_whatever_the_policy_allows():
    judged = apply(policy(bad_handler="allow"), replace(REPORT, missing=("a.pt",)))
    assert judged.verdict is Verdict.INCOMPLETE


def test_the_report_says_which_findings_were_changed_from_what():
    judged = apply(policy(bad_handler="allow", pickle_beside="block"), REPORT)
    assert judged.policy == (
        PolicyChange("bad_handler", "model.mar", "two classes", Severity.ERROR, "allow"),
        PolicyChange("pickle_beside", "m.pkl", "a pickle", Severity.WARNING, "block"),
    )
    assert as_json(judged)["policy"][0] == {
        "code": "bad_handler",
        "where": "model.mar",
        "message": "two classes",
        "was": "error",
        "now": "allow",
    }
    assert "policy [bad_handler]: error made nothing by the operator: two classes" in as_text(judged)
    assert apply(policy(bad_handler="block"), REPORT).policy == ()
    assert apply(NO_POLICY, REPORT) == REPORT


@pytest.mark.parametrize("code", sorted(ALWAYS_BLOCK))
@pytest.mark.parametrize("action", ["warn", "allow"])
def test_what_has_no_one_reading_can_not_be_let_pass(code, action):
    with pytest.raises(Rejected, match=code):
        policy(**{code: action})
    assert policy(**{code: "block"}).tolerated == frozenset()


def test_every_rule_of_names_zips_and_of_files_that_are_something_else_always_blocks():
    readings = ("layout", "loose", "impostors", "zipdir", "zipwalk", "manifest")
    given = {code for name in readings for code in made((DOMAIN / f"{name}.py").read_text())}
    assert given <= ALWAYS_BLOCK <= CODES


def test_every_code_that_always_blocks_is_documented_as_such():
    page = (ROOT / "docs" / "validation.md").read_text()
    listed = page.split("always block", 1)[1].split("\n\n", 2)[1]
    assert set(re.findall(r"`([a-z_]+)`", listed)) == ALWAYS_BLOCK


TWO_CLASSES = b"class A:\n    def handle(self, d, c): ...\nclass B(A): ...\n"


def judged(body, rules):
    files = {"model.mar": body}
    return judge_upload(upload_of(files), Memory(files), DEFAULTS, rules)


def test_behind_a_finding_that_passes_the_rest_is_still_read():
    lenient = policy(bad_handler="warn")
    good = mar(TWO_CLASSES, extra={"data.bin": b"weights" * 100})
    assert judged(good, NO_POLICY).verdict is Verdict.REJECT
    assert judged(good, lenient).verdict is Verdict.ACCEPT
    at = good.index(b"data.bin") + len("data.bin") + 5
    damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    assert judged(damaged, lenient).verdict is Verdict.REJECT
    assert set(codes(judged(damaged, lenient))) - {"bad_handler"} <= ALWAYS_BLOCK


def test_an_events_summary_is_small_whatever_was_found():
    many = tuple(Finding(f"code_{n}", "w", "m" * 400, "f") for n in range(1000))
    said = summary(replace(REPORT, findings=many))
    assert (said["errors"], said["warnings"], said["verdict"], said["format"]) == (1000, 0, "reject", "torch_archive")
    assert len(str(said)) < 1000
