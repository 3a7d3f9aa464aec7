"""The three verdicts, from literal counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.judge import is_sick, judge
from chalicelib.domain.rollout import Outcome, Thresholds
from chalicelib.domain.traffic import EDGES_MS, Traffic

USUAL = Thresholds()


def took(*milliseconds: float, times: int = 1) -> Traffic:
    """Return traffic whose requests took that long."""
    latencies = [0] * (len(EDGES_MS) + 1)
    for ms in milliseconds:
        latencies[next(n for n, edge in enumerate((*EDGES_MS, float("inf"))) if ms <= edge)] += times
    return Traffic(requests=len(milliseconds) * times, latencies=tuple(latencies))


CLEAN = Traffic(requests=950)


@pytest.mark.parametrize(
    ("canary", "stable", "outcome", "reason"),
    [
        # Silence is never success, nor is too little.
        (Traffic(), Traffic(), "inconclusive", "canary has 0 of the 50 requests needed"),
        (Traffic(requests=49), CLEAN, "inconclusive", "canary has 49 of the 50 requests needed"),
        (Traffic(requests=50), Traffic(), "inconclusive", "stable has 0 of the 20 requests needed to compare with"),
        (Traffic(requests=50), CLEAN, "pass", "canary 0 errors in 50 requests, stable 0 in 950"),
        # Errors against a clean stable.
        (Traffic(12, errors=1), Traffic(228), "inconclusive", "canary 1 errors in 12 requests, stable 0 in 228"),
        (Traffic(1, errors=1), Traffic(19), "inconclusive", "canary 1 errors in 1 requests, stable 0 in 19"),
        (Traffic(2, errors=2), Traffic(38), "inconclusive", "canary 2 errors in 2 requests, stable 0 in 38"),
        (Traffic(3, errors=3), Traffic(57), "fail", "canary 3 errors in 3 requests, stable 0 in 57"),
        (Traffic(20, errors=10), Traffic(380), "fail", "canary 10 errors in 20 requests, stable 0 in 380"),
        (Traffic(24, errors=12), Traffic(24), "fail", "canary 12 errors in 24 requests, stable 0 in 24"),
        (Traffic(40, errors=12), Traffic(760), "fail", "canary 12 errors in 40 requests, stable 0 in 760"),
        (Traffic(100, errors=1), Traffic(1900), "pass", "canary 1 errors in 100 requests, stable 0 in 1900"),
        (Traffic(50, errors=1), CLEAN, "inconclusive", "canary 1 errors in 50 requests, stable 0 in 950"),
        # Errors against a stable that has some itself.
        (
            Traffic(100, errors=5),
            Traffic(1900, errors=95),
            "pass",
            "canary 5 errors in 100 requests, stable 95 in 1900",
        ),
        (
            Traffic(60, errors=30),
            Traffic(1140, errors=57),
            "fail",
            "canary 30 errors in 60 requests, stable 57 in 1140",
        ),
        (Traffic(100), Traffic(1900, errors=95), "pass", "canary 0 errors in 100 requests, stable 95 in 1900"),
        # 4xx is no error, and no sample either; it counts only where stable has fewer.
        (
            Traffic(100, rejected=40),
            Traffic(1900, rejected=760),
            "pass",
            "canary 40 4xx answers in 100 requests, stable 760 in 1900",
        ),
        (
            Traffic(100, rejected=40),
            Traffic(1900, rejected=19),
            "fail",
            "canary 40 4xx answers in 100 requests, stable 19 in 1900",
        ),
        (
            Traffic(100, rejected=60),
            Traffic(1900, rejected=1140),
            "inconclusive",
            "canary has 40 of the 50 requests needed",
        ),
        # Non-finite answers.
        (
            Traffic(40, nonfinite=8),
            Traffic(760),
            "fail",
            "canary 8 non-finite answers in 40 requests, stable 0 in 760",
        ),
        (
            Traffic(60, nonfinite=12),
            Traffic(1140, nonfinite=228),
            "pass",
            "canary 12 non-finite answers in 60 requests, stable 228 in 1140",
        ),
        (
            Traffic(60, nonfinite=1),
            Traffic(1140),
            "inconclusive",
            "canary 1 non-finite answers in 60 requests, stable 0 in 1140: more than the 0.0 allowed, too few to say",
        ),
        # A sick stable proves nothing about a canary that is no worse.
        (
            Traffic(100),
            Traffic(1900, errors=1000),
            "inconclusive",
            "stable is sick: 1000 errors in 1900 requests; nothing to judge by",
        ),
        (
            Traffic(100, errors=98),
            Traffic(1900, errors=570),
            "fail",
            "canary 98 errors in 100 requests, stable 570 in 1900",
        ),
        # No stable: what the thresholds say, and nothing else.
        (Traffic(50), None, "pass", "canary 0 errors in 50 requests"),
        (Traffic(20, errors=10), None, "fail", "canary 10 errors in 20 requests"),
        (Traffic(60, errors=1), None, "inconclusive", "canary 1 errors in 60 requests"),
        (Traffic(9), None, "inconclusive", "canary has 9 of the 50 requests needed"),
    ],
)
def test_the_verdict_follows_from_the_counts(canary, stable, outcome, reason):
    verdict = judge(canary, stable, USUAL)
    assert verdict.outcome == outcome
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("canary", "stable", "outcome"),
    [
        (took(100, times=20), took(20, times=30), "fail"),  # 5 times slower, with few samples
        (took(11, times=50), took(2.2, times=950), "pass"),  # 5 times slower, but within the slack
        (took(100, times=10), took(20, times=200), "inconclusive"),  # too few to say
        (took(60, times=60), took(60, times=1140), "pass"),
        (took(20, times=60) + took(900, times=15), took(20, times=900), "fail"),  # a fifth of them hang
        (took(20, times=95) + took(900, times=5), took(20, times=950) + took(900, times=50), "pass"),  # so do stable's
        (took(20, times=186) + took(900, times=14), took(20, times=3800), "fail"),  # 7 % do
        (took(20, times=95) + took(900, times=4), took(20, times=1000), "pass"),  # few, and not yet enough for a p99
        (took(20, times=992) + took(900, times=8), took(20, times=1000), "pass"),  # few, and the p99 is as it was
        (took(1e9, times=50), took(20, times=950), "fail"),  # longer than any bucket
        (took(1e9, times=50), took(1e9, times=950), "pass"),
    ],
)
def test_a_slower_canary_fails_once_both_sides_have_samples(canary, stable, outcome):
    assert judge(canary, stable, USUAL).outcome == outcome


def test_few_samples_never_pass_a_canary_that_looks_slower():
    few = Thresholds(min_requests=10)
    assert judge(took(100, times=10), took(20, times=200), few).outcome == "inconclusive"
    assert judge(took(20, times=10), took(20, times=200), few).outcome == "pass"


def test_a_slow_canary_is_told_with_its_numbers():
    verdict = judge(took(100, times=20), took(20, times=30), USUAL)
    assert verdict.reason.startswith("canary p50 ")
    assert "20 of 20 requests took longer than" in verdict.reason


def test_a_slower_canary_passes_where_the_ratio_allows_it():
    slower, stable = took(100, times=60), took(40, times=1140)
    assert judge(slower, stable, USUAL).outcome == "fail"
    assert judge(slower, stable, Thresholds(max_latency_ratio=4)).outcome == "pass"


def test_an_inconclusive_verdict_says_how_many_samples_it_still_needs():
    assert judge(Traffic(12), CLEAN, USUAL).samples_needed == 38
    assert judge(Traffic(50, errors=1), CLEAN, USUAL).samples_needed == 50  # 1 error is 1 % of 100
    assert judge(Traffic(60), CLEAN, USUAL).samples_needed == 0


def test_the_numbers_of_both_sides_come_with_the_verdict():
    numbers = judge(took(10, times=50), took(20, times=950), USUAL).numbers
    assert numbers["canary_requests"] == 50
    assert numbers["stable_errors"] == 0
    assert numbers["canary_p50_ms"] == pytest.approx(10, rel=0.05)
    assert numbers["stable_p95_ms"] == pytest.approx(20, rel=0.05)
    assert numbers["canary_p99_ms"] == pytest.approx(10, rel=0.05)


def test_the_shares_are_of_what_each_is_about():
    numbers = judge(Traffic(100, errors=9, rejected=10, nonfinite=18), Traffic(0), USUAL).numbers
    assert [numbers[f"canary_{name}_share"] for name in ("error", "rejected", "nonfinite")] == [0.1, 0.1, 0.2]
    assert numbers["stable_error_share"] == 0


counts = st.integers(0, 300).flatmap(
    lambda n: st.builds(Traffic, st.just(n), st.integers(0, n), st.just(0), st.integers(0, n))
)


@given(counts, counts)
def test_a_pass_always_has_enough_requests_on_both_sides(canary, stable):
    verdict = judge(canary, stable, USUAL)
    enough = canary.answered >= USUAL.min_requests and stable.answered >= 20
    assert verdict.outcome is not Outcome.PASS or enough


@given(counts, counts)
def test_a_canary_never_passes_beside_a_sick_stable(canary, stable):
    assert not is_sick(stable) or judge(canary, stable, USUAL).outcome is not Outcome.PASS


@given(counts, counts)
def test_fewer_than_three_bad_answers_never_fail(canary, stable):
    few = canary.errors < 3 and canary.nonfinite < 3
    assert not few or judge(canary, stable, USUAL).outcome is not Outcome.FAIL
