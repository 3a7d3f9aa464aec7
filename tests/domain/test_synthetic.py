"""What synthetic requests decide, and what is made from a schema."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.carry_out import carry_out
from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.rollout import Extend, Hold, OnInconclusive, Phase, RollBack, Shift, Synthesize
from chalicelib.domain.split import Split
from chalicelib.domain.synthetic import LEAST, MOST, Synthetic, SyntheticUse, answered, from_schema, how_many, one
from chalicelib.domain.traffic import Traffic
from tests.domain.test_decide_table import BAD, GOOD, LAST_EXTENSION, MINUTE, NOW, SILENT, STEP_0

NONE_YET = Synthetic("golden.jsonl")
WELL = Synthetic("golden.jsonl", 60, Traffic(60), Traffic(60), is_done=True)
SICK = replace(WELL, canary=Traffic(60, errors=30))
REFUSED = replace(WELL, canary=Traffic(60, rejected=60), stable=Traffic(60, rejected=60))
SILENT_STEP = "canary has 0 of the 50 requests needed"
SAID = "of 60 synthetic requests to each side (golden.jsonl)"


def tried(synthetic, use=SyntheticUse.FAIL, policy=OnInconclusive.HOLD):
    plan = replace(LAST_EXTENSION.plan, synthetic=use, on_inconclusive=policy)
    return replace(LAST_EXTENSION, synthetic=synthetic, plan=plan)


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        (tried(NONE_YET), SILENT, Synthesize(f"{SILENT_STEP}; synthetic requests are asked")),
        (tried(None), SILENT, Hold(f"inconclusive, waits for a person or for evidence: {SILENT_STEP}")),
        (
            tried(NONE_YET, SyntheticUse.OFF),
            SILENT,
            Hold(f"inconclusive, waits for a person or for evidence: {SILENT_STEP}"),
        ),
        (replace(STEP_0, synthetic=NONE_YET, step_since=NOW - MINUTE), SILENT, Extend(SILENT_STEP)),
        (
            tried(SICK),
            SILENT,
            RollBack(f"{SAID}: canary 30 errors in 60 requests, stable 0 in 60"),
        ),
        (tried(SICK, SyntheticUse.JUDGE), SILENT, RollBack(f"{SAID}: canary 30 errors in 60 requests, stable 0 in 60")),
        (tried(SICK), BAD, RollBack("canary 12 errors in 40 requests, stable 0 in 760")),  # callers' own come first
    ],
)
def test_after_the_extensions_requests_of_ours_are_asked_and_may_end_a_canary(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action


def test_they_never_pass_a_step_by_default_and_the_policy_says_what_they_showed():
    held = decide(tried(WELL), SILENT, NOW)
    assert isinstance(held, Hold)
    assert f"{SILENT_STEP}; {SAID}: canary 0 errors in 60 requests" in held.reason
    ended = decide(tried(WELL, policy=OnInconclusive.ABORT), SILENT, NOW)
    assert isinstance(ended, RollBack)
    assert ended.phase is Phase.ABORTED


def test_where_the_drop_says_so_they_pass_a_step_and_the_reason_says_that_they_did():
    action = decide(tried(WELL, SyntheticUse.JUDGE), SILENT, NOW)
    assert isinstance(action, Shift)
    assert action.reason.startswith(f"{SAID}: canary 0 errors in 60 requests")


def test_what_both_sides_refuse_proves_nothing():
    assert isinstance(decide(tried(REFUSED, SyntheticUse.JUDGE), SILENT, NOW), Hold)


def test_evidence_of_callers_that_comes_after_all_decides_alone():
    assert decide(tried(WELL), GOOD, NOW) == decide(tried(None), GOOD, NOW)


def test_each_step_has_synthetic_requests_of_its_own():
    endpoint = Endpoint("digits", "digits", split=Split.between("v1-a", "v2-b", 5, "r-1"), promoted="v1-a")
    _, _, after = carry_out(Shift(1, "passed"), endpoint, tried(WELL), GOOD, NOW)
    assert after.synthetic == NONE_YET
    _, _, extended = carry_out(Extend("too few"), endpoint, replace(STEP_0, synthetic=NONE_YET), GOOD, NOW)
    assert extended.synthetic == NONE_YET
    assert extended.extensions == 1


def test_each_side_gets_as_many_as_a_step_needs_within_bounds():
    assert [how_many(n) for n in (1, 100, 10_000)] == [LEAST, 100, MOST]


def test_answers_are_summed_side_by_side_until_there_are_enough():
    fine = one(200, 12.0, nonfinite=False, marks={"structure a": 1})
    gone = one(502, 0.0, nonfinite=False, marks={})
    twice = answered(answered(NONE_YET, fine, fine, of=2), gone, fine, of=2)
    assert (twice.asked, twice.is_done) == (2, True)
    assert (twice.canary.requests, twice.canary.errors, twice.stable.errors) == (2, 1, 0)
    assert twice.stable.marks == {"structure a": 2}
    assert twice.canary.timed == 1
    assert twice.anew == NONE_YET


def row(schema):
    return from_schema(schema)[0]["instances"][0]


@pytest.mark.parametrize(
    ("inputs", "fits"),
    [
        ({"x": {"dtype": "float32", "shape": [None, 3]}}, lambda v: len(v) == 3 and all(0 <= n < 1 for n in v)),
        ({"x": {"dtype": "DT_INT64", "shape": [None]}}, lambda v: v in (0, 1)),
        ({"x": {"dtype": "string", "shape": [None, 1]}}, lambda v: isinstance(v[0], str)),
        ({"x": {"dtype": "float32", "shape": None}}, lambda v: isinstance(v, float)),
        ({"x": {"dtype": "float32", "shape": [None, None, 2]}}, lambda v: (len(v), len(v[0])) == (1, 2)),
        (
            {"a": {"dtype": "bool", "shape": [-1, 1]}, "b": {"dtype": "float32", "shape": [-1]}},
            lambda v: v.keys() == {"a", "b"} and isinstance(v["a"][0], bool),
        ),
    ],
)
def test_a_schema_describes_rows_without_the_batch_axis(inputs, fits):
    assert fits(row({"inputs": inputs}))


def test_the_same_requests_are_made_each_time_and_none_without_inputs():
    schema = {"inputs": {"x": {"dtype": "float32", "shape": [None, 4]}}}
    assert from_schema(schema) == from_schema(schema)
    assert len({str(each) for each in from_schema(schema)}) > 10
    assert from_schema({}) == from_schema({"inputs": {}}) == []


def test_time_that_a_step_still_has_is_waited_for_first():
    young = replace(tried(NONE_YET), step_since=NOW - 4 * MINUTE + timedelta(seconds=1))
    assert isinstance(decide(young, SILENT, NOW), Hold)
