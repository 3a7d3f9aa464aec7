"""How often the judge errs, in seeded rollouts that are looked at after every canary request."""

import random
from dataclasses import dataclass

import pytest

from chalicelib.domain.evidence import Count, evidence
from chalicelib.domain.judge import judge
from chalicelib.domain.rollout import Outcome, Thresholds
from chalicelib.domain.traffic import Traffic

STEPS = (5, 25, 50)  # 100 % is promotion
PATIENCE = 150  # canary requests in a step before a person is asked


@dataclass(frozen=True)
class End:
    outcome: Outcome
    canary_requests: int  # of the last step


def rolled_out(rng: random.Random, kind: str, canary_share: float, stable_share: float) -> End:
    """Roll out once, judged after every canary request, and return how it ended."""
    end = End(Outcome.INCONCLUSIVE, 0)
    for weight in STEPS:
        end = stepped(rng, kind, weight, canary_share, stable_share)
        if end.outcome is not Outcome.PASS:
            break
    return end


def stepped(rng: random.Random, kind: str, weight: int, canary_share: float, stable_share: float) -> End:
    requests, bad, stable_requests, stable_bad = 0, 0, 0, 0
    while requests < PATIENCE:
        if rng.random() * 100 >= weight:
            stable_requests += 1
            stable_bad += rng.random() < stable_share
            continue
        requests += 1
        bad += rng.random() < canary_share
        if not bad and requests < Thresholds().min_requests:
            continue  # nothing to fail for, too few to pass
        canary = Traffic(requests, **{kind: bad})
        outcome = judge(canary, Traffic(stable_requests, **{kind: stable_bad}), Thresholds()).outcome
        if outcome is not Outcome.INCONCLUSIVE:
            return End(outcome, requests)
    return End(Outcome.INCONCLUSIVE, requests)


def ends(kind: str, canary_share: float, stable_share: float, rollouts: int) -> list[End]:
    rng = random.Random(20)
    return [rolled_out(rng, kind, canary_share, stable_share) for _ in range(rollouts)]


def share(outcome: Outcome, found: list[End]) -> float:
    return sum(end.outcome is outcome for end in found) / len(found)


@pytest.mark.parametrize(
    ("kind", "both"),
    [("errors", 0.0), ("errors", 0.02), ("errors", 0.1), ("rejected", 0.3), ("nonfinite", 0.1)],
)
def test_a_canary_equal_to_stable_is_wrongly_failed_in_at_most_2_of_100_rollouts(kind, both):
    found = ends(kind, both, both, rollouts=200)
    assert share(Outcome.FAIL, found) <= 0.02
    assert share(Outcome.PASS, found) >= 0.8


@pytest.mark.parametrize("stable_share", [0.0, 0.05])
def test_half_of_all_requests_failing_is_seen_within_about_20_canary_requests(stable_share):
    found = ends("errors", 0.5, stable_share, rollouts=500)
    assert share(Outcome.FAIL, found) == 1
    within = sorted(end.canary_requests for end in found)
    assert within[len(within) // 2] <= 20
    if not stable_share:
        assert within[int(len(within) * 0.98)] <= 20


def test_5_percent_errors_against_none_are_not_promoted():
    assert share(Outcome.PASS, ends("errors", 0.05, 0.0, rollouts=200)) <= 0.01


def test_a_fifth_of_answers_non_finite_fails():
    assert share(Outcome.FAIL, ends("nonfinite", 0.2, 0.0, rollouts=300)) == 1


def test_evidence_with_no_excess_is_none():
    assert evidence(Count(5, 100), Count(95, 1900), 0.0) == 0
    assert evidence(Count(1, 100), Count(0, 1900), 0.01) == 0


def test_more_bad_answers_are_more_evidence():
    found = [evidence(Count(bad, 40), Count(2, 760), 0.01) for bad in range(3, 40)]
    assert found == sorted(found)


def test_more_of_a_clean_stable_is_more_evidence():
    found = [evidence(Count(8, 40), Count(0, many), 0.01) for many in (20, 60, 200, 800)]
    assert found == sorted(found)
