"""Whether the canary is slower than stable: one quantile of both sides' latencies, from their histograms.

Stable's quantile is only known from a sample, so a canary fails when, wherever it may truly lie, either the canary's
requests speak against being as fast as the thresholds ask, or stable's against its lying there. Both are e-values (see
`evidence`), and so is their product: the guarantee holds however often one looks. Buckets are rounded in the canary's
favour.
"""

from collections.abc import Callable
from math import exp, inf, log, log1p, sqrt

from chalicelib.domain.evidence import Count, evidence_above
from chalicelib.domain.rollout import Judgement, Outcome, Thresholds
from chalicelib.domain.traffic import EDGES_MS, Traffic

Limit = Callable[[float], float]

_HEDGE = 0.1  # of each e-value is put on the evidence, the rest kept: what speaks for a canary costs it little


def compare(
    q: float, canary: Traffic, stable: Traffic, thresholds: Thresholds, *, least: int, odds: float
) -> Judgement:
    """Compare the q-quantiles: fail on evidence of a slower one, with `least` latencies on both sides.

    It passes a canary that is no slower than the thresholds allow, or not slower at all but for its chance.
    """
    ours, theirs = canary.quantile_ms(q) or 0.0, stable.quantile_ms(q) or 0.0
    said = f"canary p{q * 100:.0f} {ours:.3g} ms, stable {theirs:.3g} ms"
    enough = min(canary.timed, stable.timed) >= least
    if enough and evidence_slower(q, canary, stable, lambda ms: _allowed(ms, thresholds)) >= log(odds):
        allowed = _allowed(theirs, thresholds)
        slow = f"{canary.slower_than(allowed)} of {canary.timed} requests took longer than {allowed:.3g} ms"
        return Judgement(Outcome.FAIL, f"{said}: {slow}")
    chance = sqrt(q * (1 - q) / canary.timed)  # standard deviation of the rank at which the quantile is found
    if ours <= _allowed(theirs, thresholds) or (canary.quantile_ms(q - chance) or 0.0) <= theirs:
        return Judgement(Outcome.PASS, said)
    reason = f"{said}: above the {_allowed(theirs, thresholds):.3g} ms allowed, too few to say that it is slower"
    return Judgement(Outcome.INCONCLUSIVE, reason, samples_needed=max(least - canary.timed, canary.timed // 2, 1))


def evidence_slower(q: float, canary: Traffic, stable: Traffic, allowed: Limit) -> float:
    """Return the log of the e-value against "the canary's q-quantile is at most what is allowed by stable's".

    It is the least over the buckets in which stable's true quantile may lie. Below the bucket where it is seen,
    nothing speaks against a bucket and more speaks against the canary, so the search goes upwards from there, until
    stable's own requests rule out what is left.
    """
    least = inf
    for at in range(stable.bucket_of(q), len(EDGES_MS)):
        slow = Count(canary.slower_than(allowed(EDGES_MS[at])), canary.timed)
        elsewhere = _hedged(evidence_above(Count(stable.timed_below(at), stable.timed), q))
        least = min(least, elsewhere + _hedged(evidence_above(slow, 1 - q), part=1 - _HEDGE))
        if least <= 0 or elsewhere + log(_HEDGE) >= least:
            return max(0.0, least)
    return 0.0


def _hedged(strength: float, part: float = _HEDGE) -> float:
    """Return the log of an e-value of which only a part is put at risk: it never falls below what was kept."""
    if strength <= 0:
        return log(1 - part)
    return strength + log(part) + log1p((1 - part) / part * exp(-strength))


def _allowed(stable_ms: float, thresholds: Thresholds) -> float:
    return max(stable_ms * thresholds.max_latency_ratio, stable_ms + thresholds.latency_slack_ms)
