"""Open the rollout of a registered version: at once, in the place of the one that is open, or when that has ended."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chalicelib.domain.cost import instance_hours
from chalicelib.domain.deploy import may_deploy
from chalicelib.domain.deployment import Endpoint, FleetState, deployment_of
from chalicelib.domain.errors import NotFound, NotYet
from chalicelib.domain.moves import ended, opened
from chalicelib.domain.plan_words import plan_in_words
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.strategy import OnNewer
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import Version
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.examine import exam_of
from chalicelib.pipeline.forecast import Forecast, forecast
from chalicelib.pipeline.ports import Ports, Write
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.synthesize import synthetic_of
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_endpoint

DROP = "drop"  # what opens a version's first rollout


def open_rollout(ref: VersionRef, ports: Ports, *, endpoint: str = "", once: str = DROP) -> str:
    """Open the rollout of a registered version and return its id; the same `once` opens nothing twice.

    A drop opens one rollout for each version, ever: a replayed event can't redeploy what was rolled back. An open
    rollout of the same endpoint is superseded in the same write, or has this one wait. Raises NotFound, Rejected, or
    NotYet while a person has the split.
    """
    records = Records(ports.registry)
    version = records.version(ref)
    if not version:
        raise NotFound(f"{ref} is not registered; drop it first")
    wishes = settled(ref, version.value.deploy_yaml, ports)
    name = endpoint or wishes.endpoints[0]
    rollout_id = _rollout_id(name, version.value, once)
    if records.get(Rollout, rollout_id):
        return rollout_id
    stored = records.endpoint(name) or Stored(name, Endpoint(name, owner=ref.model_id))
    if stored.value.is_manual:
        raise NotYet(
            f"{name} has a manual split, so the rollout of {ref} waits until it is ended: "
            f"modeldrop split {name} --end MODEL/VERSION"
        )
    may_deploy(stored.value.owner, ref, name, ports.bounds)
    canary = deployment_of(name, version.value, wishes.resources)
    # What a drop opens is the version's first rollout: nothing of it can have failed before.
    retry = once != DROP and ports.fleet.observe(canary.id).state is FleetState.FAILED
    rollout = Rollout(rollout_id, name, ref, canary, stored.value.promoted, wishes.plan, ports.clock(), retry=retry)
    rollout = replace(rollout, exam=exam_of(version.value), synthetic=synthetic_of(version.value))
    _open_or_queue(Stored(rollout_id, rollout), stored, ports)
    wake_endpoint(name, ports)
    return rollout_id


def open_queued(name: str, ports: Ports) -> None:
    """Open the rollout that waited for the end of another one, if there is such."""
    records = Records(ports.registry)
    stored = records.endpoint(name)
    queued = records.get(Rollout, stored.value.queued) if stored and stored.value.queued else None
    if not stored or not queued or stored.value.is_manual or records.open_rollout(stored.value):
        return
    endpoint = stored.to(queued="")
    if queued.value.canary.id == stored.value.promoted:
        reason = f"{queued.value.ref} serves already"
        ports.registry.commit([endpoint.write, queued.to(phase=Phase.SUPERSEDED, reason=reason).write])
    else:
        _commit_opening(
            queued.to(phase=Phase.STARTING, stable=stored.value.promoted, opened=ports.clock()), endpoint, ports
        )
        wake_endpoint(name, ports)


def _rollout_id(endpoint: str, version: Version, once: str) -> str:
    digest = hashlib.sha256(f"{endpoint}\0{version.ref}\0{version.digest}\0{once}".encode()).hexdigest()
    return f"r-{digest[:16]}"


def _open_or_queue(rollout: Stored[Rollout], stored: Stored[Endpoint], ports: Ports) -> None:
    before = Records(ports.registry).open_rollout(stored.value)
    if not before:
        _commit_opening(rollout, stored, ports)
    elif before.value.plan.on_newer is OnNewer.QUEUE or stored.value.asleep:
        _queue(rollout, before.value, stored, ports)
    else:
        now, reason = rollout.value.opened, f"{rollout.value.ref} is newer"
        endpoint, after = ended(stored.value, before.value, Phase.SUPERSEDED, reason, now)
        told = of_rollout("rollout.superseded", after, reason, at=now)
        _commit_opening(rollout, replace(stored, value=endpoint), ports, [replace(before, value=after).write], [told])


def _queue(rollout: Stored[Rollout], before: Rollout, stored: Stored[Endpoint], ports: Ports) -> None:
    """Have it wait; one that waited already gives way to it."""
    now, reason = rollout.value.opened, f"waits for the end of the rollout of {before.ref}"
    told = [of_rollout("rollout.queued", rollout.value, reason, at=now)]
    writes = [rollout.to(phase=Phase.QUEUED, reason=reason).write, stored.to(queued=rollout.id).write]
    if waited := Records(ports.registry).get(Rollout, stored.value.queued) if stored.value.queued else None:
        newer = f"{rollout.value.ref} is newer"
        writes.append(waited.to(phase=Phase.SUPERSEDED, reason=newer, ended=now).write)
        told.append(of_rollout("rollout.superseded", waited.value, newer, at=now))
    ports.registry.commit(writes, told)


def _commit_opening(
    rollout: Stored[Rollout],
    stored: Stored[Endpoint],
    ports: Ports,
    also: Sequence[Write] = (),
    also_told: Sequence[Transition] = (),
) -> None:
    """Write the rollout and its endpoint, with the end of the rollout that it supersedes, all or nothing."""
    value = rollout.value
    version = Records(ports.registry).version(value.ref)
    writes = [rollout.write, replace(stored, value=opened(stored.value, value)).write, *also]
    if version and version.value.unservable:  # a person wants it tried again
        writes.append(version.to(unservable="").write)
    start_s = ports.fleet.observe(value.stable).start_s if value.recreates else 0.0
    told = _told(value, start_s, forecast(stored.value, value, ports))
    ports.registry.commit(writes, [*also_told, told])


def _told(rollout: Rollout, start_s: float, ahead: Forecast) -> Transition:
    words = "; ".join(filter(None, (plan_in_words(rollout, start_s), ahead.in_words)))
    return of_rollout("rollout.opened", rollout, words, at=rollout.opened, **_cost(rollout, start_s), **ahead.view)


def _cost(rollout: Rollout, start_s: float) -> dict[str, Any]:
    resources = rollout.canary.resources
    downtime = {"downtime_s": round(start_s, 1) or None} if rollout.recreates else {}
    return {
        "instances": resources.replicas,
        "instance_type": resources.instance_type,
        "instance_hours_at_least": round(instance_hours(rollout), 3),
        **downtime,
    }
