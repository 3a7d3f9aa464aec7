"""What people ask for: look at models, endpoints and rollouts, and steer a rollout.

Every change is one conditional write and a wake-up; the next `advance` does what was wished for.
"""

import uuid
from dataclasses import replace
from typing import Any

from chalicelib.domain.deployment import Endpoint, FleetState
from chalicelib.domain.dividing import champion_again, given_up
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import approved
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.split import WHOLE, Split
from chalicelib.pipeline import views
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.transitions import of_rollout, transition
from chalicelib.pipeline.wakeups import wake_endpoint

PERSON = "a person"  # who asks, in a timeline; a hook says its name


def start(endpoint: str, ref: VersionRef, ports: Ports) -> dict[str, Any]:
    """Roll out a registered version, also one that was rolled back before; raises NotFound or Rejected."""
    stored = Records(ports.registry).endpoint(endpoint)
    current = stored.value.deployments.get(stored.value.promoted) if stored else None
    if current and current.ref == ref:
        raise Rejected(f"{ref} is what {endpoint} serves already; start another version", code="conflict")
    rollout_id = open_rollout(ref, ports, endpoint=endpoint, once=uuid.uuid4().hex)
    return views.describe_rollout(_opened(rollout_id, ports).value, ports)


def pause(endpoint: str, ports: Ports) -> dict[str, Any]:
    """Stop at the present step; a canary that fails still goes back."""
    return _steer(endpoint, "rollout.paused", "paused by a person", ports, paused=True)


def resume(endpoint: str, ports: Ports) -> dict[str, Any]:
    """Go on, with a fresh window for the present step."""
    now = ports.clock()
    return _steer(endpoint, "rollout.resumed", "resumed by a person", ports, paused=False, step_since=now)


def promote(endpoint: str, ports: Ports, *, by: str = PERSON) -> dict[str, Any]:
    """Skip what is left of the analysis; takes effect when the canary is ready."""
    return _steer(endpoint, "rollout.promote_asked", f"promotion asked for by {by}", ports, wish="promote")


def approve(endpoint: str, ports: Ports, *, by: str = PERSON) -> dict[str, Any]:
    """Open the gate that the rollout waits at."""
    rollout = _open_rollout(endpoint, ports)
    gate = rollout.value.gate
    if not gate:
        message = f"the rollout of {rollout.value.ref} waits at no gate, so there is nothing to approve"
        raise Rejected(message, code="conflict")
    reason = f"{gate} % approved by {by}"
    after = replace(rollout, value=approved(rollout.value, reason))
    return _write(rollout, after, "rollout.approved", reason, ports, gate=gate)


def abort(endpoint: str, ports: Ports, *, by: str = PERSON) -> dict[str, Any]:
    """End the rollout and give all traffic back to stable."""
    return _steer(endpoint, "rollout.abort_asked", f"abort asked for by {by}", ports, wish="abort")


def roll_back(endpoint: str, ports: Ports) -> dict[str, Any]:
    """Give all traffic back, at once: to stable, to what was promoted before a manual split, or else to the previous.

    An open rollout is aborted; the previous deployment can be returned to while it is kept warm.
    """
    stored = Records(ports.registry).known_endpoint(endpoint)
    if Records(ports.registry).open_rollout(stored.value):
        return abort(endpoint, ports)
    after = _gone_back(stored.value, ports)
    message = f"all traffic back to {after.deployments[after.promoted].ref}, asked for by a person"
    told = transition(
        "endpoint.rolled_back",
        endpoint,
        message,
        at=ports.clock(),
        once=str(stored.revision),
        split=dict(after.split.weights),
    )
    ports.registry.commit([replace(stored, value=after).write], [told])
    wake_endpoint(endpoint, ports)
    return views.describe_endpoint(after, ports)


def set_rate(endpoint: str, per_second: float | None, ports: Ports) -> dict[str, Any]:
    """Say how many predictions a second an endpoint takes; None leaves it to the platform."""
    stored = Records(ports.registry).known_endpoint(endpoint).to(rate=per_second or 0.0)
    ports.registry.commit([stored.write])
    return views.describe_endpoint(stored.value, ports)


def _gone_back(endpoint: Endpoint, ports: Ports) -> Endpoint:
    if not endpoint.kept:
        return given_up(_returned(endpoint, ports), ports.clock())
    state = ports.fleet.observe(endpoint.promoted).state
    if state is not FleetState.READY:
        ref = endpoint.deployments[endpoint.promoted].ref
        raise Rejected(f"{ref} is {state}; end the split with a version that answers", code="conflict")
    return champion_again(endpoint, ports.clock())


def _returned(endpoint: Endpoint, ports: Ports) -> Endpoint:
    """Return the endpoint with its previous deployment promoted again, and the present one kept warm in its place."""
    previous = endpoint.previous
    if not previous or ports.fleet.observe(previous).state is not FleetState.READY:
        raise Rejected(
            f"{endpoint.name} has no previous deployment that is still warm; start a rollout of an older version",
            code="conflict",
        )
    salt = f"rollback-{uuid.uuid4().hex[:12]}"
    return replace(endpoint, split=Split({previous: WHOLE}, salt), promoted=previous, previous=endpoint.promoted)


def _steer(endpoint: str, kind: str, message: str, ports: Ports, **changes: Any) -> dict[str, Any]:
    rollout = _open_rollout(endpoint, ports)
    return _write(rollout, rollout.to(**changes), kind, message, ports)


def _write(
    rollout: Stored[Rollout], changed: Stored[Rollout], kind: str, message: str, ports: Ports, **told_too: Any
) -> dict[str, Any]:
    once = replace(changed.value, id=f"{rollout.id}@{rollout.revision}")
    told = replace(of_rollout(kind, once, message, at=ports.clock(), **told_too), rollout=rollout.id)
    ports.registry.commit([changed.write], [told])
    wake_endpoint(changed.value.endpoint, ports)
    return views.describe_rollout(changed.value, ports)


def _open_rollout(endpoint: str, ports: Ports) -> Stored[Rollout]:
    records = Records(ports.registry)
    if rollout := records.open_rollout(records.known_endpoint(endpoint).value):
        return rollout
    raise Rejected(f"{endpoint} has no open rollout; start one, or drop a new version", code="conflict")


def _opened(rollout_id: str, ports: Ports) -> Stored[Rollout]:
    if stored := Records(ports.registry).get(Rollout, rollout_id):
        return stored
    raise NotFound(f"there is no rollout {rollout_id!r}")
