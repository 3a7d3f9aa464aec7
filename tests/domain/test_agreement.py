"""When one answer agrees with another: values within a tolerance, and the class that an answer names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.agreement import SAME, Tolerance, difference, label, numbers, top_labels


@pytest.mark.parametrize(
    ("expected", "answer", "tolerance", "said"),
    [
        (1, 1.0, None, ""),
        (0.5, 0.50004, None, ""),  # a ten-thousandth
        (0.5, 0.5006, None, "expected 0.5, got 0.5006 (off by 0.0006, allowed 5e-05)"),
        (0.0, 1e-7, None, ""),
        (0.2, 0.3, 0.1, ""),
        (0.2, 0.31, 0.1, "expected 0.2, got 0.31 (off by 0.11, allowed 0.1)"),
        (3, 3.0000001, 0, "expected 3, got 3 (off by 1e-07, allowed 0)"),
        ("cat", "cat", None, ""),
        ("cat", "dog", 5, "expected 'cat', got 'dog'"),
        (1, True, None, "expected 1, got True"),
        (1, None, None, "expected 1, got None"),
        ([1, 2], [1, 2], None, ""),
        ([1, 2], [1, 3], None, "[1]: expected 2, got 3 (off by 1, allowed 0.0002)"),
        ([1, 2], [1], None, "expected 2 values, got 1"),
        ({"a": [1]}, {"a": [1]}, None, ""),
        ({"a": {"b": [0, 1]}}, {"a": {"b": [0, 9]}}, 1, "a.b[1]: expected 1, got 9 (off by 8, allowed 1)"),
        ({"a": 1}, {}, None, "'a' is missing"),
        ({"a": 1}, {"a": 1, "b": 2}, None, "'b' wasn't expected"),
        ({"a": 1}, [1], None, "expected {'a': 1}, got [1]"),
    ],
)
def test_the_first_difference_is_said_with_its_numbers(expected, answer, tolerance, said):
    given_tolerance = SAME if tolerance is None else Tolerance(absolute=tolerance)
    assert difference(expected, answer, given_tolerance) == said


@pytest.mark.parametrize(
    ("answer", "k", "labels"),
    [
        ([0.1, 0.7, 0.2], 1, ("1",)),
        ([0.1, 0.7, 0.2], 2, ("1", "2")),
        ([0.1, 0.7, 0.2], 9, ("1", "2", "0")),
        ([[0.1, 0.7]], 1, ("1",)),
        ({"tabby": 0.4, "tiger": 0.6}, 1, ("tiger",)),
        ({"scores": [3, 1]}, 1, ("0",)),
        ({"label": "cat", "score": 0.9}, 1, ("cat",)),
        ({"class": 7}, 1, ("7",)),
        ("cat", 1, ("cat",)),
        (7, 1, ("7",)),
        (7.0, 1, ("7",)),
        (True, 1, ("true",)),
        ([0.83], 1, ("1",)),  # the probability of class 1
        (0.2, 1, ("0",)),
        ([0.2], 2, ("0", "1")),
        (2.5, 1, ()),
        (None, 1, ()),
        ([], 1, ()),
        ([0.1, "x"], 1, ()),
        ({"box": [1, 2], "score": 0.5}, 1, ()),
    ],
)
def test_the_likeliest_classes_are_read_from_what_models_answer(answer, k, labels):
    assert top_labels(answer, k) == labels


def test_a_label_is_one_however_it_is_written():
    assert label(7) == label(7.0) == label("7") == "7"


def test_the_numbers_of_an_answer_are_in_order_whatever_holds_them():
    assert numbers({"a": [1, [2.5, "x"]], "b": None, "c": True, "d": 3}) == [1.0, 2.5, 3.0]


documents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_everything_agrees_with_itself_without_any_tolerance(document):
    assert difference(document, document, Tolerance()) == ""


@given(documents, documents)
def test_a_difference_is_told_from_both_sides_or_from_none(one, other):
    assert bool(difference(one, other, Tolerance(absolute=0.1))) == bool(
        difference(other, one, Tolerance(absolute=0.1))
    )


@given(documents, st.integers(1, 5))
def test_of_any_answer_at_most_k_classes_are_named_and_none_twice(document, k):
    found = top_labels(document, k)
    assert len(found) == len(set(found)) <= k
