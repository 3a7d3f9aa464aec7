"""What a rollout does next: one action from its record, what is seen and the time.

Pure, total and without memory: the same three values always give the same action, so a wake-up may come early, late,
twice or not at all. A gate is a function that returns an action, or None to let the next one look; their order is the
policy, and docs/rollout.md has it as a table.
"""

from datetime import datetime
from math import ceil

from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.judge import judge
from chalicelib.domain.rollout import (
    Action,
    Examine,
    Extend,
    Fail,
    Hold,
    Judgement,
    Observation,
    OnInconclusive,
    Outcome,
    Phase,
    Promote,
    Restart,
    RollBack,
    Rollout,
    Shift,
    Start,
)
from chalicelib.domain.split import WHOLE


def decide(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    """Return the one next action."""
    match rollout.phase:
        case Phase.STARTING:
            return _starting(rollout, seen, now)
        case Phase.STEPPING:
            return _stepping(rollout, seen, now)
        case _:
            return Hold(f"the rollout has ended: {rollout.phase}")


def verdict_on(rollout: Rollout, seen: Observation) -> Judgement:
    """Return the verdict on the present step; an endpoint's first version is judged by itself."""
    stable = seen.stable_traffic if rollout.stable else None
    return judge(seen.canary_traffic, stable, rollout.plan.thresholds)


# --- before any traffic ------------------------------------------------------------------------------------------
def _starting(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    if rollout.wish == "abort":
        return RollBack("aborted by a person before it had traffic", Phase.ABORTED)
    if rollout.retry and seen.canary.state is FleetState.FAILED:
        return Restart(f"{rollout.ref} failed before and gets another start")
    if broken := _broken_start(rollout, seen.canary):
        return broken
    if seen.canary.state is not FleetState.READY or not seen.canary.digest:
        return _await_start(rollout, seen.canary, now)
    return _examination(rollout) or _first_traffic(rollout, seen)


def _broken_start(rollout: Rollout, canary: Running) -> Action | None:
    if canary.state is FleetState.FAILED:
        reason = canary.reason or "the canary failed to start and said nothing"
        return Fail(reason, unservable=not canary.by_fleet)
    if canary.restarts:
        return Fail(_crash(canary), unservable=True)
    if _is_other(rollout, canary):
        return Fail(_other_digest(rollout, canary), unservable=False)
    return None


def _await_start(rollout: Rollout, canary: Running, now: datetime) -> Action:
    until = rollout.opened + rollout.plan.start_timeout
    if now >= until and not rollout.paused:
        return Fail(f"not ready after {rollout.plan.start_timeout}: {_state(canary)}", unservable=False)
    if canary.state is FleetState.ABSENT:
        return Start(f"{rollout.ref} doesn't run yet")
    return Hold(_state(canary), until=None if rollout.paused else until)


def _first_traffic(rollout: Rollout, seen: Observation) -> Action:
    if rollout.wish == "promote":
        return Promote("promoted by a person before it was judged")
    if rollout.paused:
        return Hold("ready; paused before its first traffic")
    if not rollout.stable:
        return Promote("first version of the endpoint: ready and warmed up")
    if halt := _stable_gone(seen):
        return halt
    if rollout.plan.steps[0] >= WHOLE:
        return Hold("the plan has no step below 100 %, so nothing can be judged: promote by hand")
    return _take(rollout, seen, 0, "ready and warmed up")


def _examination(rollout: Rollout) -> Action | None:
    """Have golden.jsonl answered, as far as it isn't yet, also while paused: that is judging."""
    exam = rollout.exam
    if exam is None or rollout.wish == "promote":
        return None
    if exam.failure:
        return Fail(f"golden.jsonl: {exam.failure}", unservable=False)
    return None if exam.is_done else Examine(f"golden.jsonl: {exam.asked} lines answered so far")


# --- with traffic ------------------------------------------------------------------------------------------------
def _stepping(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    verdict = verdict_on(rollout, seen)
    return (
        _promote_wish(rollout, seen)
        or _stable_gone(seen)
        or _abort_wish(rollout)
        or _broken(rollout, seen.canary)
        or _worse(verdict)
        or _awaiting(seen.canary)
        or _drift(rollout, seen)
        or _too_soon(rollout, now)
        or _by_verdict(rollout, seen, verdict, now)
    )


def _promote_wish(rollout: Rollout, seen: Observation) -> Action | None:
    ready = seen.canary.state is FleetState.READY and seen.canary.digest == rollout.canary.digest
    if rollout.wish == "promote" and ready:
        return Promote(f"promoted by a person at {rollout.weight} %")
    return None


def _stable_gone(seen: Observation) -> Action | None:
    """Halt while there is nothing to go back to: what answers goes on answering."""
    if seen.stable and seen.stable.state is FleetState.READY:
        return None
    found = _state(seen.stable) if seen.stable else "not there"
    return Hold(f"halted: stable is {found}, so there is nothing to go back to")


def _abort_wish(rollout: Rollout) -> Action | None:
    return RollBack(f"aborted by a person at {rollout.weight} %", Phase.ABORTED) if rollout.wish == "abort" else None


def _broken(rollout: Rollout, canary: Running) -> Action | None:
    if canary.restarts:
        return RollBack(_crash(canary))
    if canary.state in {FleetState.FAILED, FleetState.ABSENT, FleetState.STOPPING}:
        return RollBack(f"the canary is {_state(canary)}")
    if _is_other(rollout, canary):
        return RollBack(_other_digest(rollout, canary))
    return None


def _worse(verdict: Judgement) -> Action | None:
    return RollBack(verdict.reason) if verdict.outcome is Outcome.FAIL else None


def _awaiting(canary: Running) -> Action | None:
    """Wait for a canary that is on its way back; the fleet calls it failed when that takes too long."""
    return None if canary.state is FleetState.READY and canary.digest else Hold(f"the canary is {_state(canary)}")


def _drift(rollout: Rollout, seen: Observation) -> Action | None:
    """Restore a split that isn't what the record asks for, whoever changed it."""
    asked = {rollout.stable: WHOLE - rollout.weight, rollout.canary.id: rollout.weight}
    found = {deployment: weight for deployment, weight in seen.split.weights.items() if weight}
    if found == asked:
        return None
    return Shift(rollout.step, f"the split is {found}, not {asked}: restored")


def _too_soon(rollout: Rollout, now: datetime) -> Action | None:
    if rollout.paused:
        return Hold(f"paused at {rollout.weight} %")
    until = _since(rollout) + rollout.plan.step_time
    return Hold(f"at {rollout.weight} % until the step's time is over", until=until) if now < until else None


def _by_verdict(rollout: Rollout, seen: Observation, verdict: Judgement, now: datetime) -> Action:
    if verdict.outcome is Outcome.PASS:
        return _take(rollout, seen, rollout.step + 1, verdict.reason)
    until = _since(rollout) + rollout.plan.step_time * (1 + rollout.extensions)
    if now < until:
        return Hold(verdict.reason, until=until)
    if rollout.extensions < rollout.plan.max_extensions:
        return Extend(verdict.reason)
    if rollout.plan.on_inconclusive is OnInconclusive.ABORT:
        return RollBack(f"inconclusive: {verdict.reason}", Phase.ABORTED)
    return Hold(f"inconclusive, waits for a person or for evidence: {verdict.reason}")


def _take(rollout: Rollout, seen: Observation, step: int, why: str) -> Action:
    """Go to a step if the canary has room for its share; 100 % is promotion itself."""
    weight = rollout.plan.steps[step] if step < len(rollout.plan.steps) else WHOLE
    stable = seen.stable.ready if seen.stable else 0
    share = max(1, ceil(weight * stable / WHOLE))
    if seen.canary.ready < min(share, seen.canary.most):
        return Start(f"{weight} % needs {share} ready replicas, the canary has {seen.canary.ready}", at_least=share)
    if seen.canary.ready < share:
        return Hold(f"{weight} % needs {share} ready replicas, the canary has {seen.canary.ready}")
    return Promote(why) if weight == WHOLE else Shift(step, why)


# --- in words ----------------------------------------------------------------------------------------------------
def _since(rollout: Rollout) -> datetime:
    return rollout.step_since or rollout.opened


def _is_other(rollout: Rollout, canary: Running) -> bool:
    """Tell whether it answers with another digest; one that it hasn't said yet is awaited."""
    return canary.state is FleetState.READY and canary.digest not in {"", rollout.canary.digest}


def _other_digest(rollout: Rollout, canary: Running) -> str:
    return f"the canary serves digest {canary.digest}, not the registered {rollout.canary.digest}"


def _crash(canary: Running) -> str:
    return f"the canary exited {canary.restarts} times unasked" + (f": {canary.reason}" if canary.reason else "")


def _state(running: Running) -> str:
    return f"{running.state}: {running.reason}" if running.reason else str(running.state)
