"""The operator's limits and policy reach every judgement, from the file that the operator writes; a drop has no say."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Verdict
from chalicelib.domain.formats import DEFAULTS, Limits
from chalicelib.domain.policy import Action, Policy
from chalicelib.domain.refs import VersionRef
from chalicelib.local.bounds_file import read_operator_file
from chalicelib.local.local_files import audit_path
from chalicelib.operator_settings import OperatorSettings
from chalicelib.pipeline.audit import audit
from chalicelib.pipeline.records import Drop, Records
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle

REF = VersionRef("digits", "v1")
SCORE = b"def load_model(): ...\ndef predict(data): ...\n"
TWO_CLASSES = "class A:\n    def handle(self, d, c): ...\nclass B(A): ...\n"
PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


def ports_with(**rules):
    clock = FakeClock()
    return fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock, **rules)


def dropped(ports, **files):
    for name, body in files.items():
        ports.drop.put(REF.prefix + name.replace("__", "."), body)
    ports.clock.tick(seconds=30)
    settle(REF.prefix, ports)
    return json.loads(ports.drop.get(REF.prefix + "_report.json"))


def told(ports, kind):
    return [t for t in ports.registry.unsent(1000) if t.kind == kind]


def test_what_the_policy_lets_pass_is_registered_and_the_report_says_what_it_was():
    strict, lenient = ports_with(), ports_with(policy=Policy({"bad_handler": Action.WARN}))
    assert dropped(strict, model__mar=small_mar(TWO_CLASSES))["verdict"] == "reject"
    report = dropped(lenient, model__mar=small_mar(TWO_CLASSES))
    assert (report["verdict"], report["findings"][0]["severity"]) == ("accept", "warning")
    assert [(c["code"], c["was"], c["now"]) for c in report["policy"]] == [("bad_handler", "error", "warn")]
    assert Records(lenient.registry).version(REF).value.digest == report["digest"]


def test_what_the_policy_blocks_is_rejected():
    ports = ports_with(policy=Policy({"no_environment": Action.BLOCK}))
    report = dropped(ports, score__py=SCORE)
    assert (report["verdict"], report["findings"][0]["code"]) == ("reject", "no_environment")
    assert dropped(ports_with(), score__py=SCORE)["verdict"] == "accept"


def test_an_uploader_can_not_set_a_policy():
    ports = ports_with()
    policy = b"validation: {policy: {bad_handler: allow}}"
    report = dropped(ports, model__mar=small_mar(TWO_CLASSES), policy__yaml=policy, bounds__yaml=policy)
    assert report["verdict"] == "reject"
    asked = ports_with()
    report = dropped(asked, model__mar=small_mar(), deploy__yaml=policy)
    assert report["findings"][0]["code"] == "bad_deploy_yaml"


def test_a_limit_that_the_operator_sets_is_held():
    report = dropped(ports_with(limits=Limits(objects=1)), model__mar=small_mar(), README__md=b"")
    assert report["findings"][0]["code"] == "too_many_files"


def test_an_audit_and_a_local_check_judge_by_the_same_rules(tmp_path):
    bucket = FakeBucket()
    for key in ("digits/v1/score.py", "digits/v2/score.py"):
        bucket.put(key, SCORE)
        (tmp_path / key).parent.mkdir(parents=True)
        (tmp_path / key).write_bytes(SCORE)
    rules = {"policy": Policy({"no_environment": Action.BLOCK}), "limits": DEFAULTS}
    assert {r.verdict for r in audit(bucket)} == {r.verdict for r in audit_path(tmp_path)} == {Verdict.ACCEPT}
    assert {r.verdict for r in audit(bucket, **rules)} == {Verdict.REJECT}
    assert {r.verdict for r in audit_path(tmp_path, **rules)} == {Verdict.REJECT}
    assert [r.verdict for r in audit_path(tmp_path / "digits" / "v1", **rules)] == [Verdict.REJECT]


def test_a_rejection_by_a_deploy_yaml_keeps_what_was_read_of_the_artifact():
    report = dropped(ports_with(), score__py=SCORE, deploy__yaml=b"replicas: 99")
    assert [f["code"] for f in report["findings"]] == ["no_environment", "past_bound"]
    assert (report["format"], report["details"]["handler"]) == ("python_predictor", "score.py")


def test_the_events_carry_a_summary_of_the_report():
    rejected, registered = ports_with(), ports_with()
    dropped(rejected, model__mar=b"no zip, and long enough to be read")
    (told_no,) = told(rejected, "drop.rejected")
    assert (told_no.data["errors"], told_no.data["codes"]) == (1, ["bad_zip"])
    dropped(registered, score__py=SCORE)
    (told_yes,) = told(registered, "version.registered")
    assert (told_yes.data["warnings"], told_yes.data["codes"]) == (1, ["no_environment"])
    assert told_yes.data["digest"].startswith("sha256:")


def test_an_event_says_the_first_reasons_and_how_many_more():
    ports = ports_with()
    dropped(ports, **{f"m{n}__onnx": b"x" for n in range(50)})
    (no,) = told(ports, "drop.rejected")
    assert no.message.endswith("; and 45 more")
    assert len(Records(ports.registry).get(Drop, REF.prefix).value.report.findings) == 50


WHOLE = """\
max_replicas: 2
validation:
  limits: {objects: 7, python: '3.11'}
  policy:
    other_python: allow
    pickle_beside: block
