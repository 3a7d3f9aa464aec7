"""Whether the public path serves what was asked, from who answers known keys."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.proof import Asked, Served, contradiction, is_whole, to_ask
from chalicelib.domain.split import Split, assign, bucket

REGISTERED = {"v2-b": "sha-2"}
STABLE, CANARY = Served("v1-a", "sha-1"), Served("v2-b", "sha-2")
AT_4, AT_6 = Asked("k", 4.9, "v2-b", CANARY), Asked("l", 6.0, "v1-a", STABLE)
weights = st.integers(0, 100)
salts = st.text(max_size=20)


def answered(asked, split):
    """Return who answers where that split is in force."""
    return [replace(each, served=Served(assign(split, bucket(each.key, split.salt)), "")) for each in asked]


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        ([], ""),
        ([AT_4, AT_6], ""),
        ([replace(AT_4, served=None)], ""),  # nobody's silence is no contradiction
        ([AT_6, replace(AT_4, served=STABLE)], "callers at 4.9 % are answered by v1-a, not by v2-b"),
        (
            [replace(AT_4, served=Served("v2-b", "sha-9"))],
            "v2-b answers with digest sha-9, not the registered sha-2",
        ),
        ([replace(AT_4, served=Served("v2-b", ""))], ""),
        ([replace(AT_6, served=Served("v1-a", "sha-9"))], ""),  # whose digest nobody told
    ],
)
def test_a_contradiction_is_told_with_what_was_asked_and_what_was_found(answers, wrong):
    assert contradiction(answers, REGISTERED) == wrong


@pytest.mark.parametrize(
    ("answers", "whole"), [([], True), ([AT_4, AT_6], True), ([AT_6, replace(AT_4, served=None)], False)]
)
def test_a_proof_is_whole_once_every_key_was_answered(answers, whole):
    assert is_whole(answers) is whole


@given(weights, salts)
def test_each_deployment_with_traffic_is_asked_and_what_the_split_says_contradicts_nothing(weight, salt):
    split = Split.between("a", "b", weight, salt)
    asked = to_ask(split)
    assert {each.deployment for each in asked} == {name for name, share in split.weights.items() if share}
    assert contradiction(answered(asked, split), {}) == ""


@given(weights, weights, salts)
def test_a_split_that_is_off_by_a_percent_contradicts(weight, other, salt):
    asked = to_ask(Split.between("a", "b", weight, salt))
    found = contradiction(answered(asked, Split.between("a", "b", other, salt)), {})
    assert bool(found) is (weight != other)


def test_where_nothing_serves_nobody_is_asked():
    assert to_ask(Split()) == []
