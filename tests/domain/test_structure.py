"""What answers are built of, as a line; and when a canary's are built unlike stable's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.judge import judge
from chalicelib.domain.marks import LONGEST as LONGEST_NAME
from chalicelib.domain.marks import MOST, kept_name
from chalicelib.domain.rollout import Outcome, Thresholds
from chalicelib.domain.structure import LARGEST, LONGEST, changed, marks_of, structure_of
from chalicelib.domain.traffic import Traffic

JSON = "application/json"


@pytest.mark.parametrize(
    ("answer", "structure"),
    [
        ({"predictions": [0.5]}, "{predictions: n * number}"),
        ({"predictions": [1, 2.5, None]}, "{predictions: n * number}"),
        ({"predictions": [[0.1, 0.9], [1, 0]]}, "{predictions: n * [2 * number]}"),
        ({"predictions": [[1], [1, 2]]}, "{predictions: n * [1 * number] | [2 * number]}"),
        ({"predictions": []}, "{predictions: n * nothing}"),
        ({"predictions": [{"b": "x", "a": True}]}, "{predictions: n * {a: boolean, b: text}}"),
        ({"model": "m", "predictions": ["cat"]}, "{model: text, predictions: n * text}"),
        ([[1, 2], [3, 4]], "n * [2 * number]"),
        ({"boxes": [[1, 2]]}, "{boxes: [1 * [2 * number]]}"),
        (
            {"outputs": [{"name": "p", "datatype": "FP32", "shape": [4, 10], "data": [0] * 40}]},
            "{outputs: {p: FP32 n * 10}}",
        ),
        ("cat", "text"),
        (None, "number"),
    ],
)
def test_a_structure_names_types_members_and_lengths_but_not_that_of_the_batch(answer, structure):
    assert structure_of(answer) == structure


documents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=30,
)


@given(documents)
def test_any_answer_has_a_structure_of_bounded_length(document):
    assert len(structure_of(document)) <= LONGEST


@given(st.lists(st.floats(), min_size=1, max_size=5), st.integers(1, 20))
def test_a_larger_batch_is_built_alike(row, batch):
    assert structure_of({"predictions": [row] * batch}) == structure_of({"predictions": [row]})


def test_long_structures_that_differ_late_still_differ():
    wide = {f"feature_{n}": 1 for n in range(50)}
    assert structure_of(wide) != structure_of(wide | {"feature_49": "x"})


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (500, JSON, b"{}"),
        (200, "image/png", b"{}"),
        (200, "", b"{}"),
        (200, JSON, b"{"),
        (200, JSON, b"[" * 5000),
        (200, JSON, b" " * (LARGEST + 1)),
    ],
)
def test_errors_and_what_is_large_or_no_json_are_not_looked_at(status, content_type, body):
    assert marks_of(status, content_type, body) == []


def seen(answered, **structures):
    """Return traffic whose sampled answers had these structures."""
    return Traffic(answered, marks={f"structure {name}": count for name, count in structures.items()})


@pytest.mark.parametrize(
    ("canary", "stable", "outcome"),
    [
        (seen(60, three=30), seen(900, ten=60), Outcome.FAIL),
        (seen(60, ten=20, three=6), seen(900, ten=200), Outcome.FAIL),  # now and then, but never of stable's
        (seen(60, ten=30), seen(900, ten=60), Outcome.PASS),
        (seen(60, ten=30), seen(900, ten=60, other=30), Outcome.PASS),
        (seen(60, ten=28, rare=2), seen(900, ten=60), Outcome.PASS),
        (seen(60), seen(900, ten=60), Outcome.PASS),  # nothing was sampled: nothing is said
        (seen(60, three=30), seen(900), Outcome.PASS),
        (seen(60, three=30), seen(900, ten=19), Outcome.PASS),  # too few of stable's to know how it answers
        (seen(60, ten=27, three=3), seen(900, ten=30), Outcome.INCONCLUSIVE),
        (  # stable's lists have any length: so have the canary's
            seen(60, **{f"boxes{n}": 1 for n in range(30)}),
            seen(900, **{f"boxes{100 + n}": 1 for n in range(60)}),
            Outcome.PASS,
        ),
    ],
)
def test_a_canary_fails_when_its_answers_are_built_as_stables_never_are(canary, stable, outcome):
    assert judge(canary, stable, Thresholds()).outcome is outcome


def test_the_reason_names_both_structures():
    said = judge(seen(60, three=30), seen(900, ten=60), Thresholds()).reason
    assert said == "canary 30 new structures of answers in 30 requests, stable 0 in 60: three instead of ten"


def test_a_version_may_say_that_it_answers_in_another_form():
    verdict = judge(seen(60, three=30), seen(900, ten=60), Thresholds(max_structure_share=1))
    assert verdict.outcome is Outcome.PASS


@given(st.lists(st.sampled_from("abcd"), min_size=20, max_size=200), st.data())
def test_what_stable_showed_itself_is_never_held_against_a_canary(shown, data):
    stable = {name: shown.count(name) for name in set(shown)}
    answers = data.draw(st.lists(st.sampled_from(sorted(stable)), min_size=1, max_size=200))
    canary = {name: answers.count(name) for name in set(answers)}
    assert changed(canary, stable, 0) == ""
    assert judge(seen(200, **canary), seen(200, **stable), Thresholds()).outcome is Outcome.PASS


def test_the_answers_to_the_same_requests_prove_a_change_from_about_eight_on():
    counts = [n for n in range(1, 30) if changed({"new": n}, {"old": n}, 0)]
    assert counts == list(range(counts[0], 30))
    assert 3 <= counts[0] <= 10


def test_names_of_marks_are_bounded_in_length_and_number():
    known = {f"structure {n}" for n in range(MOST)}
    assert kept_name("structure 1", known) == "structure 1"
    assert kept_name("structure new", known) == "structure other"
    assert kept_name("output " + "x" * LONGEST_NAME, set()) == "output other"


def test_marks_of_two_windows_sum_up():
    both = seen(1, a=1, b=2) + seen(2, b=3)
    assert both.marks == {"structure a": 1, "structure b": 5}


def test_a_structure_is_read_from_the_bytes_of_an_answer():
    body = json.dumps({"predictions": [[1, 2]]}).encode()
    assert marks_of(200, f"{JSON}; charset=utf-8", body) == ["structure {predictions: n * [2 * number]}"]
