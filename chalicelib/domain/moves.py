"""What an endpoint and its rollout become by each move of traffic: pure, so that both are written in one go."""

from dataclasses import replace
from datetime import datetime, timedelta

from chalicelib.domain.deployment import Endpoint, on_type
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.shadow import Shadowing
from chalicelib.domain.split import WHOLE, Split
from chalicelib.domain.traffic import Traffic

# A request that was routed by the last split may still be on its way.
LINGER = timedelta(minutes=1)


def opened(endpoint: Endpoint, rollout: Rollout) -> Endpoint:
    """Return the endpoint with a rollout open and its canary among the deployments; traffic stays as it is."""
    return replace(
        endpoint,
        deployments={**endpoint.deployments, rollout.canary.id: rollout.canary},
        retiring={i: at for i, at in endpoint.retiring.items() if i != rollout.canary.id},
        rollout=rollout.id,
    )


def shadowed(endpoint: Endpoint, rollout: Rollout, reason: str, now: datetime) -> tuple[Endpoint, Rollout]:
    """Have live requests copied to the canary; what it answers is counted from now on."""
    after = replace(_anew(rollout), phase=Phase.SHADOWING, step_since=now, reason=reason)
    how = rollout.plan.shadow
    return replace(endpoint, shadow=Shadowing(rollout.canary.id, rollout.id, how) if how else None), after


def shifted(endpoint: Endpoint, rollout: Rollout, step: int, reason: str, now: datetime) -> tuple[Endpoint, Rollout]:
    """Give the canary the weight of a step, whose window begins now."""
    phase = Phase.BAKING if rollout.plan.steps[step] == WHOLE else Phase.STEPPING
    after = replace(_anew(rollout), phase=phase, step=step, step_since=now, reason=reason)
    split = Split.between(after.stable, after.canary.id, after.weight, after.id)
    return replace(endpoint, split=split, shadow=None), after


def _anew(rollout: Rollout) -> Rollout:
    """Return it without what was gathered for the step before."""
    return replace(rollout, extensions=0, synthetic=rollout.synthetic and rollout.synthetic.anew)


def baking(endpoint: Endpoint, rollout: Rollout, reason: str, now: datetime, last: Traffic) -> tuple[Endpoint, Rollout]:
    """Give the canary all traffic; it is judged on, by stable's `last` window, and stable is what is promoted."""
    return shifted(endpoint, replace(rollout, baseline=last), len(rollout.plan.steps) - 1, reason, now)


def fallen_back(
    endpoint: Endpoint, rollout: Rollout, instance_type: str, reason: str, now: datetime
) -> tuple[Endpoint, Rollout]:
    """Give the canary another instance type; what was begun on the one before retires."""
    canary = on_type(rollout.canary, instance_type)
    after = replace(rollout, canary=canary, start_since=now, reason=reason)
    return replace(opened(endpoint, after), retiring={**endpoint.retiring, rollout.canary.id: now}), after


def recreating(
    endpoint: Endpoint, rollout: Rollout, reason: str, now: datetime, last: Traffic
) -> tuple[Endpoint, Rollout]:
    """Have stable make room; the split stays as it is, and nobody answers for it."""
    after = replace(rollout, phase=Phase.RECREATING, step_since=now, reason=reason, baseline=last)
    return replace(endpoint, asleep=rollout.stable), after


def returning(rollout: Rollout, then: Phase, reason: str) -> Rollout:
    """Have the canary make room for stable again."""
    return replace(rollout, phase=Phase.RETURNING, then=then, reason=reason)


def approved(rollout: Rollout, reason: str) -> Rollout:
    """Open the gate that the rollout waits at."""
    return replace(rollout, approved=(*rollout.approved, rollout.gate), gate=0, gate_since=None, reason=reason)


def promoted(endpoint: Endpoint, rollout: Rollout, reason: str, now: datetime) -> tuple[Endpoint, Rollout]:
    """Give the canary all traffic; the deployment it replaces stays warm, the one before that retires."""
    canary = rollout.canary.id
    before = endpoint.promoted if endpoint.promoted != canary else endpoint.previous
    before = before if before != endpoint.asleep else ""  # there was no room to keep it warm
    left = {endpoint.previous, endpoint.asleep} - {"", canary, before}
    after = replace(
        endpoint,
        split=Split({canary: WHOLE}, rollout.id),
        shadow=None,
        promoted=canary,
        previous=before,
        previous_until=now + rollout.plan.keep_warm if before else None,
        retiring={**endpoint.retiring, **dict.fromkeys(left, now + LINGER)},
        rollout=rollout.id,
        asleep="",
    )
    return after, replace(rollout, phase=Phase.PROMOTED, reason=reason, ended=now)


def ended(endpoint: Endpoint, rollout: Rollout, phase: Phase, reason: str, now: datetime) -> tuple[Endpoint, Rollout]:
    """Give all traffic back to what was promoted last; the canary retires once nobody can be on the way to it."""
    canary = rollout.canary.id
    kept = {endpoint.promoted, endpoint.previous}
    retiring = endpoint.retiring if canary in kept else {**endpoint.retiring, canary: now + LINGER}
    split = Split({endpoint.promoted: WHOLE}, rollout.id) if endpoint.promoted else Split()
    after = replace(endpoint, split=split, shadow=None, retiring=retiring, asleep="")
    return after, replace(rollout, phase=phase, reason=reason, ended=now)


def without_retired(endpoint: Endpoint, now: datetime) -> Endpoint:
    """Return the endpoint without the deployments whose time is over."""
    retiring = dict(endpoint.retiring)
    previous = endpoint.previous
    if previous and endpoint.previous_until and endpoint.previous_until <= now:
        retiring[previous] = now
        previous = ""
    after = replace(endpoint, previous=previous, previous_until=endpoint.previous_until if previous else None)
    over = {i for i, at in retiring.items() if at <= now and i not in after.named}
    return replace(
        after,
        retiring={i: at for i, at in retiring.items() if i not in over and i not in after.named},
        deployments={i: d for i, d in endpoint.deployments.items() if i not in over},
    )


def let_go(before: Endpoint, after: Endpoint, canary: str, now: datetime) -> Endpoint:
    """Return what an endpoint becomes, with what was named before and isn't any more retiring.

    `canary` is an open rollout's: that one retires when its rollout ends.
    """
    left = (before.named - after.named - {canary}) & after.deployments.keys()
    return replace(after, retiring={**after.retiring, **dict.fromkeys(sorted(left), now + LINGER)})


def next_retirement(endpoint: Endpoint) -> datetime | None:
    """Return when the next deployment of an endpoint is over."""
    times = [*endpoint.retiring.values(), *([endpoint.previous_until] if endpoint.previous_until else [])]
    return min(times, default=None)
