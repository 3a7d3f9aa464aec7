"""What an action that is a change of ours makes of an endpoint and its rollout: pure, so both are written in one go."""

from dataclasses import replace
from datetime import datetime

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.moves import (
    approved,
    baking,
    ended,
    fallen_back,
    promoted,
    recreating,
    returning,
    shadowed,
    shifted,
)
from chalicelib.domain.rollout import (
    Approve,
    Await,
    Back,
    Bake,
    Extend,
    Fail,
    FallBack,
    Observation,
    Onward,
    Phase,
    Promote,
    Recreate,
    Return,
    RollBack,
    Rollout,
    Shadow,
    Shift,
)
from chalicelib.domain.states import check

Change = FallBack | Extend | Onward | Back


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
        case Extend() | Await() | Approve() | Return():
            kind, after = _stayed(action, rollout, now)
            return kind, endpoint, after
        case FallBack(instance_type, reason):
            return "rollout.fell_back", *fallen_back(endpoint, rollout, instance_type, reason, now)
        case RollBack(reason) | Fail(reason):
            phase = action.phase if isinstance(action, RollBack) else Phase.FAILED
            return f"rollout.{phase}", *ended(endpoint, rollout, phase, reason, now)
        case _:
            return _onward(action, endpoint, rollout, seen, now)


def _onward(
    action: Shadow | Shift | Recreate | Bake | Promote,
    endpoint: Endpoint,
    rollout: Rollout,
    seen: Observation,
    now: datetime,
) -> tuple[str, Endpoint, Rollout]:
    match action:
        case Shadow(reason):
            return "rollout.shadowing", *shadowed(endpoint, rollout, reason, now)
        case Shift(step, reason):
            return "rollout.shifted", *shifted(endpoint, rollout, step, reason, now)
        case Recreate(reason):
            return "rollout.recreating", *recreating(endpoint, rollout, reason, now, seen.stable_traffic)
        case Bake(reason):
            return "rollout.baking", *baking(endpoint, rollout, reason, now, seen.stable_traffic)
        case Promote(reason):
            return "rollout.promoted", *promoted(endpoint, rollout, reason, now)


def _stayed(action: Extend | Await | Approve | Return, rollout: Rollout, now: datetime) -> tuple[str, Rollout]:
    """Return what a rollout becomes that moves no traffic."""
    match action:
        case Extend(reason):
            return "rollout.extended", replace(rollout, extensions=rollout.extensions + 1, reason=reason)
        case Await(weight, reason):
            return "rollout.gate_waiting", replace(rollout, gate=weight, gate_since=now, reason=reason)
        case Approve(_, reason):
            return "rollout.approved", approved(rollout, reason)
        case Return(reason, then):
            return "rollout.returning", returning(rollout, then, reason)
