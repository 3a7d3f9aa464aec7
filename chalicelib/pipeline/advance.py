"""Advance a rollout by one action at each wake-up: gather, decide, act, record.

Act and record are one conditional write wherever the action is a change of ours (the split lives in our endpoint
record), so a crash between them can't happen; asking the fleet twice starts nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chalicelib.domain.carry_out import Change, carry_out
from chalicelib.domain.decide import decide
from chalicelib.domain.decide_traffic import verdict_on
from chalicelib.domain.deployment import Endpoint, FleetState
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.proof import Asked, to_ask
from chalicelib.domain.question import Question
from chalicelib.domain.rollout import (
    JUDGED,
    WITH_TRAFFIC,
    Action,
    Approve,
    Await,
    Examine,
    Fail,
    FallBack,
    Hold,
    Observation,
    Phase,
    Promote,
    Restart,
    Return,
    RollBack,
    Rollout,
    Start,
    StartStable,
    Stop,
    Synthesize,
)
from chalicelib.domain.split import WHOLE
from chalicelib.domain.traffic import Traffic
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.examine import examine
from chalicelib.pipeline.open_rollout import open_queued
from chalicelib.pipeline.ports import Capacity, Ports, Write
from chalicelib.pipeline.records import Records, Stored, to_json
from chalicelib.pipeline.synthesize import synthesize
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_catalogue, wake_endpoint

_OVER_QUOTA = "over_quota"  # of a fleet that has no more of an instance type to give


def advance(name: str, ports: Ports) -> Action | None:
    """Take the one next action of an endpoint's open rollout, or open the one that waits; None when there is none."""
    records = Records(ports.registry)
    endpoint = records.endpoint(name)
    rollout = records.open_rollout(endpoint.value) if endpoint else None
    if not endpoint or not rollout:
        open_queued(name, ports)
        return None
    seen = _asked(rollout.value, observe(endpoint.value, rollout.value, ports), ports)
    seen = replace(seen, answers=_answers(endpoint.value, rollout.value, ports))
    action = decide(rollout.value, seen, ports.clock())
    _act(action, _Gathered(endpoint, rollout, seen), ports)
    if isinstance(action, Promote | RollBack | Fail):
        wake_catalogue(rollout.value.ref, ports)
    wake_endpoint(name, ports, after=ports.pace)
    return action


def observe(endpoint: Endpoint, rollout: Rollout, ports: Ports) -> Observation:
    """Gather what a decision needs, from the world and not from our record of it."""
    since = rollout.step_since
    canary = ports.fleet.observe(rollout.canary.id)
    return Observation(
        canary=canary,
        stable=ports.fleet.observe(rollout.stable) if rollout.stable else None,
        split=endpoint.split,
        shadow=endpoint.shadow.deployment if endpoint.shadow else "",
        canary_traffic=ports.metrics.traffic(rollout.canary.id, since) if since else Traffic(),
        stable_traffic=_of_stable(rollout, ports),
        lacks=ports.fleet.lacks(rollout.canary) if canary.state is FleetState.ABSENT else "",
    )


def _asked(rollout: Rollout, seen: Observation, ports: Ports) -> Observation:
    """Return what was seen with the answer of whom the gate names, where the rollout waits at such a one."""
    ask = next((gate.ask for gate in rollout.plan.gates if gate.before == rollout.gate), "")
    if not ask:
        return seen
    why = verdict_on(rollout, seen).reason if rollout.phase in WITH_TRAFFIC else "ready and warmed up"
    question = Question(rollout.endpoint, str(rollout.ref), rollout.id, rollout.gate, why)
    return replace(seen, agreed=ports.questions.may_go_on(ask, question))


def _answers(endpoint: Endpoint, rollout: Rollout, ports: Ports) -> Sequence[Asked]:
    """Ask on the public path who answers callers next to the split's borders."""
    if not ports.prober or rollout.phase not in WITH_TRAFFIC:
        return ()
    asked = to_ask(endpoint.split)
    served = ports.prober.ask(endpoint.name, [each.key for each in asked])
    return [replace(each, served=served.get(each.key)) for each in asked]


