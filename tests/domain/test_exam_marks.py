"""How the answers to golden.jsonl are marked, from literal answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.exam import Exam, ended, marked
from chalicelib.domain.golden import parse_golden
from chalicelib.domain.invocation import Reply


def reply(*predictions, status=200, **attributes):
    return Reply(status, json.dumps({"predictions": predictions}).encode(), "application/json", attributes)


def examined(lines, *replies):
    golden = parse_golden("\n".join(json.dumps(line) for line in lines).encode())
    exam = Exam()
    for line, given_reply in zip(golden.lines, replies, strict=True):
        exam = marked(exam, golden, line, given_reply)
    return ended(exam, golden)


@pytest.mark.parametrize(
    ("line", "answered", "failure"),
    [
        ({"instance": 1, "expected": 2}, reply(2.0), ""),
        ({"instance": 1, "expected": 2}, reply(3), "line 1: expected 2, got 3 (off by 1, allowed 0.0002)"),
        ({"instance": 1, "class": 2}, reply([0, 0.1, 0.9]), ""),
        ({"instance": 1, "class": 2}, reply([0.9, 0.1, 0]), "line 1: expected class 2, got 0"),
        ({"instance": 1, "class": 1, "top_k": 2}, reply([0.9, 0.1, 0]), ""),
        (
            {"instance": 1, "class": 2, "top_k": 2},
            reply([0.9, 0.1, 0]),
            "line 1: expected class 2, the 2 likeliest are 0, 1",
        ),
        ({"instance": 1, "class": 2}, reply(None), "line 1: expected class 2, the answer names no class"),
        ({"instances": [1, 2], "expected": [1, 2]}, reply(1, 2), ""),
        ({"instances": [1, 2], "class": [1, 2]}, reply(1, 3), "line 1: expected class 2, got 3"),
        ({"instances": [1, 2], "class": [1, 2]}, reply(1), "line 1: expected 2 predictions, got 1"),
        ({"instance": 1}, reply("anything"), ""),
        ({"instance": 1}, reply(None, nonfinite="2"), "line 1: 2 numbers of the answer are not finite"),
        ({"instance": 1}, reply(status=500), 'line 1: status 500: {"predictions": []}'),
        ({"instance": 1}, "deployment v2 gave no answer", "line 1: deployment v2 gave no answer"),
        (
            {"instance": 1},
            Reply(200, b"{", "application/json", {}),
            "line 1: the answer says that it is JSON and isn't",
        ),
        ({"instance": 1}, Reply(200, b"{}", "application/json", {}), "line 1: the answer has no list of predictions"),
        ({"request": {"a": 1}, "expected": {"b": 2}}, Reply(200, b'{"b": 2}', "application/json", {}), ""),
        ({"request": "hello", "expected": "hi"}, Reply(200, b"hi", "text/plain", {}), ""),
    ],
)
def test_an_answer_is_what_the_line_expects_or_the_failure_says_how_it_is_not(line, answered, failure):
    exam = examined([line], answered)
    assert exam.failure == (f"1 of 1 lines missed; {failure}" if failure else "")
    assert exam.is_done


def test_of_many_misses_all_are_counted_and_the_first_five_are_told():
    exam = examined([{"instance": n, "expected": 1} for n in range(20)], *[reply(2)] * 18, reply(1), reply(1))
    assert exam.failure.startswith("18 of 20 lines missed; line 1: ")
    assert len(exam.misses) == 5


def metric(name, bound, limit):
    return {"metric": {"name": name, bound: limit}}


def classes(*labels):
    return [{"instance": 0, "class": label} for label in labels]


@pytest.mark.parametrize(
    ("lines", "replies", "result", "failed"),
    [
        (
            [metric("accuracy", "at_least", 0.75), *classes("a", "a", "b", "b")],
            [reply("a"), reply("a"), reply("b"), reply("a")],
            "accuracy 0.75, at least 0.75 wanted; 4 lines answered",
            False,
        ),
        (
            [metric("accuracy", "at_least", 0.9), *classes("a", "a", "b", "b")],
            [reply("a"), reply("a"), reply("b"), reply("a")],
            "accuracy 0.75, at least 0.9 wanted; 4 lines answered",
            True,
        ),
        (
            [metric("f1", "at_least", 0.9), *classes("a", "a", "b", "b")],
            [reply("a"), reply("a"), reply("b"), reply("a")],  # a: 4/5, b: 2/3
            "f1 0.7333, at least 0.9 wanted; 4 lines answered",
            True,
        ),
        (
            [metric("mae", "at_most", 1), metric("rmse", "at_most", 1), {"instances": [0, 0], "expected": [1, 5]}],
            [reply(1, 7)],
            "mae 1, at most 1 wanted; rmse 1.414, at most 1 wanted; 1 lines answered",
            True,
        ),
    ],
)
def test_a_metric_is_held_against_its_threshold_and_single_lines_are_not(lines, replies, result, failed):
    exam = examined(lines, *replies)
    assert exam.result == result
    assert bool(exam.failure) == failed
    assert exam.missed == 0


def test_under_a_metric_a_line_without_an_answer_still_fails():
    lines = [metric("accuracy", "at_least", 0), *classes("a", "a")]
    assert examined(lines, reply("a"), "it hung").failure == "1 of 2 lines missed; line 3: it hung"


def test_a_number_of_values_that_was_not_expected_is_no_small_error():
    lines = [metric("mae", "at_most", 9), {"instance": 0, "expected": [1, 2]}]
    assert "another number of values" in examined(lines, reply([1])).failure


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_accuracy_and_f1_are_shares_and_both_are_whole_only_when_every_answer_is_right(pairs):
    lines = [metric("f1", "at_least", 0), metric("accuracy", "at_least", 0), *classes(*(w for w, _ in pairs))]
    exam = examined(lines, *(reply(g) for _, g in pairs))
    everything = all(wanted == answer for wanted, answer in pairs)
    assert all(0 <= value <= 1 for value in exam.metrics.values())
    assert {value == 1 for value in exam.metrics.values()} == {everything}
