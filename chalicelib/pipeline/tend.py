"""Keep the fleet as the endpoints' records say: what they name runs, what they no longer name is stopped."""

from dataclasses import replace
from datetime import timedelta

from chalicelib.domain.deployment import Endpoint, FleetState
from chalicelib.domain.moves import next_retirement, without_retired
from chalicelib.domain.rollout import Rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_endpoint


def tend(name: str, ports: Ports) -> None:
    """Retire what an endpoint no longer needs and start what it needs."""
    stored = Records(ports.registry).endpoint(name)
    if not stored:
        return
    now = ports.clock()
    after = without_retired(stored.value, now)
    if after != stored.value:
        ports.registry.commit([replace(stored, value=after).write])
    for gone in set(stored.value.deployments) - set(after.deployments):
        ports.fleet.stop(gone)
    for needed in _needed(after, ports):
        ports.fleet.ensure(after.deployments[needed])
    if coming := next_retirement(after):
        wake_endpoint(name, ports, after=max(coming - now, timedelta(0)))


def revive(name: str, ports: Ports) -> None:
    """Give what an endpoint needs and what failed for good another start: what made it fail may be over."""
    stored = Records(ports.registry).endpoint(name)
    for needed in _needed(stored.value, ports) if stored else ():
        seen = ports.fleet.observe(needed)
        if seen.state is FleetState.FAILED:
            now = ports.clock()
            message = f"{needed} failed and is started anew: {seen.reason}"
            told = transition("deployment.revived", name, message, at=now, once=f"{needed} {now}")
            ports.registry.commit([], [told])
            ports.fleet.stop(needed)
            wake_endpoint(name, ports)


def _needed(endpoint: Endpoint, ports: Ports) -> list[str]:
    """Return the deployments that should run. An open rollout's canary is started by the rollout's own decision."""
    rollout = Records(ports.registry).get(Rollout, endpoint.rollout) if endpoint.rollout else None
    canary = rollout.value.canary.id if rollout and rollout.value.is_open else ""
    named = {*endpoint.split.weights, endpoint.promoted, endpoint.previous} - {"", canary}
    return sorted(named & set(endpoint.deployments))
