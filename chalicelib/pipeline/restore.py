"""After a restart: what the records name runs again, and an open rollout goes on with a fresh window."""

from dataclasses import replace

from chalicelib.domain.deployment import Endpoint, FleetState
from chalicelib.domain.rollout import JUDGED, Phase, Rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records


def restore(ports: Ports) -> None:
    """Ask the fleet for every deployment that an endpoint names, a stepping canary too."""
    for endpoint in Records(ports.registry).list(Endpoint):
        for needed in sorted(endpoint.value.needed & endpoint.value.deployments.keys()):
            ports.fleet.ensure(endpoint.value.deployments[needed])


def awaited(ports: Ports) -> list[str]:
    """Return the deployments with traffic that are still starting."""
    endpoints = Records(ports.registry).list(Endpoint)
    named = {i for e in endpoints for i in e.value.split.weights}
    return sorted(i for i in named if ports.fleet.observe(i).state is FleetState.STARTING)


def begin_windows_anew(ports: Ports) -> None:
    """Start the present step of every open rollout again: what was counted before the restart is gone."""
    for rollout in Records(ports.registry).list(Rollout):
        if rollout.value.phase in JUDGED | {Phase.RECREATING}:
            fresh = replace(rollout.value, step_since=ports.clock(), extensions=0)
            ports.registry.commit([replace(rollout, value=fresh).write])
