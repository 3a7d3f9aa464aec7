"""Keep the fleet as the endpoints' records say: what they name runs, what they no longer name is stopped."""

from dataclasses import replace
from datetime import timedelta

from chalicelib.domain.deployment import Endpoint, FleetState, Running
from chalicelib.domain.dividing import rooms_of
from chalicelib.domain.moves import next_retirement, without_retired
from chalicelib.domain.rollout import WITH_TRAFFIC, Rollout
from chalicelib.pipeline.ports import Capacity, Ports
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
    rollout = _open_rollout(after, ports)
    rooms = _rooms(after, ports)
    kept = {*_may_be_returned_to(after, rollout), *rooms}
    for needed in _needed(after, rollout):
        room = Capacity(rooms.get(needed, 1), may_scale_in=needed not in kept)
        ports.fleet.ensure(after.deployments[needed], room)
    if coming := next_retirement(after):
        wake_endpoint(name, ports, after=max(coming - now, timedelta(0)))


def revive(name: str, ports: Ports) -> None:
    """Give what an endpoint needs and what failed for good another start: what made it fail may be over.

    What answers with other bytes than the registered is told, once, and left as it is: to stop it is for people.
    """
    stored = Records(ports.registry).endpoint(name)
    for needed in _needed(stored.value, _open_rollout(stored.value, ports)) if stored else ():
        seen = ports.fleet.observe(needed)
        wanted = stored.value.deployments[needed].digest if stored else ""
        if seen.state is FleetState.FAILED:
            _start_anew(name, needed, seen, ports)
        elif seen.state is FleetState.READY and seen.digest not in {"", wanted}:
            message = f"{needed} answers with digest {seen.digest}, not the registered {wanted}"
            _tell("deployment.drifted", name, message, f"{needed} {seen.digest}", ports)


def _start_anew(name: str, deployment: str, seen: Running, ports: Ports) -> None:
    message = f"{deployment} failed and is started anew: {seen.reason}"
    _tell("deployment.revived", name, message, f"{deployment} {ports.clock()}", ports)
    ports.fleet.stop(deployment)
    wake_endpoint(name, ports)


def _tell(kind: str, name: str, message: str, once: str, ports: Ports) -> None:
    ports.registry.commit([], [transition(kind, name, message, at=ports.clock(), once=once)])


def _open_rollout(endpoint: Endpoint, ports: Ports) -> Rollout | None:
    found = Records(ports.registry).open_rollout(endpoint)
    return found.value if found else None


def _needed(endpoint: Endpoint, rollout: Rollout | None) -> list[str]:
    """Return the deployments that should run, but for what is started by decisions of others.

    That is an open rollout's canary, and what only a split that is asked for names.
    """
    canary = rollout.canary.id if rollout else ""
    return sorted((replace(endpoint, asked=None).needed - {canary}) & endpoint.deployments.keys())


def _rooms(endpoint: Endpoint, ports: Ports) -> dict[str, int]:
    """Return the replicas that each deployment of an asked split needs for its share."""
    if not endpoint.asked:
        return {}
    return rooms_of(endpoint, {id_: ports.fleet.observe(id_) for id_ in endpoint.split.weights})


def _may_be_returned_to(endpoint: Endpoint, rollout: Rollout | None) -> set[str]:
    """Return the deployments that must keep their room: stable from the first shift on, the previous one while warm."""
    stable = rollout.stable if rollout and rollout.phase in WITH_TRAFFIC else ""
    return {stable, endpoint.previous}
