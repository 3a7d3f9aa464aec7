"""What a line of golden.jsonl may say, and what is said of one that may not."""

import json

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.domain.golden import LARGEST, MOST_LINES, Line, Metric, parse_golden


def parsed(*lines):
    return parse_golden(b"\n".join(json.dumps(line).encode() for line in lines))


def one(body):
    return {"number": 1, "body": {"instances": body}, "is_instances": True, "is_one": True}


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ([1, 2], Line(**one([[1, 2]]))),
        ({"x": 1}, Line(**one([{"x": 1}]))),
        ({"metric": 3}, Line(**one([{"metric": 3}]))),  # a feature of that name
        ({"instance": [1, 2]}, Line(**one([[1, 2]]))),
        ({"instance": 1, "expected": 0.5}, Line(**one([1]), expected=0.5)),
        ({"instance": 1, "expected": 0.5, "tolerance": 0.1}, Line(**one([1]), expected=0.5, tolerance=0.1)),
        ({"instance": 1, "class": 0, "top_k": 3}, Line(**one([1]), label=0, top_k=3)),
        (
            {"instances": [1, 2], "expected": [3, 4]},
            Line(1, {"instances": [1, 2]}, is_instances=True, is_one=False, expected=[3, 4]),
        ),
        (
            {"instances": [1], "parameters": {"t": 1}, "class": [4]},
            Line(1, {"instances": [1], "parameters": {"t": 1}}, is_instances=True, is_one=False, label=[4]),
        ),
        ({"request": {"text": "x"}, "expected": "y"}, Line(1, {"text": "x"}, False, False, expected="y")),
    ],
)
def test_a_line_is_an_instance_or_a_whole_request_and_what_its_answer_must_be(line, means):
    assert parsed(line).lines == (means,)


def test_a_metric_is_over_all_lines_and_asks_nothing_itself():
    golden = parsed({"metric": {"name": "accuracy", "at_least": 0.9}}, {"instance": 1, "class": 2})
    assert golden.metrics == (Metric("accuracy", 0.9),)
    assert [line.number for line in golden.lines] == [2]


def test_empty_lines_and_requests_that_only_warm_up_are_left_out():
    v2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    assert parse_golden(b"\n" + json.dumps(v2).encode() + b"\r\n\n").lines == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2: it is no JSON"),
        (b"\xff", "line 2: it is no JSON"),
        (b'{"instance": NaN}', "line 2: it is no JSON: NaN is no JSON number"),
        (b'{"instance": 1, "instances": [1]}', "line 2: it has instance and instances; say one of them"),
        (b'{"instance": 1, "expect": 2}', "'expect' is unknown; allowed are class, expected, tolerance, top_k beside"),
        (b'{"instances": [1], "expect": [2]}', "'expect' is unknown; allowed are class, expected, parameters,"),
        (b'{"instance": 1, "expected": 1, "class": 1}', "it has `expected` and `class`; say one of them"),
        (b'{"instance": 1, "expected": null}', "null is no answer to expect"),
        (b'{"instance": 1, "tolerance": 1}', "`tolerance` is a number from 0 on, beside `expected`"),
        (b'{"instance": 1, "expected": 1, "tolerance": -1}', "`tolerance` is a number from 0 on"),
        (b'{"instance": 1, "class": 1, "top_k": 0}', "`top_k` is a whole number from 1 on, beside `class`"),
        (b'{"instance": 1, "expected": 1, "top_k": 2}', "`top_k` is a whole number from 1 on, beside `class`"),
        (b'{"instances": []}', "`instances` must be a list of at least one"),
        (b'{"instances": [1, 2], "expected": [1]}', "`expected` must be a list of 2, one for each instance"),
        (b'{"instances": [1, 2], "class": 1}', "`class` must be a list of 2, one for each instance"),
        (b'{"x": 1, "expected": 2}', "put the request under `instance`, `instances` or `request`"),
        (b'{"inputs": [], "expected": 2}', "a request of Open Inference V2 only warms up"),
        (
            b'{"metric": {"name": "auc", "at_least": 1}}',
            "metric.name must be one of accuracy, f1, mae, rmse, not 'auc'",
        ),
        (b'{"metric": {"name": "mae", "at_least": 1}}', 'a metric is {"metric": {"name": "mae", "at_most": NUMBER}}'),
        (
            b'{"metric": {"name": "f1", "at_least": "high"}}',
            'a metric is {"metric": {"name": "f1", "at_least": NUMBER}}',
        ),
    ],
)
def test_a_wrong_line_is_rejected_with_its_number_and_what_to_do(line, said):
    with pytest.raises(Rejected) as refused:
        parse_golden(b"[1]\n" + line)
    assert str(refused.value).startswith("golden.jsonl: line 2: ")
    assert said in str(refused.value)
    assert refused.value.code == "bad_golden"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b" " * (LARGEST + 1), f"it has {LARGEST + 1} bytes, more than {LARGEST}"),
        (b"1\n" * (MOST_LINES + 1), f"it has {MOST_LINES + 1} requests, more than {MOST_LINES}"),
        (b'1\n{"metric": {"name": "f1", "at_least": 1}}', "it wants f1, and no line says `expected` or `class`"),
    ],
    ids=["bytes", "lines", "metric"],
)
def test_a_file_that_can_not_be_asked_is_rejected_as_a_whole(body, said):
    with pytest.raises(Rejected, match=r"golden\.jsonl") as refused:
        parse_golden(body)
    assert said in str(refused.value)