def _of_stable(rollout: Rollout, ports: Ports) -> Traffic:
    """Return stable's traffic in the step's window; of a canary that bakes or that gets all at once, in the last."""
    if rollout.phase in {Phase.RECREATING, Phase.BAKING}:
        return rollout.baseline or Traffic()
    since = rollout.step_since or (rollout.opened if rollout.plan.steps[0] == WHOLE else None)
    return ports.metrics.traffic(rollout.stable, since) if since and rollout.stable else Traffic()


@dataclass(frozen=True)
class _Gathered:
    """What an action was decided by."""

    endpoint: Stored[Endpoint]
    rollout: Stored[Rollout]
    seen: Observation

    @property
    def judgement(self) -> Mapping[str, Any]:
        """Return what an event says of the verdict: nothing before there was one."""
        rollout = self.rollout.value
        return {"judgement": to_json(verdict_on(rollout, self.seen))} if rollout.phase in JUDGED else {}


def _act(action: Action, at: _Gathered, ports: Ports) -> None:
    rollout = at.rollout.value
    match action:
        case Start(_, at_least):
            _start(Capacity(at_least, may_scale_in=False), at, ports)
        case Restart():
            ports.fleet.stop(rollout.canary.id)
            ports.registry.commit([at.rollout.to(retry=False).write])
        case Examine():
            examine(at.rollout, ports)
        case Stop(deployment):
            ports.fleet.stop(deployment)
        case StartStable():
            ports.fleet.ensure(at.endpoint.value.deployments[rollout.stable], Capacity(may_scale_in=False))
        case Synthesize():
            synthesize(at.rollout, ports)
        case Hold():
            pass
        case Fail(reason, unservable=True) | Return(reason, unservable=True):
            _change(action, at, ports, [_unservable(rollout, reason, ports)])
        case _:
            _change(action, at, ports)


def _start(capacity: Capacity, at: _Gathered, ports: Ports) -> None:
    """Ask the fleet for the canary; what it refuses for good (a bound, a quota) ends a rollout that has no traffic."""
    try:
        ports.fleet.ensure(at.rollout.value.canary, capacity)
    except Rejected as error:
        match at.rollout.value.phase:
            case Phase.STARTING | Phase.RECREATING if error.code == _OVER_QUOTA and at.rollout.value.next_type:
                _change(FallBack(at.rollout.value.next_type, str(error)), at, ports)
            case Phase.STARTING | Phase.SHADOWING:
                _change(Fail(str(error), unservable=False), at, ports)
            case Phase.RECREATING:
                _change(Return(str(error), Phase.FAILED), at, ports)
            case _:
                raise


def _change(action: Change, at: _Gathered, ports: Ports, also: Sequence[Write] = ()) -> None:
    """Write both records, and tell the transition, all or nothing; raises Conflict."""
    now = ports.clock()
    kind, served, rolled = carry_out(action, at.endpoint.value, at.rollout.value, at.seen, now)
    data = {"split": dict(served.split.weights), **_about(action), **at.judgement}
    told = of_rollout(kind, rolled, rolled.reason, at=now, **data)
    writes = [replace(at.endpoint, value=served).write, replace(at.rollout, value=rolled).write, *also]
    ports.registry.commit(writes, [*_drift(action, at, now), told])


def _drift(action: Change, at: _Gathered, now: datetime) -> list[Transition]:
    """Return what is told of something that serves otherwise than was asked, before what comes of it."""
    if not (isinstance(action, Return | RollBack | Fail) and action.drift):
        return []
    found = dict(at.endpoint.value.split.weights)
    return [of_rollout("rollout.drifted", at.rollout.value, action.reason, at=now, split=found)]


def _about(action: Change) -> dict[str, Any]:
    match action:
        case Await(weight) | Approve(weight):
            return {"gate": weight}
        case FallBack(instance_type):
            return {"instance_type": instance_type}
    return {}


def _unservable(rollout: Rollout, reason: str, ports: Ports) -> Write:
    version = Records(ports.registry).version(rollout.ref)
    if not version:
        raise NotFound(f"{rollout.ref} has a rollout but is not registered")
    return version.to(unservable=reason).write
