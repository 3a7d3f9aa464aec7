"""Remove leftovers that no record refers to: deployments of no endpoint, sealed copies of no version."""

from datetime import timedelta

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.version import Version
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records

# An attempt to register may still be copying; one this old has crashed.
_LEFT = timedelta(hours=1)


def sweep(ports: Ports) -> None:
    """Stop stray deployments and delete the copies of attempts that crashed; never something referred to."""
    _stop_strays(ports)
    _delete_lost_copies(ports)


def _stop_strays(ports: Ports) -> None:
    running = ports.fleet.deployments()  # before the records: what starts in between is named by then
    named = {i for e in Records(ports.registry).list(Endpoint) for i in e.value.deployments}
    for stray in set(running) - named:
        ports.fleet.stop(stray)


def _delete_lost_copies(ports: Ports) -> None:
    old = [o.key for o in ports.store.list() if ports.clock() - o.modified > _LEFT]
    kept = {v.value.store_prefix for v in Records(ports.registry).list(Version)}
    ports.store.delete([key for key in old if _attempt(key) not in kept])


def _attempt(key: str) -> str:
    """Return the prefix that one attempt to register copied to: MODEL_ID/VERSION_ID/ATTEMPT/."""
    return "/".join(key.split("/")[:3]) + "/"