"""


def test_an_operators_file_sets_bounds_limits_and_policy(tmp_path):
    (tmp_path / "rules.yaml").write_text(WHOLE)
    said = read_operator_file(tmp_path / "rules.yaml")
    assert said.bounds.max_replicas == 2
    assert said.limits == Limits(objects=7, python="3.11")
    assert dict(said.policy.actions) == {"other_python": Action.ALLOW, "pickle_beside": Action.BLOCK}


def test_what_an_operators_file_does_not_say_has_its_default(tmp_path):
    (tmp_path / "rules.yaml").write_text("")
    assert read_operator_file(tmp_path / "rules.yaml") == OperatorSettings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("validation: [1]", "validation must be a mapping"),
        ("validation: {limit: {}}", "validation.limit must be limits"),
        ("validation: {limits: {object: 7}}", "validation.limits.object must be objects"),
        ("validation: {limits: {tolerated: [a]}}", "validation.limits.tolerated must be one of"),
        ("validation: {limits: {objects: 0}}", "validation.limits.objects must be int above 0"),
        ("validation: {limits: {objects: true}}", "validation.limits.objects must be int above 0"),
        ("validation: {limits: {objects: many}}", "validation.limits.objects must be int above 0"),
        ("validation: {limits: {python: 3.1}}", "validation.limits.python must be a version"),
        (
            "validation: {policy: {bad_handler: ignore}}",
            "validation.policy.bad_handler must be one of block, warn, allow",
        ),
        ("validation: {policy: {bad_handlr: warn}}", "validation.policy.bad_handlr must be bad_handler"),
        ("validation: {policy: {hidden_bytes: allow}}", "hidden_bytes always blocks"),
        ("validaton: {}", "validaton"),
    ],
)
def test_an_operators_file_that_is_wrong_is_refused_and_says_where(tmp_path, text, said):
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(Rejected, match=re.escape(said)) as refused:
        read_operator_file(tmp_path / "rules.yaml")
    assert "rules.yaml" in str(refused.value)


def test_every_limit_is_documented_and_so_is_the_example():
    page = PAGE.read_text()
    listed = re.findall(
        r"^\| `([a-z_]+)` \|", page.split("## Limits and policy", 1)[1].split("\n## ", 1)[0], re.MULTILINE
    )
    assert set(listed) == {f.name for f in fields(Limits)} - {"tolerated", "no_containers"}


def test_the_documented_operators_file_can_be_read(tmp_path):
    example = PAGE.read_text().split("```yaml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "rules.yaml").write_text(example)
    assert read_operator_file(tmp_path / "rules.yaml").limits.objects == 200
