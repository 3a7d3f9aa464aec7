"""How a shadow's answer is compared with what the caller got, and what the judge makes of many."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.invocation import Reply
from chalicelib.domain.judge import judge
from chalicelib.domain.rollout import Outcome, Thresholds
from chalicelib.domain.shadow import AGREED, COMPARED, Agree, Shadow, compare
from chalicelib.domain.shift import outputs, psi
from chalicelib.domain.traffic import Traffic

JSON = "application/json"


def reply(*predictions, status=200):
    return Reply(status, json.dumps({"predictions": predictions}).encode(), JSON, {})


@pytest.mark.parametrize(
    ("how", "live", "shadow", "said"),
    [
        ({}, reply(0.5), reply(0.5), ""),
        ({}, reply(100.0), reply(100.9), ""),  # 1 %
        ({}, reply(100.0), reply(101.1), "expected 100, got 101.1 (off by 1.1, allowed 1)"),
        ({"tolerance": 2}, reply(100.0), reply(101.1), ""),
        ({}, reply([0.1, 0.9]), reply([0.4, 0.6]), ""),  # probabilities: the same class
        ({}, reply([0.1, 0.9]), reply([0.6, 0.4]), "expected class 1, got 0"),
        (
            {},
            reply([1.0, 9.0]),
            reply([6.0, 4.0]),
            "[0]: expected 1, got 6 (off by 5, allowed 0.01)",
        ),  # no probabilities
        ({"agree": Agree.CLASS}, reply([1.0, 9.0]), reply([4.0, 6.0]), ""),
        ({"agree": Agree.CLASS, "top_k": 2}, reply([1, 9, 2]), reply([6, 5, 1]), ""),
        ({"agree": Agree.VALUES}, reply([0.1, 0.9]), reply([0.4, 0.6]), "[0]: expected 0.1, got 0.4 (off by 0.3"),
        ({}, reply("cat"), reply("dog"), "expected class cat, got dog"),
        ({}, reply({"label": "cat", "score": 0.9}), reply({"label": "cat", "score": 0.2}), ""),
        ({}, reply(7), reply(7.0), ""),
        ({}, reply("a", "b"), reply("a"), "expected class 2 predictions, got 1 predictions"),
        ({}, Reply(200, b"png", "image/png", {}), Reply(200, b"png", "image/png", {}), ""),
        ({}, Reply(200, b"png", "image/png", {}), Reply(200, b"jpg", "image/png", {}), "expected class png, got jpg"),
        (
            {},
            Reply(200, b'{"a": 1.0}', JSON, {}),
            Reply(200, b'{"a": 2.0}', JSON, {}),
            "a: expected 1, got 2 (off by 1",
        ),
    ],
)
def test_two_answers_agree_by_class_or_by_values(how, live, shadow, said):
    found = compare(Shadow(**how), live, shadow)
    assert found.disagreement.startswith(said) if said else not found.disagreement
    assert found.marks.count(COMPARED) - found.marks.count(AGREED) == bool(said)


def test_nothing_is_compared_unless_both_answered():
    for live, shadow in ((reply(1, status=503), reply(1)), (reply(1), reply(1, status=500))):
        assert COMPARED not in compare(Shadow(), live, shadow).marks


def test_each_prediction_of_a_batch_is_compared_but_no_endless_batch():
    found = compare(Shadow(), reply(*range(100)), reply(*range(100)))
    assert (found.marks.count(COMPARED), found.marks.count(AGREED)) == (32, 32)


def test_what_both_answered_is_counted_for_their_distributions():
    marks = compare(Shadow(), reply("cat"), reply("dog")).marks
    assert {"was class cat", "is class dog", "structure {predictions: n * text}"} <= set(marks)


# --- what the judge makes of it ----------------------------------------------------------------------------------
GOOD = Traffic(200)


def shadowed(compared, agreed, **marks):
    return replace(GOOD, marks={COMPARED: compared, AGREED: agreed, **marks})


@pytest.mark.parametrize(
    ("canary", "outcome", "said"),
    [
        (shadowed(200, 200), Outcome.PASS, "200 of 200 predictions agree, 90.0% wanted"),
        (shadowed(200, 185), Outcome.PASS, "185 of 200 predictions agree"),
        (shadowed(200, 140), Outcome.FAIL, "140 of 200 predictions agree, 90.0% wanted"),
        (shadowed(12, 0), Outcome.FAIL, "0 of 12 predictions agree"),
        (shadowed(200, 175), Outcome.INCONCLUSIVE, "175 of 200 predictions agree, 90.0% wanted: too few to say"),
        (replace(GOOD), Outcome.PASS, "canary 0 errors"),
    ],
)
def test_a_shadow_fails_once_it_is_proven_that_too_little_agrees(canary, outcome, said):
    verdict = judge(canary, GOOD, Thresholds())
    assert verdict.outcome is outcome
    assert said in verdict.reason


def test_agreement_is_rarely_failed_at_the_threshold_however_often_it_is_looked_at():
    draw = random.Random(7)
    failed = 0
    for _ in range(200):
        agreed = 0
        for compared in range(1, 300):
            agreed += draw.random() < 0.9
            if judge(shadowed(compared, agreed), GOOD, Thresholds()).outcome is Outcome.FAIL:
                failed += 1
                break
    assert failed <= 2


def counted(pairs, kind="values"):
    marks = {}
    for before, after in pairs:
        for mark in outputs(kind, before, after):
            marks[mark] = marks.get(mark, 0) + 1
    return marks


def test_the_same_outputs_have_no_index_and_moved_ones_a_large_one():
    draw = random.Random(1)
    values = [draw.gauss(10, 2) for _ in range(500)]
    same, _, outputs_ = psi(counted((v, v) for v in values))
    assert (round(same, 9), outputs_) == (0.0, 500)
    moved, chance, _ = psi(counted((v, v * 1.5) for v in values))
    assert moved - chance > 0.25


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [
        ([("cat", "cat")] * 60 + [("dog", "dog")] * 40, Outcome.PASS),
        ([("cat", "dog")] * 60 + [("dog", "cat")] * 40, Outcome.PASS),  # as many of each: that is agreement's business
        ([("cat", "dog")] * 60 + [("dog", "dog")] * 140, Outcome.FAIL),
        ([("cat", "dog")] * 20, Outcome.PASS),  # too few to speak of a distribution
    ],
)
def test_a_distribution_is_judged_beyond_what_chance_makes_it(pairs, outcome):
    canary = replace(GOOD, marks=counted(pairs, "class"))
    verdict = judge(canary, GOOD, Thresholds())
    assert verdict.outcome is outcome
    assert outcome is Outcome.PASS or "PSI of" in verdict.reason


def test_two_samples_of_one_distribution_are_hardly_ever_told_apart():
    draw = random.Random(3)
    failed = 0
    for _ in range(300):
        marks = counted((draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(100))
        failed += judge(replace(GOOD, marks=marks), GOOD, Thresholds(max_psi=0)).outcome is Outcome.FAIL
    assert failed <= 3


@given(st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30)), max_size=60))
def test_the_index_is_never_negative_and_counts_every_pair(pairs):
    index, chance, seen = psi(counted(pairs))
    assert index >= -1e-12
    assert chance >= 0
    assert seen == len(pairs)
