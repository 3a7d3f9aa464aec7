"""People's own names for an endpoint's deployments: set, moved and removed, each in one conditional write."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.domain.aliases import by_version, check_alias, pointed, without_alias
from chalicelib.domain.deployment import Endpoint, FleetState
from chalicelib.domain.errors import Rejected
from chalicelib.domain.moves import let_go
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.transition import Transition
from chalicelib.pipeline import views
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_endpoint


def set_alias(endpoint: str, alias: str, ref: VersionRef, ports: Ports) -> dict[str, Any]:
    """Let an alias name a version that runs for the endpoint; what it named before retires unless it is needed."""
    check_alias(alias)
    stored = Records(ports.registry).known_endpoint(endpoint)
    deployment = _running(stored.value, ref, ports)
    before = stored.value.aliases.get(alias, "")
    if before == deployment:
        return views.describe_endpoint(stored.value, ports)
    moved = f", no longer {stored.value.deployments[before].ref}" if before else ""
    about = {"alias": alias, "version": str(ref), "deployment": deployment}
    told = _told("endpoint.alias_set", stored, f"{alias} is {ref}{moved}", about, ports)
    return _commit(stored, pointed(stored.value, alias, deployment), told, ports)


def remove_alias(endpoint: str, alias: str, ports: Ports) -> dict[str, Any]:
    """Forget an alias; what it named retires unless it is needed."""
    check_alias(alias)
    stored = Records(ports.registry).known_endpoint(endpoint)
    after = without_alias(stored.value, alias)
    before = stored.value.aliases[alias]
    ref = stored.value.deployments[before].ref
    about = {"alias": alias, "version": str(ref), "deployment": before}
    told = _told("endpoint.alias_removed", stored, f"{alias} was {ref} and is removed", about, ports)
    return _commit(stored, after, told, ports)


def _running(endpoint: Endpoint, ref: VersionRef, ports: Ports) -> str:
    """Return the deployment of a version that is ready to answer; raises Rejected."""
    runs = any(deployment.ref == ref for deployment in endpoint.deployments.values())
    deployment = by_version(endpoint, str(ref)) if runs else ""
    state = ports.fleet.observe(deployment).state if runs else FleetState.ABSENT
    if state is not FleetState.READY:
        raise Rejected(
            f"{ref} is {state} for endpoint {endpoint.name}, so no alias can name it: start a rollout of it unless one "
            "is open, and set the alias once it is ready",
            code="conflict",
        )
    return deployment


def _told(kind: str, stored: Stored[Endpoint], message: str, about: Mapping[str, str], ports: Ports) -> Transition:
    return transition(kind, stored.id, message, at=ports.clock(), once=str(stored.revision), **about)


def _commit(stored: Stored[Endpoint], after: Endpoint, told: Transition, ports: Ports) -> dict[str, Any]:
    rollout = Records(ports.registry).open_rollout(after)
    after = let_go(stored.value, after, rollout.value.canary.id if rollout else "", told.at)
    ports.registry.commit([replace(stored, value=after).write], [told])
    wake_endpoint(stored.id, ports)
    return views.describe_endpoint(after, ports)
