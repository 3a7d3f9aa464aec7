"""Remove leftovers that no record refers to, and say so: deployments of no endpoint, sealed copies of no version."""

from collections.abc import Iterable
from datetime import timedelta

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.version import Version
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.shadow import FOLDER
from chalicelib.pipeline.transitions import transition

# What is younger may be on its way: an attempt to register that still copies, a deployment just asked for.
_LEFT = timedelta(hours=1)
_FORGOTTEN = timedelta(days=7)
_RECORDS = "_"  # what a registry or a fleet keeps in the store of its own begins so; no MODEL_ID does


def sweep(ports: Ports) -> None:
    """Stop stray deployments and delete the copies of attempts that crashed; never something referred to."""
    _stop_strays(ports)
    _delete_lost_copies(ports)
    _forget_disagreements(ports)


def _stop_strays(ports: Ports) -> None:
    running = ports.fleet.deployments(before=ports.clock() - _LEFT)  # before the records: they name what comes later
    named = {i for e in Records(ports.registry).list(Endpoint) for i in e.value.deployments}
    strays = sorted(set(running) - named)
    _tell("deployment.swept", strays, "no endpoint names it: it is stopped", ports)
    for stray in strays:
        ports.fleet.stop(stray)


def _delete_lost_copies(ports: Ports) -> None:
    items = [o for o in ports.store.list() if not o.key.startswith(_RECORDS)]
    old = [o.key for o in items if ports.clock() - o.modified > _LEFT]
    kept = {v.value.store_prefix for v in Records(ports.registry).list(Version)}
    lost = [key for key in old if _attempt(key) not in kept]
    _tell("copy.swept", sorted({_attempt(key) for key in lost}), "no version names this copy: it is deleted", ports)
    ports.store.delete(lost)


def _forget_disagreements(ports: Ports) -> None:
    """Delete what users sent to a shadow a week ago."""
    items = ports.store.list(FOLDER)
    ports.store.delete([o.key for o in items if ports.clock() - o.modified > _FORGOTTEN])


def _attempt(key: str) -> str:
    """Return the prefix that one attempt to register copied to: MODEL_ID/VERSION_ID/ATTEMPT/."""
    return "/".join(key.split("/")[:3]) + "/"


def _tell(kind: str, subjects: Iterable[str], message: str, ports: Ports) -> None:
    now = ports.clock()
    told = [transition(kind, subject, message, at=now, once="") for subject in subjects]
    if told:
        ports.registry.commit([], told)
