"""Advance a rollout by one action at each wake-up: gather, decide, act, record.

Act and record are one conditional write wherever the action is a change of ours (the split lives in our endpoint
record), so a crash between them can't happen; asking the fleet twice starts nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.decide import decide, verdict_on
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import ended, promoted, shifted
from chalicelib.domain.rollout import (
    Action,
    Examine,
    Extend,
    Fail,
    Hold,
    Observation,
    Phase,
    Promote,
    Restart,
    RollBack,
    Rollout,
    Shift,
    Start,
)
from chalicelib.domain.traffic import Traffic
from chalicelib.pipeline.examine import examine
from chalicelib.pipeline.ports import Capacity, Ports, Write
from chalicelib.pipeline.records import Records, Stored, to_json
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_catalogue, wake_endpoint


def advance(name: str, ports: Ports) -> Action | None:
    """Take the one next action of an endpoint's open rollout; None when there is none."""
    records = Records(ports.registry)
    endpoint = records.endpoint(name)
    rollout = records.open_rollout(endpoint.value) if endpoint else None
    if not endpoint or not rollout:
        return None
    seen = observe(endpoint.value, rollout.value, ports)
    action = decide(rollout.value, seen, ports.clock())
    _act(action, _Gathered(endpoint, rollout, seen), ports)
    if isinstance(action, Promote | RollBack | Fail):
        wake_catalogue(rollout.value.ref, ports)
    wake_endpoint(name, ports, after=ports.pace)
    return action


def observe(endpoint: Endpoint, rollout: Rollout, ports: Ports) -> Observation:
    """Gather what a decision needs, from the world and not from our record of it."""
    since = rollout.step_since
    return Observation(
        canary=ports.fleet.observe(rollout.canary.id),
        stable=ports.fleet.observe(rollout.stable) if rollout.stable else None,
        split=endpoint.split,
        canary_traffic=ports.metrics.traffic(rollout.canary.id, since) if since else Traffic(),
        stable_traffic=ports.metrics.traffic(rollout.stable, since) if since and rollout.stable else Traffic(),
    )


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
        return {"judgement": to_json(verdict_on(rollout, self.seen))} if rollout.phase is Phase.STEPPING else {}


def _act(action: Action, at: _Gathered, ports: Ports) -> None:
    now = ports.clock()
    endpoint, rollout = at.endpoint.value, at.rollout.value
    match action:
        case Start(_, at_least):
            _start(Capacity(at_least, may_scale_in=False), at, ports)
        case Restart():
            ports.fleet.stop(rollout.canary.id)
            ports.registry.commit([at.rollout.to(retry=False).write])
        case Examine():
            examine(at.rollout, ports)
        case Hold():
            pass
        case Extend(reason):
            longer = replace(rollout, extensions=rollout.extensions + 1, reason=reason)
            _commit(at, (endpoint, longer), "rollout.extended", ports)
        case Shift(step, reason):
            _commit(at, shifted(endpoint, rollout, step, reason, now), "rollout.shifted", ports)
        case Promote(reason):
            _commit(at, promoted(endpoint, rollout, reason, now), "rollout.promoted", ports)
        case RollBack(reason, phase):
            _commit(at, ended(endpoint, rollout, phase, reason, now), f"rollout.{phase}", ports)
        case Fail(reason, unservable):
            after = ended(endpoint, rollout, Phase.FAILED, reason, now)
            _commit(at, after, "rollout.failed", ports, [_unservable(rollout, reason, ports)] if unservable else [])


def _start(capacity: Capacity, at: _Gathered, ports: Ports) -> None:
    """Ask the fleet for the canary; what it refuses for good (a bound, a quota) ends a rollout that has no traffic."""
    try:
        ports.fleet.ensure(at.rollout.value.canary, capacity)
    except Rejected as error:
        if at.rollout.value.phase is not Phase.STARTING:
            raise
        after = ended(at.endpoint.value, at.rollout.value, Phase.FAILED, str(error), ports.clock())
        _commit(at, after, "rollout.failed", ports)


def _commit(
    at: _Gathered, after: tuple[Endpoint, Rollout], kind: str, ports: Ports, also: Sequence[Write] = ()
) -> None:
    """Write both records, and tell the transition, all or nothing; raises Conflict."""
    served, rolled = after
    split = dict(served.split.weights)
    told = of_rollout(kind, rolled, rolled.reason, at=ports.clock(), split=split, **at.judgement)
    writes = [replace(at.endpoint, value=served).write, replace(at.rollout, value=rolled).write, *also]
    ports.registry.commit(writes, [told])


def _unservable(rollout: Rollout, reason: str, ports: Ports) -> Write:
    version = Records(ports.registry).version(rollout.ref)
    if not version:
        raise NotFound(f"{rollout.ref} has a rollout but is not registered")
    return version.to(unservable=reason).write
