"""Advance a rollout by one action at each wake-up: gather, decide, act, record.

Act and record are one conditional write wherever the action is a change of ours (the split lives in our endpoint
record), so a crash between them can't happen; asking the fleet twice starts nothing twice.
"""

from collections.abc import Sequence
from dataclasses import replace

from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import ended, promoted, shifted
from chalicelib.domain.rollout import (
    Action,
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
from chalicelib.pipeline.ports import Capacity, Ports, Write
from chalicelib.pipeline.records import Records, Stored
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
    _act(action, endpoint, rollout, ports)
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


def _act(action: Action, endpoint: Stored[Endpoint], rollout: Stored[Rollout], ports: Ports) -> None:
    now = ports.clock()
    match action:
        case Start(_, at_least):
            _start(Capacity(at_least, may_scale_in=False), endpoint, rollout, ports)
        case Restart():
            ports.fleet.stop(rollout.value.canary.id)
            ports.registry.commit([rollout.to(retry=False).write])
        case Hold():
            pass
        case Extend(reason):
            longer = replace(rollout.value, extensions=rollout.value.extensions + 1, reason=reason)
            _commit(endpoint, rollout, (endpoint.value, longer), "rollout.extended", ports)
        case Shift(step, reason):
            _commit(
                endpoint, rollout, shifted(endpoint.value, rollout.value, step, reason, now), "rollout.shifted", ports
            )
        case Promote(reason):
            _commit(endpoint, rollout, promoted(endpoint.value, rollout.value, reason, now), "rollout.promoted", ports)
        case RollBack(reason, phase):
            after = ended(endpoint.value, rollout.value, phase, reason, now)
            _commit(endpoint, rollout, after, f"rollout.{phase}", ports)
        case Fail(reason, unservable):
            after = ended(endpoint.value, rollout.value, Phase.FAILED, reason, now)
            marked = [_unservable(rollout.value, reason, ports)] if unservable else []
            _commit(endpoint, rollout, after, "rollout.failed", ports, marked)


def _start(capacity: Capacity, endpoint: Stored[Endpoint], rollout: Stored[Rollout], ports: Ports) -> None:
    """Ask the fleet for the canary; what it refuses for good (a bound, a quota) ends a rollout that has no traffic."""
    try:
        ports.fleet.ensure(rollout.value.canary, capacity)
    except Rejected as error:
        if rollout.value.phase is not Phase.STARTING:
            raise
        after = ended(endpoint.value, rollout.value, Phase.FAILED, str(error), ports.clock())
        _commit(endpoint, rollout, after, "rollout.failed", ports)


def _commit(  # noqa: PLR0917 - the two records, what they become, and what to tell
    endpoint: Stored[Endpoint],
    rollout: Stored[Rollout],
    after: tuple[Endpoint, Rollout],
    kind: str,
    ports: Ports,
    also: Sequence[Write] = (),
) -> None:
    """Write both records, and tell the transition, all or nothing; raises Conflict."""
    served, rolled = after
    told = of_rollout(kind, rolled, rolled.reason, at=ports.clock(), split=dict(served.split.weights))
    writes = [replace(endpoint, value=served).write, replace(rollout, value=rolled).write, *also]
    ports.registry.commit(writes, [told])


def _unservable(rollout: Rollout, reason: str, ports: Ports) -> Write:
    version = Records(ports.registry).version(rollout.ref)
    if not version:
        raise NotFound(f"{rollout.ref} has a rollout but is not registered")
    return version.to(unservable=reason).write
