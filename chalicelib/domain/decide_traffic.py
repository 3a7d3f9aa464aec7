"""What a rollout does while its canary has traffic: a share of it step by step, then all of it while it bakes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from chalicelib.domain.decide_step import gate, stable_gone, take
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.judge import LEAST_STABLE, is_sick, judge
from chalicelib.domain.proof import contradiction, is_whole
from chalicelib.domain.rollout import (
    Action,
    Extend,
    Hold,
    Judgement,
    Observation,
    OnInconclusive,
    Outcome,
    Phase,
    Promote,
    Return,
    RollBack,
    Rollout,
    Synthesize,
    Thresholds,
)
from chalicelib.domain.seen_words import crash, is_other, other_digest, state
from chalicelib.domain.split import WHOLE
from chalicelib.domain.synthetic import Synthetic, SyntheticUse, how_many
from chalicelib.domain.traffic import Traffic


def with_traffic(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    action = _decided(rollout, seen, now)
    if isinstance(action, RollBack) and rollout.recreates:
        return Return(action.reason, action.phase, drift=action.drift)  # there is nothing yet to go back to
    return action


def _decided(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    verdict = verdict_on(rollout, seen)
    return (
        _promote_wish(rollout, seen)
        or (None if rollout.recreates else stable_gone(seen))
        or _abort_wish(rollout)
        or _broken(rollout, seen.canary)
        or _worse(verdict)
        or _awaiting(seen.canary)
        or _drift(rollout, seen)
        or _contradicted(rollout, seen)
        or _too_soon(rollout, now)
        or _by_verdict(rollout, seen, verdict, now)
    )


def verdict_on(rollout: Rollout, seen: Observation) -> Judgement:
    """Return the verdict on the present window.

    What bakes has all traffic, so it is held against stable's last window; where that is too thin or was sick, the
    canary is judged in absolute terms.
    """
    verdict = judge(seen.canary_traffic, _yardstick(rollout, seen), _thresholds(rollout))
    synthetic = rollout.synthetic
    if verdict.outcome is not Outcome.INCONCLUSIVE or not (synthetic and synthetic.is_done):
        return verdict
    return _with_synthetic(verdict, synthetic, rollout)


def _with_synthetic(verdict: Judgement, synthetic: Synthetic, rollout: Rollout) -> Judgement:
    """Return the verdict with what requests of ours say, where those of callers say too little."""
    ours = replace(_thresholds(rollout), min_requests=how_many(_thresholds(rollout).min_requests))
    made = judge(synthetic.canary, synthetic.stable, ours)
    said = (
        f"of {synthetic.asked} synthetic requests to each side ({synthetic.origin}): {synthetic.reason or made.reason}"
    )
    if made.outcome is Outcome.FAIL:
        return replace(made, reason=said)
    if made.outcome is Outcome.PASS and rollout.plan.synthetic is SyntheticUse.JUDGE:
        return replace(made, reason=said)
    return replace(verdict, reason=f"{verdict.reason}; {said}")


def _thresholds(rollout: Rollout) -> Thresholds:
    """Return what holds in the present phase: a shadow has a number of requests of its own."""
    thresholds, shadow = rollout.plan.thresholds, rollout.plan.shadow
    if rollout.phase is Phase.SHADOWING and shadow:
        return replace(thresholds, min_requests=shadow.min_requests)
    return thresholds


def _yardstick(rollout: Rollout, seen: Observation) -> Traffic | None:
    last = seen.stable_traffic if rollout.stable else None
    if last and rollout.phase is Phase.BAKING and (last.answered < LEAST_STABLE or is_sick(last)):
        return None
    return last


def _promote_wish(rollout: Rollout, seen: Observation) -> Action | None:
    ready = seen.canary.state is FleetState.READY and seen.canary.digest == rollout.canary.digest
    if rollout.wish == "promote" and ready:
        return Promote(f"promoted by a person at {rollout.weight} %")
    return None


def _abort_wish(rollout: Rollout) -> Action | None:
    return RollBack(f"aborted by a person at {rollout.weight} %", Phase.ABORTED) if rollout.wish == "abort" else None


def _broken(rollout: Rollout, canary: Running) -> Action | None:
    if canary.restarts:
        return RollBack(crash(canary))
    if canary.state in {FleetState.FAILED, FleetState.ABSENT, FleetState.STOPPING}:
        return RollBack(f"the canary is {state(canary)}", drift=canary.drifted)
    if is_other(rollout, canary):
        return RollBack(other_digest(rollout, canary), drift=True)
    return None


def _worse(verdict: Judgement) -> Action | None:
    return RollBack(verdict.reason) if verdict.outcome is Outcome.FAIL else None


def _awaiting(canary: Running) -> Action | None:
    """Wait for a canary that is on its way back; the fleet calls it failed when that takes too long."""
    return None if canary.state is FleetState.READY and canary.digest else Hold(f"the canary is {state(canary)}")


def _drift(rollout: Rollout, seen: Observation) -> Action | None:
    """Go back when the split isn't what the record asks for: what was judged isn't what was served."""
    asked = _with_traffic({rollout.stable: WHOLE - rollout.weight, rollout.canary.id: rollout.weight})
    found = _with_traffic(seen.split.weights)
    if found == asked:
        return None
    return RollBack(f"the split is {found}, not {asked}", drift=True)


def _contradicted(rollout: Rollout, seen: Observation) -> Action | None:
    """Go back when callers are answered otherwise than the split says, or by other bytes than the registered."""
    wrong = contradiction(seen.answers, {rollout.canary.id: rollout.canary.digest})
    return RollBack(wrong, drift=True) if wrong else None


def _with_traffic(weights: Mapping[str, int]) -> dict[str, int]:
    return {deployment: weight for deployment, weight in weights.items() if weight}


def _too_soon(rollout: Rollout, now: datetime) -> Action | None:
    if rollout.paused:
        return Hold(f"paused at {rollout.weight} %")
    until = since(rollout) + period(rollout)
    if now >= until:
        return None
    return Hold(f"at {rollout.weight} % until the {_what(rollout)}'s time is over", until=until)


def _by_verdict(rollout: Rollout, seen: Observation, verdict: Judgement, now: datetime) -> Action:
    if verdict.outcome is Outcome.PASS:
        return _onward(rollout, seen, verdict.reason, now)
    if rollout.gate and (waiting := gate(rollout, seen, rollout.gate, now)):
        return waiting
    return inconclusive(rollout, verdict, now)


def _onward(rollout: Rollout, seen: Observation, why: str, now: datetime) -> Action:
    if not is_whole(seen.answers):
        return Hold(f"{why}; who answers on the public path isn't proven yet")
    if rollout.phase is Phase.BAKING:
        return Promote(why)
    return take(rollout, seen, rollout.step + 1, why, now)


def inconclusive(rollout: Rollout, verdict: Judgement, now: datetime) -> Action:
    """Wait for evidence, extend, and then do what the plan says."""
    until = since(rollout) + period(rollout) * (1 + rollout.extensions)
    if now < until:
        return Hold(verdict.reason, until=until)
    if rollout.extensions < rollout.plan.max_extensions:
        return Extend(verdict.reason)
    if _may_be_asked(rollout):
        return Synthesize(f"{verdict.reason}; synthetic requests are asked")
    if rollout.plan.on_inconclusive is OnInconclusive.ABORT:
        return RollBack(f"inconclusive: {verdict.reason}", Phase.ABORTED)
    return Hold(f"inconclusive, waits for a person or for evidence: {verdict.reason}")


def _may_be_asked(rollout: Rollout) -> bool:
    """Tell whether synthetic requests are still to be asked: of both sides, so both have to run."""
    waiting = rollout.synthetic is not None and not rollout.synthetic.is_done
    return waiting and rollout.plan.synthetic is not SyntheticUse.OFF and not rollout.recreates


def since(rollout: Rollout) -> datetime:
    return rollout.step_since or rollout.opened


def period(rollout: Rollout) -> timedelta:
    """Return the least time of the present phase's step."""
    match rollout.phase:
        case Phase.BAKING:
            return rollout.plan.bake
        case Phase.SHADOWING if rollout.plan.shadow:
            return rollout.plan.shadow.time
        case _:
            return rollout.plan.step_time


def _what(rollout: Rollout) -> str:
    return "bake" if rollout.phase is Phase.BAKING else "step"
