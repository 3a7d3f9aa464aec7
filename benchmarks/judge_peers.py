"""The same runs under the rules that Flagger and Argo Rollouts publish.

Flagger (fluxcd/flagger, docs/gitbook/tutorials/istio-progressive-delivery.md and pkg/controller/scheduler.go): every
minute the last minute's success rate must be 99 % or more and the p99 500 ms or less; the weight then grows by 10 up
to 50, and a good minute at 50 promotes. A bad minute, or one without a request ("halt advancement, no values found"),
counts as a failed check; five of them, in all, roll back at the next minute.

Argo Rollouts (argoproj/argo-rollouts, docs/features/analysis.md, "Background Analysis"; controller assessMetricStatus;
defaults of utils/defaults): 20, 40, 60, 80 %, ten minutes each; from 40 % on, every five minutes the success rate,
by irate(...[5m]) between the last two scrapes, must be 95 % or more. The fourth failed measurement aborts, and so does
the fifth error in a row: an empty result is an error, a rate of 0/0 a failure. Nothing looks at latency.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.judge_ours import End
from benchmarks.judge_world import Block, World, until

MINUTE = 60.0

_SUCCESS, _P99_MS, _THRESHOLD, _STEP, _MOST = 0.99, 500.0, 5, 10, 50

_ARGO_STEPS = (20, 40, 60, 80)
_ARGO_PAUSE, _ARGO_EVERY, _SCRAPE = 10 * MINUTE, 5 * MINUTE, 15.0
_ARGO_SUCCESS, _FAILURE_LIMIT, _ERROR_LIMIT = 0.95, 3, 4

Mask = NDArray[np.bool_]


def flagger(world: World, seed: int) -> End:
    seen = until(world, seed, 30 * MINUTE)
    weight, failed, served, at = _STEP, 0, 0, 0.0
    while True:
        at += MINUTE
        now = _between(seen, at - MINUTE, at) & (seen.position < weight)
        served += int(now.sum())
        if failed >= _THRESHOLD:
            return End("rolled_back", at, served, f"{failed} failed checks")
        if not _is_good(seen, now):
            failed += 1
        elif weight >= _MOST:
            return End("promoted", at, served)
        else:
            weight += _STEP


def _is_good(seen: Block, now: Mask) -> bool:
    if not now.any():
        return False
    success = 1 - seen.canary_failed[now].mean()
    slow = (seen.canary_ms[now] > _P99_MS).mean()
    return bool(success >= _SUCCESS and slow <= 1 - 0.99)


def argo(world: World, seed: int) -> End:
    seen = until(world, seed, len(_ARGO_STEPS) * _ARGO_PAUSE)
    answered = seen.position < np.array(_ARGO_STEPS)[_step_of(seen.at)]
    end = len(_ARGO_STEPS) * _ARGO_PAUSE
    failed, errors = 0, 0
    for at in np.arange(_ARGO_PAUSE, end, _ARGO_EVERY):
        measured = _measured(seen, answered, float(at))
        errors = errors + 1 if measured is None else 0
        failed += measured is False
        if failed > _FAILURE_LIMIT or errors > _ERROR_LIMIT:
            return End(
                "rolled_back",
                float(at),
                int(answered[seen.at <= at].sum()),
                f"{failed} failed measurements, {errors} errors in a row",
            )
    return End("promoted", end, int(answered.sum()))


def _step_of(at: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum(at // _ARGO_PAUSE, len(_ARGO_STEPS) - 1).astype(np.int64)


def _measured(seen: Block, answered: Mask, at: float) -> bool | None:
    """Return whether a measurement is a success; None where the canary has never had a request, so no series."""
    if not answered[seen.at <= at].any():
        return None
    now = _between(seen, at - _SCRAPE, at) & answered
    return bool(now.any() and 1 - seen.canary_failed[now].mean() >= _ARGO_SUCCESS)


def _between(seen: Block, since: float, to: float) -> Mask:
    found = np.zeros(len(seen.at), dtype=bool)
    found[np.searchsorted(seen.at, since, "right") : np.searchsorted(seen.at, to, "right")] = True
    return found


Rule = Callable[[World, int], End]
