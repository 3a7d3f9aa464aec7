"""What has to hold before a canary gets more traffic: room for its share, an open window, an open gate."""

from datetime import datetime
from math import ceil

from chalicelib.domain.deployment import FleetState
from chalicelib.domain.rollout import (
    Action,
    Approve,
    Await,
    Bake,
    Hold,
    Observation,
    Phase,
    Promote,
    RollBack,
    Rollout,
    Shift,
    Start,
)
from chalicelib.domain.seen_words import state
from chalicelib.domain.split import WHOLE
from chalicelib.domain.windows import next_opening


def take(rollout: Rollout, seen: Observation, step: int, why: str, now: datetime) -> Action:
    """Go to a step once everything allows it; with 100 % it bakes, or is promoted."""
    weight = rollout.plan.steps[step] if step < len(rollout.plan.steps) else WHOLE
    held = _room(seen, weight) or window(rollout, now) or gate(rollout, seen, weight, now)
    return held or _go(rollout, step, weight, why)


def stable_gone(seen: Observation) -> Action | None:
    """Halt while there is nothing to go back to: what answers goes on answering."""
    if seen.stable and seen.stable.state is FleetState.READY:
        return None
    found = state(seen.stable) if seen.stable else "not there"
    return Hold(f"halted: stable is {found}, so there is nothing to go back to")


def gate(rollout: Rollout, seen: Observation, weight: int, now: datetime) -> Action | None:
    """Wait until somebody agrees to the step; an agreement isn't asked for twice."""
    closed = next((each for each in rollout.plan.gates if each.before == weight), None)
    if closed is None or weight in rollout.approved:
        return None
    if rollout.gate != weight:
        return Await(weight, f"waits for approval before {weight} %")
    if seen.agreed:
        return Approve(weight, f"{closed.ask} agreed to {weight} %")
    until = (rollout.gate_since or now) + closed.timeout if closed.timeout else None
    if until and now >= until:
        return RollBack(f"nobody approved {weight} % within {closed.timeout}", Phase.ABORTED)
    return Hold(f"waits for approval before {weight} %", until=until)


def _room(seen: Observation, weight: int) -> Action | None:
    """Have as many ready replicas as the share of what stable runs, before the share comes."""
    share = max(1, ceil(weight * (seen.stable.ready if seen.stable else 0) / WHOLE))
    if seen.canary.ready >= share:
        return None
    reason = f"{weight} % needs {share} ready replicas, the canary has {seen.canary.ready}"
    return Start(reason, at_least=share) if seen.canary.ready < min(share, seen.canary.most) else Hold(reason)


def window(rollout: Rollout, now: datetime) -> Action | None:
    until = next_opening(rollout.plan.windows, now)
    return Hold(f"outside of its windows until {until:%Y-%m-%d %H:%M} UTC", until=until) if until else None


def _go(rollout: Rollout, step: int, weight: int, why: str) -> Action:
    if weight < WHOLE:
        return Shift(step, why)
    return Bake(why) if rollout.plan.bake else Promote(why)
