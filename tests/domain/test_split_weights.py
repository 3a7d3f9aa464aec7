"""Who answers a request: exact shares, sticky keys, back at once."""

from collections import Counter
from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chalicelib.domain.errors import Rejected
from chalicelib.domain.split import Split, assign, bucket, choose, rearranged

weights = st.integers(0, 100)
positions = st.floats(0, 100, exclude_max=True)
keys = st.text(max_size=40)


def at(weight: int) -> Split:
    return Split.between("stable", "canary", weight, "r-1")


@pytest.mark.parametrize("given_weights", [{"a": 99}, {"a": 60, "b": 50}, {"a": 120, "b": -20}, {"a": 0}])
def test_weights_that_do_not_sum_to_100_are_refused(given_weights):
    with pytest.raises(Rejected, match="don't sum to 100"):
        Split(given_weights)


@given(weights)
def test_what_stable_and_canary_get_sums_to_100(weight):
    assert sum(at(weight).weights.values()) == 100


@given(keys, st.lists(weights, min_size=2, unique=True).map(sorted))
def test_a_key_stays_with_the_canary_while_its_weight_grows(key, growing):
    sides = [assign(at(weight), bucket(key, "r-1")) for weight in growing]
    assert ("canary", "stable") not in pairwise(sides)


@given(keys)
def test_every_key_is_back_on_stable_when_the_weight_falls_to_0(key):
    assert assign(at(0), bucket(key, "r-1")) == "stable"


@given(positions)
def test_the_canary_answers_everything_at_100(position):
    assert assign(at(100), position) == "canary"


@given(positions, weights)
def test_a_position_below_the_weight_is_the_canarys(position, weight):
    assert assign(at(weight), position) == ("canary" if position < weight else "stable")


@given(positions, st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_deployment_without_weight_never_answers(position, parts):
    shares = {f"d{n}": part for n, part in enumerate(parts)} | {"rest": 100 - sum(parts)}
    assert shares[assign(Split(shares), position)] > 0


@pytest.mark.parametrize("weight", [1, 5, 25, 50, 99])
def test_shares_of_many_keys_are_the_weights_within_chance(weight):
    many = 20_000
    canary = sum(assign(at(weight), bucket(f"user-{n}", "r-1")) == "canary" for n in range(many))
    p = weight / 100
    assert abs(canary - many * p) < 4.5 * sqrt(many * p * (1 - p))


def test_another_rollout_draws_other_keys():
    first = {n for n in range(1000) if bucket(f"user-{n}", "r-1") < 10}
    second = {n for n in range(1000) if bucket(f"user-{n}", "r-2") < 10}
    assert len(first & second) < len(first) / 2


# --- between any number of versions ------------------------------------------------------------------------------
@st.composite
def shares(draw, names=("a", "b", "c", "d", "e")):
    """Draw whole percents of some of the names that sum to 100."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    edges = sorted(draw(st.lists(weights, min_size=len(chosen) - 1, max_size=len(chosen) - 1)))
    return {name: end - begin for name, (begin, end) in zip(chosen, pairwise([0, *edges, 100]), strict=True)}


histories = st.lists(shares(), min_size=1, max_size=6)


def after_all(history):
    split = Split({"a": 100}, "r-1")
    for each in history:
        split = rearranged(split, each, "new")
    return split


@given(histories)
def test_every_version_has_exactly_the_percents_that_were_asked_for(history):
    split = after_all(history)
    assert split.weights == history[-1]
    owners = Counter(assign(split, percent + 0.5) for percent in range(100))
    assert owners == {name: weight for name, weight in history[-1].items() if weight}


@given(histories, shares(), positions)
def test_a_key_moves_only_from_a_version_that_has_less_to_one_that_has_more(history, then, position):
    before = after_all(history)
    after = rearranged(before, then, "new")
    was, is_ = assign(before, position), assign(after, position)
    if was != is_:
        assert after.weights.get(was, 0) < before.weights[was]
        assert before.weights.get(is_, 0) < after.weights[is_]


@given(histories, shares())
def test_no_more_keys_move_than_have_to(history, then):
    before = after_all(history)
    after = rearranged(before, then, "new")
    moved = sum(assign(before, at + 0.5) != assign(after, at + 0.5) for at in range(100))
    assert moved == sum(max(0, weight - then.get(name, 0)) for name, weight in before.weights.items())


@given(histories, shares())
def test_keys_keep_their_places_while_more_than_one_version_has_some(history, then):
    before = after_all(history)
    several = sum(weight > 0 for weight in before.weights.values()) > 1
    assert rearranged(before, then, "drawn").salt == (before.salt if several else "drawn")


@pytest.mark.parametrize("ranges", [(("a", 60), ("b", 39)), (("a", 100),), (("a", 60), ("c", 40))])
def test_ranges_that_are_not_the_weights_are_refused(ranges):
    with pytest.raises(Rejected, match="aren't the weights"):
        Split({"a": 60, "b": 40}, "s", ranges)


def test_a_split_between_three_that_is_stored_is_read_as_it_was():
    split = rearranged(rearranged(Split(), {"a": 50, "b": 30, "c": 20}, "s"), {"a": 40, "b": 40, "c": 20}, "s")
    assert split.ranges == (("a", 40), ("b", 40), ("c", 20))
    assert TypeAdapter(Split).validate_python(TypeAdapter(Split).dump_python(split, mode="json")) == split


def test_a_split_without_deployments_names_nobody():
    assert assign(Split(), 3.0) == ""


def test_stable_stands_in_for_a_canary_only():
    choices = {choose(at(50), str(n), 0.0) for n in range(100)}
    assert choices == {("stable", ""), ("canary", "stable")}
    assert choose(Split({"only": 100}), "", 0.5) == ("only", "")


@given(weights, st.floats(0, 1, exclude_max=True))
def test_without_a_key_chance_decides_and_with_one_it_does_not(weight, chance):
    assert choose(at(weight), "", chance)[0] == ("canary" if chance * 100 < weight else "stable")
    assert choose(at(weight), "somebody", chance) == choose(at(weight), "somebody", 0.0)
