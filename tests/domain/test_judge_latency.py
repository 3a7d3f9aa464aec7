"""Whether a canary is slower: how strong the evidence is, and that looking often does no harm."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.judge import ODDS, judge
from chalicelib.domain.rollout import Outcome, Thresholds
from chalicelib.domain.slower import evidence_slower
from chalicelib.domain.traffic import EDGES_MS, Traffic, request

USUAL = Thresholds()


def timed(*milliseconds) -> Traffic:
    latencies = [0] * (len(EDGES_MS) + 1)
    for ms in milliseconds:
        latencies[request(200, ms, nonfinite=False).latency] += 1
    return Traffic(len(milliseconds), latencies=tuple(latencies))


def lognormal(rng, times, *, median=100.0, sigma=0.5) -> Traffic:
    return timed(*(median * rng.lognormvariate(0, sigma) for _ in range(times)))


def ratio(ms: float) -> float:
    return ms * USUAL.max_latency_ratio


# Quantiles of a histogram
@given(st.lists(st.floats(0.2, 1e5), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_right_to_5_percent(milliseconds, q):
    found = timed(*milliseconds).quantile_ms(q)
    ranked = sorted(milliseconds)
    near = [ms for n, ms in enumerate(ranked) if n / len(ranked) <= q <= (n + 1) / len(ranked)]
    assert any(ms / 1.05 <= found <= ms * 1.05 for ms in near)


@given(st.lists(st.floats(0.2, 1e5), max_size=60), st.floats(0.2, 1e5))
def test_only_what_surely_took_longer_is_counted_as_slower(milliseconds, limit):
    slower = timed(*milliseconds).slower_than(limit)
    assert sum(ms > limit * 1.05 for ms in milliseconds) <= slower <= sum(ms > limit for ms in milliseconds)


# Evidence
def test_a_canary_that_is_as_slow_as_allowed_is_no_evidence():
    rng = random.Random(1)
    stable, canary = lognormal(rng, 2000), lognormal(rng, 2000, median=150)
    assert evidence_slower(0.5, canary, stable, ratio) < 1
    assert evidence_slower(0.95, canary, stable, ratio) < 1


def test_more_requests_of_a_slower_canary_are_more_evidence():
    rng = random.Random(2)
    stable, every = lognormal(rng, 4000), [200 * rng.lognormvariate(0, 0.5) for _ in range(400)]
    found = [evidence_slower(0.5, timed(*every[:many]), stable, ratio) for many in (50, 100, 200, 400)]
    assert found == sorted(found)
    assert found[-1] > 7


def test_the_less_is_known_of_stable_the_weaker_the_evidence():
    rng = random.Random(3)
    canary, every = lognormal(rng, 100, median=250), [100 * rng.lognormvariate(0, 0.5) for _ in range(1000)]
    found = [evidence_slower(0.95, canary, timed(*every[:many]), ratio) for many in (40, 200, 1000)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_stable_slower_than_any_bucket_leaves_nothing_to_compare():
    assert evidence_slower(0.5, timed(*[1e9] * 100), timed(*[1e9] * 100), ratio) == 0


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_a_canary_just_within_the_ratio_is_never_failed_however_often_one_looks(sigma):
    """The worst case of the guarantee: each of three checks fails wrongly at most once in ODDS steps."""
    rng = random.Random(4)
    failed = sum(looked_at(rng, sigma, 1.5) is Outcome.FAIL for _ in range(100))
    assert failed <= 100 * 3 / ODDS + 1


@pytest.mark.parametrize(("sigma", "times"), [(0.5, 2.0), (1.5, 6.0)])
def test_a_canary_that_is_much_slower_fails(sigma, times):
    rng = random.Random(5)
    assert all(looked_at(rng, sigma, times) is Outcome.FAIL for _ in range(20))


def looked_at(rng, sigma, times) -> Outcome:
    """Judge a step of up to 600 canary requests after every fifth of them; it passes nobody meanwhile."""
    canary, stable = Traffic(), Traffic()
    for _ in range(120):
        canary += lognormal(rng, 5, median=100 * times, sigma=sigma)
        stable += lognormal(rng, 20, sigma=sigma)
        if judge(canary, stable, USUAL).outcome is Outcome.FAIL:
            return Outcome.FAIL
    return Outcome.INCONCLUSIVE


# Passing
def test_what_a_canarys_chance_explains_passes_where_it_looks_no_slower_than_stable():
    """Six of a hundred hang where five do on stable: the p95 jumps, and means nothing."""
    stable = timed(*[20] * 950, *[900] * 50)
    assert judge(timed(*[20] * 94, *[900] * 6), stable, USUAL).outcome is Outcome.PASS


def test_chance_is_no_excuse_for_a_canary_that_looks_slower_than_stable_all_the_same():
    rng = random.Random(6)
    stable = lognormal(rng, 950, sigma=1.0)
    passed = sum(
        judge(lognormal(rng, 50, median=200, sigma=1.0), stable, USUAL).outcome is Outcome.PASS for _ in range(200)
    )
    assert passed <= 20
