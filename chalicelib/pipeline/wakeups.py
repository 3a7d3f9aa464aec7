"""The names of wake-ups: each only says "look again", at an upload, an acceptance or an endpoint."""

from datetime import timedelta

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records

LOOK = "look:"  # and the prefix of an upload
REGISTER = "register:"  # and the prefix of an accepted upload
ADVANCE = "advance:"  # and the name of an endpoint
CATALOGUE = "catalogue:"  # and MODEL_ID/VERSION_ID


def wake_upload(prefix: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an upload again; the earlier of two moments counts."""
    ports.timers.set(LOOK + prefix, ports.clock() + after)


def wake_registration(prefix: str, ports: Ports) -> None:
    """Register an upload that was accepted; a repeat registers nothing twice."""
    ports.timers.set(REGISTER + prefix, ports.clock())


def wake_endpoint(name: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an endpoint's rollout again; the earlier of two moments counts."""
    ports.timers.set(ADVANCE + name, ports.clock() + after)


def wake_endpoints_of(deployment_id: str, ports: Ports) -> None:
    """Look again at the endpoints that a deployment is of: the fleet said that it changed."""
    for endpoint in Records(ports.registry).list(Endpoint):
        if deployment_id in endpoint.value.deployments:
            wake_endpoint(endpoint.id, ports)


def wake_catalogue(ref: VersionRef, ports: Ports) -> None:
    """Have a version's entry in the catalogue renewed, where there is one."""
    if ports.catalog:
        ports.timers.set(f"{CATALOGUE}{ref}", ports.clock())
