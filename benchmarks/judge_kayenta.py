"""The same runs under Kayenta's judge, as Spinnaker's guide sets it up.

spinnaker/kayenta: NetflixACAJudge (Mann-Whitney, tolerance 0.25, confidence 0.98), MannWhitneyClassifier, MannWhitney
and WeightedSumScorer, rewritten rule by rule; json-formats.md (marginal 75, pass 95). Spinnaker's best practices for
canaries: a baseline of the canary's size that gets as much traffic; a lifetime of 3 hours, a run each hour, 50 points
or more in each; here 25 % each, a point a minute, each run judging all that came so far. Two groups of equal weight:
the share of errors and the p95. A run below marginal rolls back; the last must reach the pass score.
"""

from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq
from scipy.stats import rankdata

from benchmarks.judge_ours import End
from benchmarks.judge_peers import MINUTE, Mask
from benchmarks.judge_world import Block, Numbers, World, until

_SHARE = 25.0  # percent, of canary and of baseline
_TOLERANCE, _CONFIDENCE = 0.25, 0.98
_MARGINAL, _PASS, _NO_DATA = 75.0, 95.0, 50.0
_RUNS, _RUN = 3, 60  # minutes

HIGH, FINE, NODATA, ERROR = "High", "Pass", "Nodata", "Error"


def kayenta(world: World, seed: int) -> End:
    seen = until(world, seed, _RUNS * _RUN * MINUTE)
    canary, baseline = seen.position < _SHARE, seen.position >= 100 - _SHARE
    for run in range(1, _RUNS + 1):
        minutes = run * _RUN
        found = [
            classified(
                _error_shares(seen.at, seen.canary_failed, canary, minutes), _stable_errors(seen, baseline, minutes)
            ),
            classified(
                _p95s(seen.at, seen.canary_ms, canary, minutes), _p95s(seen.at, seen.stable_ms, baseline, minutes)
            ),
        ]
        score = score_of(found)
        if score < (_PASS if run == _RUNS else _MARGINAL):
            served = int((canary & (seen.at <= minutes * MINUTE)).sum())
            return End("rolled_back", minutes * MINUTE, served, f"score {score:.0f}: {', '.join(found)}")
    return End("promoted", _RUNS * _RUN * MINUTE, int(canary.sum()))


def _stable_errors(seen: Block, baseline: Mask, minutes: int) -> Numbers:
    return _error_shares(seen.at, seen.stable_failed, baseline, minutes)


def _error_shares(at: Numbers, failed: Mask, side: Mask, minutes: int) -> Numbers:
    """Return the share of errors in each minute; nanStrategy "replace": none where there was no request."""
    parts = _by_minute(at[side], failed[side].astype(float), minutes)
    return np.array([part.mean() if len(part) else 0.0 for part in parts])


def _p95s(at: Numbers, ms: Numbers, side: Mask, minutes: int) -> Numbers:
    """Return the p95 of each minute; nanStrategy "remove"."""
    return np.array([np.quantile(part, 0.95) for part in _by_minute(at[side], ms[side], minutes) if len(part)])


def _by_minute(at: Numbers, values: Numbers, minutes: int) -> list[Numbers]:
    edges = np.searchsorted(at, np.arange(1, minutes + 1) * MINUTE)
    return np.split(values, edges)[:minutes]


def classified(canary: Numbers, baseline: Numbers) -> str:
    """Return what MannWhitneyClassifier says where the direction is "increase"."""
    if not len(canary) or not len(baseline):
        return NODATA
    if len(np.unique(np.concatenate([canary, baseline]))) == 1 or np.array_equal(np.sort(canary), np.sort(baseline)):
        return FINE
    if len(canary) + len(baseline) < 3:
        return ERROR  # two points are one rank each: with a shift between them there is no spread to divide by
    lower, estimate = shift(canary, baseline)
    control = baseline.mean()
    larger = not control or canary.mean() / control >= 1  # effect size: allowedIncrease 1 by default
    return HIGH if lower > _TOLERANCE * abs(estimate) and larger else FINE


def shift(x: Numbers, y: Numbers) -> tuple[float, float]:
    """Return the lower bound of the shift from y to x, and its estimate."""
    return _root(x, y, NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)), _root(x, y, 0.0)


def _root(x: Numbers, y: Numbers, z: float) -> float:
    low, high = float(x.min() - y.max()), float(x.max() - y.min())
    if z and wilcoxon(low, z, x, y) <= 0:
        return low
    if z and wilcoxon(high, z, x, y) >= 0:
        return high
    return float(brentq(wilcoxon, low, high, args=(z, x, y), xtol=1e-4))


def wilcoxon(mu: float, z: float, x: Numbers, y: Numbers) -> float:
    """Return how far the rank sum of x - mu is from what z standard deviations would make it."""
    m, n = len(x), len(y)
    ranks = rankdata(np.concatenate([x - mu, y]))
    distance = ranks[:m].sum() - m * (m + 1) / 2 - m * n / 2
    ties = np.unique(ranks, return_counts=True)[1].astype(float)
    spread = m * n / 12 * ((m + n + 1) - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return float((distance - np.sign(distance) * 0.5) / np.sqrt(spread) - z)


def score_of(found: list[str]) -> float:
    """Return the weighted sum of the groups, a metric each; one without data or in error is no fault."""
    if 100 * found.count(NODATA) / len(found) >= _NO_DATA:
        return 0.0
    return sum(0.0 if one == HIGH else 100.0 for one in found) / len(found)
