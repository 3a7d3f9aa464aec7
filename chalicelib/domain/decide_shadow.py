"""What a rollout does while its canary answers copies of live requests, and nobody hears it."""

from datetime import datetime

from chalicelib.domain.decide_step import gate, stable_gone, take
from chalicelib.domain.decide_traffic import inconclusive, period, since, verdict_on
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.rollout import (
    Action,
    Fail,
    Hold,
    Judgement,
    Observation,
    Outcome,
    Phase,
    Promote,
    RollBack,
    Rollout,
    Shadow,
)
from chalicelib.domain.seen_words import crash, is_other, other_digest, state


def shadowing(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    verdict = verdict_on(rollout, seen)
    return (
        _by_wish(rollout, seen.canary)
        or _broken(rollout, seen.canary)
        or _worse(verdict)
        or _awaiting(seen)
        or _drift(rollout, seen)
        or _too_soon(rollout, now)
        or _by_verdict(rollout, seen, verdict, now)
    )


def _by_wish(rollout: Rollout, canary: Running) -> Action | None:
    if rollout.wish == "abort":
        return RollBack("aborted by a person while it was a shadow", Phase.ABORTED)
    if rollout.wish == "promote" and canary.state is FleetState.READY and canary.digest == rollout.canary.digest:
        return Promote("promoted by a person while it was a shadow")
    return None


def _broken(rollout: Rollout, canary: Running) -> Action | None:
    """End a canary that didn't survive its first live requests: nobody noticed."""
    if canary.restarts:
        return Fail(crash(canary), unservable=True)
    if canary.state in {FleetState.FAILED, FleetState.ABSENT, FleetState.STOPPING}:
        by_itself = canary.state is FleetState.FAILED and not canary.by_fleet
        return Fail(f"the canary is {state(canary)}", unservable=by_itself)
    if is_other(rollout, canary):
        return Fail(other_digest(rollout, canary), unservable=False)
    return None


def _worse(verdict: Judgement) -> Action | None:
    return Fail(f"as a shadow: {verdict.reason}", unservable=False) if verdict.outcome is Outcome.FAIL else None


def _awaiting(seen: Observation) -> Action | None:
    if seen.canary.state is not FleetState.READY or not seen.canary.digest:
        return Hold(f"the canary is {state(seen.canary)}")
    return stable_gone(seen)


def _drift(rollout: Rollout, seen: Observation) -> Action | None:
    """Have requests copied again that aren't, whoever stopped it."""
    if seen.shadow == rollout.canary.id:
        return None
    return Shadow(f"requests were copied to {seen.shadow or 'nobody'}: restored")


def _too_soon(rollout: Rollout, now: datetime) -> Action | None:
    if rollout.paused:
        return Hold("paused as a shadow")
    until = since(rollout) + period(rollout)
    return Hold("a shadow until its time is over", until=until) if now < until else None


def _by_verdict(rollout: Rollout, seen: Observation, verdict: Judgement, now: datetime) -> Action:
    if verdict.outcome is Outcome.PASS:
        return take(rollout, seen, 0, f"as a shadow: {verdict.reason}", now)
    if rollout.gate and (waiting := gate(rollout, seen, rollout.gate, now)):
        return waiting
    return inconclusive(rollout, verdict, now)
