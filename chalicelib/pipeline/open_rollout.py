"""Open the rollout of a registered version, and end the one that it supersedes in the same write."""

import hashlib
from dataclasses import replace
from typing import Any

from chalicelib.domain.cost import in_words, instance_hours
from chalicelib.domain.deploy import may_deploy
from chalicelib.domain.deployment import Endpoint, FleetState, deployment_of
from chalicelib.domain.errors import NotFound
from chalicelib.domain.moves import ended, opened
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import Version
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.examine import exam_of
from chalicelib.pipeline.ports import Ports, Write
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_endpoint

DROP = "drop"  # what opens a version's first rollout


def open_rollout(ref: VersionRef, ports: Ports, *, endpoint: str = "", once: str = DROP) -> str:
    """Open the rollout of a registered version and return its id; the same `once` opens nothing twice.

    A drop opens one rollout for each version, ever: a replayed event can't redeploy what was rolled back. An open
    rollout of the same endpoint is superseded in the same write. Raises NotFound or Rejected.
    """
    records = Records(ports.registry)
    version = records.version(ref)
    if not version:
        raise NotFound(f"{ref} is not registered; drop it first")
    wishes = settled(ref, version.value.deploy_yaml, ports)
    name = endpoint or wishes.endpoint
    rollout_id = _rollout_id(name, version.value, once)
    if records.get(Rollout, rollout_id):
        return rollout_id
    stored = records.endpoint(name) or Stored(name, Endpoint(name, owner=ref.model_id))
    may_deploy(stored.value.owner, ref, name, ports.bounds)
    canary = deployment_of(name, version.value, wishes.resources)
    # What a drop opens is the version's first rollout: nothing of it can have failed before.
    retry = once != DROP and ports.fleet.observe(canary.id).state is FleetState.FAILED
    rollout = Rollout(rollout_id, name, ref, canary, stored.value.promoted, wishes.plan, ports.clock(), retry=retry)
    rollout = replace(rollout, exam=exam_of(version.value))
    _commit_opening(rollout, stored, version, ports)
    wake_endpoint(name, ports)
    return rollout_id


def _rollout_id(endpoint: str, version: Version, once: str) -> str:
    digest = hashlib.sha256(f"{endpoint}\0{version.ref}\0{version.digest}\0{once}".encode()).hexdigest()
    return f"r-{digest[:16]}"


def _commit_opening(rollout: Rollout, stored: Stored[Endpoint], version: Stored[Version], ports: Ports) -> None:
    """Write the rollout and its endpoint, and end the rollout that it supersedes, all or nothing."""
    endpoint = stored.value
    writes: list[Write] = []
    told: list[Transition] = []
    if before := Records(ports.registry).open_rollout(endpoint):
        reason = f"{rollout.ref} is newer"
        endpoint, after = ended(endpoint, before.value, Phase.SUPERSEDED, reason, rollout.opened)
        writes.append(replace(before, value=after).write)
        told.append(of_rollout("rollout.superseded", after, reason, at=rollout.opened))
    if version.value.unservable:  # a person wants it tried again
        writes.append(version.to(unservable="").write)
    told.append(of_rollout("rollout.opened", rollout, _plan_in_words(rollout), at=rollout.opened, **_cost(rollout)))
    writes += [Stored(rollout.id, rollout).write, replace(stored, value=opened(endpoint, rollout)).write]
    ports.registry.commit(writes, told)


def _plan_in_words(rollout: Rollout) -> str:
    if not rollout.stable:
        return f"{rollout.ref} is the endpoint's first version: warm up, then all traffic; {in_words(rollout)}"
    steps = " -> ".join(f"{s} %" for s in rollout.plan.steps)
    least = rollout.plan.thresholds.min_requests
    return (
        f"{rollout.ref}: {steps}, each for {rollout.plan.step_time} and at least {least} requests; {in_words(rollout)}"
    )


def _cost(rollout: Rollout) -> dict[str, Any]:
    resources = rollout.canary.resources
    return {
        "instances": resources.replicas,
        "instance_type": resources.instance_type,
        "instance_hours_at_least": round(instance_hours(rollout), 3),
    }
