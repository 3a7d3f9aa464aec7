"""How many requests and how much time a rollout's steps need when nothing is wrong, said before they begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from chalicelib.domain.judge import LEAST_STABLE
from chalicelib.domain.rollout import Plan, Rollout
from chalicelib.domain.split import WHOLE


@dataclass(frozen=True)
class Need:
    """What a step needs: so many requests of the endpoint, of which the canary gets its share.

    `time` is how long that takes, the step's own time at least; None where no request comes or the rate isn't known.
    """

    weight: int
    canary_requests: int
    endpoint_requests: int
    time: timedelta | None


def needs(rollout: Rollout, rate: float | None) -> tuple[Need, ...]:
    """Return what each step from the present one on needs, at a rate of requests a second; none at promotion."""
    if not rollout.stable:
        return ()
    ahead = rollout.plan.steps[max(0, rollout.step) :]
    return tuple(_need(rollout.plan, weight, rate) for weight in ahead if weight < WHOLE)


def _need(plan: Plan, weight: int, rate: float | None) -> Need:
    canary = ceil(plan.thresholds.min_requests * WHOLE / weight)
    stable = ceil(LEAST_STABLE * WHOLE / (WHOLE - weight))
    total = max(canary, stable)
    time = max(plan.step_time, timedelta(seconds=round(total / rate))) if rate else None
    return Need(weight, plan.thresholds.min_requests, total, time)


def needs_in_words(found: Sequence[Need], rate: float | None) -> str:
    """Return the needs as a clause; "" where nothing is judged."""
    if not found:
        return ""
    counts = ", ".join(f"{need.endpoint_requests} at {need.weight} %" for need in found)
    return f"it needs {counts} of the endpoint's requests: {_how_long(found, rate)}"


def _how_long(found: Sequence[Need], rate: float | None) -> str:
    if rate is None:
        return "how long that takes isn't known yet"
    if not rate:
        return "never at this rate, for there were none of late"
    times = ", ".join(in_minutes(need.time) for need in found)
    return f"{times} at {rate:.2g} a second"


def in_minutes(time: timedelta | None) -> str:
    """Return a time as people say it: seconds up to two minutes, then minutes, hours, days."""
    seconds = time.total_seconds() if time else 0.0
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{float(f'{seconds / unit:.2g}'):g} {name}"
    return f"{seconds:.0f} s"
