"""A rollout's plan in words, said before anything of it is done."""

from chalicelib.domain.cost import in_words
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.strategy import AT_ONCE

_MINUTE = 60  # seconds


def plan_in_words(rollout: Rollout, start_s: float) -> str:
    """Return what the rollout is going to do; `start_s` is how long stable took to start, 0 where nobody knows."""
    if not rollout.stable:
        return f"{rollout.ref} is the endpoint's first version: warm up, then all traffic; {in_words(rollout)}"
    downtime = f"; {downtime_in_words(start_s)}" if rollout.recreates else ""
    return f"{rollout.ref}: {_way_in_words(rollout)}{_conditions_in_words(rollout)}{downtime}; {in_words(rollout)}"


def downtime_in_words(start_s: float) -> str:
    """Return how long nothing answers; a start like stable's own is what is known of the next one."""
    known = f"for about {max(0.1, start_s / _MINUTE):.1f} minutes, as long as stable took to start"
    unknown = "for as long as it takes to start, which wasn't measured yet"
    return (
        f"stable makes room first, so nothing answers {known if start_s else unknown}; "
        "going back isn't at once either: stable is started again, which takes as long"
    )


def _way_in_words(rollout: Rollout) -> str:
    plan, least = rollout.plan, rollout.plan.thresholds.min_requests
    bake = f", judged with all traffic for {plan.bake} and at least {least} requests" if plan.bake else ""
    if plan.strategy in AT_ONCE:
        return f"all traffic at once{bake or ', judged by nothing'}"
    steps = " -> ".join(f"{s} %" for s in plan.steps)
    return f"{steps}, each for {plan.step_time} and at least {least} requests{bake}"


def _conditions_in_words(rollout: Rollout) -> str:
    gates = ", ".join(f"{gate.before} %" for gate in rollout.plan.gates)
    windows = ", ".join(rollout.plan.windows)
    return (f"; waits for approval before {gates}" if gates else "") + (f"; steps only {windows}" if windows else "")
