"""A rate lets through what it says, over any stretch of time, and says when to come again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.rates import Bucket, take

RATES = st.floats(0.1, 1000)
PAUSES = st.lists(st.floats(0, 2), max_size=60)


def allowed(rate, moments):
    """Return the moments at which a request passes."""
    bucket, passed = None, []
    for now in moments:
        taken = take(rate, bucket, now)
        bucket = taken.bucket
        passed += [now] * taken.allowed
    return passed


def moments_of(pauses):
    return [sum(pauses[: i + 1]) for i in range(len(pauses))]


@given(RATES, PAUSES)
def test_no_stretch_of_time_lets_more_through_than_its_seconds_and_one_second_s_worth(rate, pauses):
    passed = allowed(rate, moments_of(pauses))
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= max(1.0, rate) + (end - begin) * rate + 1e-6


@given(RATES, st.integers(1, 20))
def test_who_comes_again_when_told_passes(rate, requests):
    bucket, now = Bucket(0.0, 0.0), 0.0
    for _ in range(requests):
        refused = take(rate, bucket, now)
        assert not refused.allowed
        now += refused.retry_after + 1e-9
        taken = take(rate, refused.bucket, now)
        assert taken.allowed
        bucket = taken.bucket


@pytest.mark.parametrize(
    ("rate", "moments", "passed"),
    [
        (2, [0, 0, 0, 0.25, 0.5, 0.5], [0, 0, 0.5]),
        (0.5, [0, 1, 2, 3.9, 4], [0, 2, 4]),
        (3, [0, 0, 0, 0, 60, 60, 60, 60], [0, 0, 0, 60, 60, 60]),
    ],
)
def test_a_second_s_worth_may_come_at_once_and_then_the_rate_holds(rate, moments, passed):
    assert allowed(rate, moments) == passed


def test_a_clock_that_steps_back_fills_nothing():
    assert not take(1, Bucket(0.0, 10.0), 5.0).allowed
