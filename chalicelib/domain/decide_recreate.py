"""What a rollout does that has no room for two versions: stable makes room first, and the canary does on the way back.

Nothing answers meanwhile, which the plan says beforehand. Windows and gates hold it before stable is stopped.
"""

from datetime import datetime

from chalicelib.domain.decide_start import broken_start, examination, no_place, no_room
from chalicelib.domain.decide_step import gate, stable_gone, window
from chalicelib.domain.deployment import FleetState
from chalicelib.domain.rollout import (
    Action,
    Bake,
    Fail,
    Hold,
    Observation,
    Phase,
    Promote,
    Recreate,
    Restart,
    Return,
    RollBack,
    Rollout,
    Start,
    StartStable,
    Stop,
)
from chalicelib.domain.seen_words import state
from chalicelib.domain.split import WHOLE


def before_recreating(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    """Stable answers, and nothing of the canary runs yet."""
    if rollout.wish == "abort":
        return RollBack("aborted by a person before stable made room", Phase.ABORTED)
    if rollout.retry and seen.canary.state is FleetState.FAILED:
        return Restart(f"{rollout.ref} failed before and gets another start")
    if rollout.wish == "promote":
        return Recreate("stable makes room: promoted by a person")
    if rollout.paused:
        return Hold("paused before stable makes room")
    held = stable_gone(seen) or window(rollout, now) or gate(rollout, seen, WHOLE, now)
    return held or Recreate("stable makes room for the canary")


def recreating(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    """Nothing answers: stop stable, start the canary, and give it all traffic."""
    if rollout.wish == "abort":
        return Return("aborted by a person while it was recreated", Phase.ABORTED)
    if elsewhere := no_room(rollout, seen.canary):
        return elsewhere
    if broken := broken_start(rollout, seen.canary):
        return Return(broken.reason, Phase.FAILED, broken.unservable)
    if seen.stable and seen.stable.state is not FleetState.ABSENT:
        return Stop(rollout.stable, f"stable makes room: {state(seen.stable)}")
    if seen.canary.state is not FleetState.READY or not seen.canary.digest:
        return _awaited(rollout, seen, now)
    return _examined(rollout) or _all_traffic(rollout)


def _awaited(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    until = (rollout.start_since or rollout.step_since or rollout.opened) + rollout.plan.start_timeout
    found = no_place(seen) or state(seen.canary)
    if now >= until:
        return Return(f"not ready after {rollout.plan.start_timeout}: {found}", Phase.FAILED)
    if seen.canary.state is FleetState.ABSENT and not seen.lacks:
        return Start(f"stable has made room for {rollout.ref}")
    return Hold(found, until=until)


def _examined(rollout: Rollout) -> Action | None:
    exam = examination(rollout)
    return Return(exam.reason, Phase.FAILED) if isinstance(exam, Fail) else exam


def _all_traffic(rollout: Rollout) -> Action:
    if rollout.wish == "promote":
        return Promote("promoted by a person before it was judged")
    return Bake("ready and warmed up") if rollout.plan.bake else Promote("ready and warmed up")


def returning(rollout: Rollout, seen: Observation) -> Action:
    """Nothing answers: stop the canary, start stable, and give it all traffic."""
    if seen.canary.state is not FleetState.ABSENT:
        return Stop(rollout.canary.id, f"the canary makes room: {state(seen.canary)}")
    stable = seen.stable.state if seen.stable else FleetState.ABSENT
    if stable is FleetState.READY:
        return RollBack(rollout.reason, rollout.then)
    if stable is FleetState.ABSENT:
        return StartStable("the canary has made room for stable")
    if stable is FleetState.FAILED:
        return Stop(rollout.stable, "stable failed to start again and gets another start")
    return Hold(f"stable is {stable}")
