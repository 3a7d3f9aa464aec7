"""The verdict on a step: canary against stable in the same window, as one of pass, fail or inconclusive.

A judgement is a row of checks, each a function of the same three values that returns a verdict of its own. One
failing check fails the step; it passes when every check passes. A further rule (what the model answers, the schema
of its answers) is one more function in `_CHECKS`.
"""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite, log

from chalicelib.domain.evidence import Count, evidence_above
from chalicelib.domain.judge_answers import agreement, distribution, structure
from chalicelib.domain.rollout import Judgement, Outcome, Thresholds
from chalicelib.domain.shares import LEAST_BAD, ODDS, compare_shares
from chalicelib.domain.slower import compare
from chalicelib.domain.traffic import Traffic

LEAST_STABLE = 20  # requests of stable in the window, to compare with
LEAST_MEDIAN = 20  # latencies on each side, to fail for p50
LEAST_TAIL = 60  # for p95
LEAST_FAR_TAIL = 200  # for p99
SICK_SHARE = 0.2  # of stable's requests
_SICK_ODDS = 20.0

Check = Callable[[Traffic, Traffic | None, Thresholds], Judgement]


def judge(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Return the verdict on the window, at any time, as often as wanted. No stable means absolute checks only."""
    verdicts = [check(canary, stable, thresholds) for check in _CHECKS]
    worst = min(verdicts, key=lambda verdict: _GRAVITY.index(verdict.outcome))
    if stable and is_sick(stable):
        worst = _beside_sick(verdicts[0], stable)
    if worst.outcome is Outcome.PASS:
        worst = replace(worst, reason="; ".join(v.reason for v in verdicts if v.reason))
    needed = max(verdict.samples_needed for verdict in verdicts)
    return replace(worst, numbers=_numbers(canary, stable), samples_needed=needed if worst.outcome in _OPEN else 0)


_GRAVITY = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
_OPEN = (Outcome.INCONCLUSIVE,)


# --- stable itself -----------------------------------------------------------------------------------------------
def is_sick(stable: Traffic) -> bool:
    """Tell whether stable is failing so badly that being no worse proves nothing."""
    errors = Count(stable.errors, stable.answered)
    strong = evidence_above(errors, SICK_SHARE / 2) >= log(_SICK_ODDS)
    return errors.bad >= LEAST_BAD and errors.share >= SICK_SHARE and strong


def _beside_sick(errors: Judgement, stable: Traffic) -> Judgement:
    """Only a canary with still more errors is judged; other comparisons with a sick stable mean nothing."""
    if errors.outcome is Outcome.FAIL:
        return errors
    return Judgement(
        Outcome.INCONCLUSIVE,
        f"stable is sick: {stable.errors} errors in {stable.answered} requests; nothing to judge by",
    )


# --- enough to judge ---------------------------------------------------------------------------------------------
def _samples(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Ask for enough requests on both sides; a 4xx says nothing of the model and doesn't count."""
    missing = thresholds.min_requests - canary.answered
    if missing > 0:
        reason = f"canary has {canary.answered} of the {thresholds.min_requests} requests needed"
        return Judgement(Outcome.INCONCLUSIVE, reason, samples_needed=missing)
    if stable is not None and stable.answered < LEAST_STABLE:
        reason = f"stable has {stable.answered} of the {LEAST_STABLE} requests needed to compare with"
        return Judgement(Outcome.INCONCLUSIVE, reason, samples_needed=1)
    return Judgement(Outcome.PASS, "")


# --- shares of requests ------------------------------------------------------------------------------------------
def _errors(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    theirs = Count(stable.errors, stable.answered) if stable else None
    return compare_shares("errors", Count(canary.errors, canary.answered), theirs, thresholds.max_error_share)


def _rejected(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    theirs = Count(stable.rejected, stable.requests) if stable else None
    return compare_shares("4xx answers", Count(canary.rejected, canary.requests), theirs, thresholds.max_rejected_share)


def _nonfinite(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    theirs = Count(stable.nonfinite, stable.answered) if stable else None
    ours = Count(canary.nonfinite, canary.answered)
    return compare_shares("non-finite answers", ours, theirs, thresholds.max_nonfinite_share)


# --- latency -----------------------------------------------------------------------------------------------------
def _median(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    return _slower(0.5, canary, stable, thresholds, LEAST_MEDIAN)


def _tail(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    return _slower(0.95, canary, stable, thresholds, LEAST_TAIL)


def _far_tail(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Judge the p99 only where there are enough for one: of fewer requests it is just the slowest."""
    if stable is None or min(canary.timed, stable.timed) < LEAST_FAR_TAIL:
        return Judgement(Outcome.PASS, "")
    return _slower(0.99, canary, stable, thresholds, LEAST_FAR_TAIL)


def _slower(q: float, canary: Traffic, stable: Traffic | None, thresholds: Thresholds, least: int) -> Judgement:
    """Compare a quantile; without any latencies on one side it says nothing."""
    if stable is None or not canary.timed or not stable.timed:
        return Judgement(Outcome.PASS, "")
    return compare(q, canary, stable, thresholds, least=least, odds=ODDS)


_CHECKS: tuple[Check, ...] = (
    _errors, _nonfinite, _rejected, structure, agreement, distribution, _median, _tail, _far_tail, _samples,
)  # fmt: skip


# --- numbers -----------------------------------------------------------------------------------------------------
def _numbers(canary: Traffic, stable: Traffic | None) -> dict[str, float]:
    return _side("canary", canary) | (_side("stable", stable) if stable else {})


def _side(name: str, traffic: Traffic) -> dict[str, float]:
    """Return one side's numbers; a latency that isn't known is left out."""
    counts = {
        f"{name}_requests": traffic.requests,
        f"{name}_errors": traffic.errors,
        f"{name}_rejected": traffic.rejected,
        f"{name}_nonfinite": traffic.nonfinite,
    }
    shares = {
        f"{name}_error_share": Count(traffic.errors, traffic.answered).share,
        f"{name}_rejected_share": Count(traffic.rejected, traffic.requests).share,
        f"{name}_nonfinite_share": Count(traffic.nonfinite, traffic.answered).share,
    }
    latencies = {f"{name}_p{q}_ms": traffic.quantile_ms(q / 100) for q in (50, 95, 99)}
    return (
        counts
        | {k: round(v, 4) for k, v in shares.items()}
        | {k: round(v, 2) for k, v in latencies.items() if v is not None and isfinite(v)}
    )
