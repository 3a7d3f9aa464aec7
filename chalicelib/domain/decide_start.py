"""What a rollout does before its canary has any traffic."""

from datetime import datetime

from chalicelib.domain.decide_step import gate, stable_gone, take
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.rollout import (
    Action,
    Examine,
    Fail,
    FallBack,
    Hold,
    Observation,
    Phase,
    Promote,
    Restart,
    RollBack,
    Rollout,
    Shadow,
    Start,
)
from chalicelib.domain.seen_words import crash, is_other, other_digest, state
from chalicelib.domain.split import WHOLE
from chalicelib.domain.strategy import AT_ONCE


def starting(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    if rollout.wish == "abort":
        return RollBack("aborted by a person before it had traffic", Phase.ABORTED)
    if rollout.retry and seen.canary.state is FleetState.FAILED:
        return Restart(f"{rollout.ref} failed before and gets another start")
    if broken := no_room(rollout, seen.canary) or broken_start(rollout, seen.canary):
        return broken
    if seen.canary.state is not FleetState.READY or not seen.canary.digest:
        return _await_start(rollout, seen, now)
    return examination(rollout) or _first_traffic(rollout, seen, now)


def examination(rollout: Rollout) -> Action | None:
    """Have golden.jsonl answered, as far as it isn't yet, also while paused: that is judging."""
    exam = rollout.exam
    if exam is None or rollout.wish == "promote":
        return None
    if exam.failure:
        return Fail(f"golden.jsonl: {exam.failure}", unservable=False)
    return None if exam.is_done else Examine(f"golden.jsonl: {exam.asked} lines answered so far")


def no_room(rollout: Rollout, canary: Running) -> Action | None:
    """Fall back on another instance type where it failed for want of room, and by no doing of the model's."""
    if canary.state is FleetState.FAILED and canary.by_fleet and rollout.next_type:
        return FallBack(rollout.next_type, f"{canary.reason}; {rollout.next_type} is tried instead")
    return None


def broken_start(rollout: Rollout, canary: Running) -> Fail | None:
    if canary.state is FleetState.FAILED:
        reason = canary.reason or "the canary failed to start and said nothing"
        return Fail(reason, unservable=not canary.by_fleet, drift=canary.drifted)
    if canary.restarts:
        return Fail(crash(canary), unservable=True)
    if is_other(rollout, canary):
        return Fail(other_digest(rollout, canary), unservable=False, drift=True)
    return None


def _await_start(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    found = no_place(seen) or state(seen.canary)
    until = (rollout.start_since or rollout.opened) + rollout.plan.start_timeout
    if now >= until and not rollout.paused:
        return Fail(f"not ready after {rollout.plan.start_timeout}: {found}", unservable=False)
    if seen.canary.state is FleetState.ABSENT and not seen.lacks:
        return Start(f"{rollout.ref} doesn't run yet")
    return Hold(found, until=None if rollout.paused else until)


def no_place(seen: Observation) -> str:
    """Say that it isn't started, for stable would have to pay for it."""
    return f"not started, for there is no room: {seen.lacks}" if seen.lacks else ""


def _first_traffic(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    if rollout.wish == "promote":
        return Promote("promoted by a person before it was judged")
    if rollout.paused:
        return Hold("ready; paused before its first traffic")
    if not rollout.stable:
        first = Promote("first version of the endpoint: ready and warmed up")
        return gate(rollout, seen, WHOLE, now) or first
    if halt := stable_gone(seen):
        return halt
    if rollout.plan.steps[0] >= WHOLE and rollout.plan.strategy not in AT_ONCE:
        return Hold("the plan has no step below 100 %, so nothing can be judged: promote by hand")
    warm = "ready and warmed up"
    return Shadow(warm) if rollout.plan.shadow else take(rollout, seen, 0, warm, now)
