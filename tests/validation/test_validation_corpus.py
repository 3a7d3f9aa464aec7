"""Each artifact of the corpus gets its verdict and its codes, and each rule is the only one to refuse some artifact."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.domain.findings import Severity, Verdict
from chalicelib.domain.report_text import as_json, as_text
from tests.validation.cases import CASES, PARTS
from tests.validation.corpus import judged, outcome, without

ROWS = re.findall(
    r"^\| `([a-z_]+)` \| (.*?) \|",
    (Path(__file__).parents[2] / "docs" / "validation.md").read_text().split("## Codes", 1)[1],
    re.MULTILINE,
)
CODES = dict(ROWS)


@pytest.fixture(scope="module")
def reports(built):
    return {name: judged(case, built) for name, case in CASES.items()}


def test_no_case_hides_another_of_its_name():
    assert len(CASES) == sum(len(part.CASES) for part in PARTS)


@pytest.mark.parametrize("name", CASES)
def test_an_artifact_gets_its_verdict_and_its_codes(name, built):
    report = judged(CASES[name], built)
    assert outcome(report) == (CASES[name].verdict, CASES[name].codes), as_text(report)


def test_a_report_is_json_that_reads_back_and_a_text_without_control_characters(reports):
    for report in reports.values():
        document = as_json(report)
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert len(document["findings"]) == len(report.findings)
        assert as_text(report).replace("\n", "").isprintable()


def test_every_finding_says_where_it_is_what_is_wrong_and_what_to_do(reports):
    for finding in (f for report in reports.values() for f in report.findings):
        assert all([finding.code, finding.message, finding.fix]), finding
        assert len(finding.message) < 500, finding


@pytest.mark.parametrize("code", CODES)
def test_every_documented_code_alone_decides_some_artifact(code, reports):
    """Without the findings of one code some artifact would be judged otherwise."""
    alone = [r for r in reports.values() if {f.code for f in r.findings} == {code}]
    assert alone, f"no artifact of the corpus has {code} and nothing else: write one"
    for report in alone:
        assert outcome(without(report, lambda f: f.code == code)) != outcome(report)
    severities = {f.severity for r in alone for f in r.findings}
    assert Severity.ERROR in severities or CODES[code].startswith("warning"), f"{code} never rejects alone"
    assert all(without(r, lambda f: f.code == code).verdict is not Verdict.REJECT for r in alone)
