"""What a rollout's steps need is said before they begin."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.deployment import Deployment, Resources
from chalicelib.domain.judge import LEAST_STABLE
from chalicelib.domain.needs import Need, in_minutes, needs, needs_in_words
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Plan, Rollout
from chalicelib.domain.traffic import rate_of_late

CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources())
LATER = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", Plan(), opened=datetime(2026, 1, 1, tzinfo=UTC))
FIRST = replace(LATER, stable="")
SECONDS = timedelta(seconds=1)


def planned(*steps) -> Rollout:
    return replace(LATER, plan=Plan(steps=steps))


@pytest.mark.parametrize(
    ("rollout", "rate", "needed"),
    [
        (planned(5, 100), 10.0, (Need(5, 50, 1000, 100 * SECONDS),)),
        (planned(50, 100), 1.0, (Need(50, 50, 100, 100 * SECONDS),)),
        (planned(50, 100), 100.0, (Need(50, 50, 100, 60 * SECONDS),)),  # the step's own time
        (planned(99, 100), 10.0, (Need(99, 50, 2000, 200 * SECONDS),)),  # stable needs its 20 too
        (planned(25, 100), 0.0, (Need(25, 50, 200, None),)),
        (planned(25, 100), None, (Need(25, 50, 200, None),)),
        (replace(LATER, step=2), None, (Need(50, 50, 100, None),)),  # what is behind isn't needed any more
        (FIRST, 10.0, ()),
    ],
)
def test_what_each_step_needs_follows_from_the_plan_and_the_rate(rollout, rate, needed):
    assert needs(rollout, rate) == needed


@pytest.mark.parametrize(
    ("rollout", "rate", "words"),
    [
        (
            LATER,
            10.0,
            "1000 at 5 %, 200 at 25 %, 100 at 50 % of the endpoint's requests: 100 s, 60 s, 60 s at 10 a second",
        ),
        (
            LATER,
            1 / 60,
            "1000 at 5 %, 200 at 25 %, 100 at 50 % of the endpoint's requests: 17 h, 3.3 h, 100 min at 0.017",
        ),
        (LATER, 0.0, "of the endpoint's requests: never at this rate, for there were none of late"),
        (LATER, None, "of the endpoint's requests: how long that takes isn't known yet"),
        (FIRST, 10.0, ""),
    ],
)
def test_the_needs_are_said_in_words(rollout, rate, words):
    assert words in needs_in_words(needs(rollout, rate), rate)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2.3 days")],
)
def test_a_time_is_said_as_people_say_it(seconds, words):
    assert in_minutes(timedelta(seconds=seconds)) == words


@given(st.integers(1, 99), st.floats(0.001, 1000))
def test_both_sides_get_their_least_within_what_is_needed(weight, rate):
    (need,) = needs(planned(weight, 100), rate)
    assert need.endpoint_requests * weight / 100 >= need.canary_requests
    assert need.endpoint_requests * (100 - weight) / 100 >= LEAST_STABLE


@pytest.mark.parametrize(
    ("counted", "rate"),
    [
        ([], 0.0),
        ([(10.0, 30)], 0.5),  # a minute has enough of them
        ([(10.0, 3), (200.0, 30)], 0.11),  # five minutes have
        ([(10.0, 1), (900.0, 2)], 3 / 1800),  # half an hour is all that is looked at
        ([(3600.0, 1000)], 0.0),
    ],
)
def test_the_rate_of_late_is_that_of_the_shortest_span_with_enough_requests(counted, rate):
    assert rate_of_late(counted) == pytest.approx(rate)
