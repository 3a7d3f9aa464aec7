"""What an action that is a change of ours makes of an endpoint and its rollout: pure, so both are written in one go."""

from dataclasses import replace
from datetime import datetime

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.moves import baking, ended, promoted, shifted
from chalicelib.domain.rollout import (
    Await,
    Bake,
    Extend,
    Fail,
    Observation,
    Phase,
    Promote,
    RollBack,
    Rollout,
    Shift,
)
from chalicelib.domain.states import check

Change = Extend | Shift | Await | Bake | Promote | RollBack | Fail


def carry_out(
    action: Change, endpoint: Endpoint, rollout: Rollout, seen: Observation, now: datetime
) -> tuple[str, Endpoint, Rollout]:
    """Return the kind of the transition, and what both records become; raises Unlisted."""
    kind, served, rolled = _moved(action, endpoint, rollout, seen, now)
    check(rollout.phase, action, rolled.phase)
    return kind, served, rolled


def _moved(
    action: Change, endpoint: Endpoint, rollout: Rollout, seen: Observation, now: datetime
) -> tuple[str, Endpoint, Rollout]:
    match action:
        case Extend(reason):
            return "rollout.extended", endpoint, replace(rollout, extensions=rollout.extensions + 1, reason=reason)
        case Await(weight, reason):
            return "rollout.gate_waiting", endpoint, replace(rollout, gate=weight, gate_since=now, reason=reason)
        case Shift(step, reason):
            return "rollout.shifted", *shifted(endpoint, rollout, step, reason, now)
        case Bake(reason):
            return "rollout.baking", *baking(endpoint, rollout, reason, now, seen.stable_traffic)
        case Promote(reason):
            return "rollout.promoted", *promoted(endpoint, rollout, reason, now)
        case RollBack(reason) | Fail(reason):
            phase = action.phase if isinstance(action, RollBack) else Phase.FAILED
            return f"rollout.{phase}", *ended(endpoint, rollout, phase, reason, now)
