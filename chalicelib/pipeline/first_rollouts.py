"""The rollouts that drops open: one for each version and endpoint, ever, as soon as nothing holds it back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotYet, Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_registration


@dataclass(frozen=True)
class First:
    """A version's first rollout at one of its endpoints."""

    ref: VersionRef
    endpoint: str


def open_first(version: Version, ports: Ports) -> None:
    """Open the rollouts of a version that was just registered; a repeat opens nothing twice."""
    for endpoint in _endpoints(version, ports):
        _open(First(version.ref, endpoint), ports)


def open_missing(ports: Ports, ref: VersionRef | None = None) -> None:
    """Open what a crash, a bound or somebody's own split left unopened: of one version, or of all."""
    for first in missing(ports):
        if ref in {None, first.ref}:
            _open(first, ports)


def missing(ports: Ports) -> Sequence[First]:
    """Return the first rollouts that aren't there, of versions newer than any that had one or a share by hand there."""
    records = Records(ports.registry)
    versions = sorted((v.value for v in records.list(Version)), key=lambda v: v.registered)
    newest = _newest(versions, [r.value for r in records.list(Rollout)], [e.value for e in records.list(Endpoint)])
    return [
        First(version.ref, endpoint)
        for version in versions
        for endpoint in _endpoints(version, ports)
        if _is_newer(version, newest.get((version.ref.model_id, endpoint)))
    ]


def wake_held_back(endpoint: Endpoint, ports: Ports) -> None:
    """Have what an endpoint's split held back opened at once, by whoever knows the operator's bounds."""
    records = Records(ports.registry)
    versions = [v.value for v in records.list(Version)]
    newest = _newest(versions, [r.value for r in records.list(Rollout)], [endpoint])
    for version in versions:
        tried = newest.get((version.ref.model_id, endpoint.name))
        if (tried or version.ref.model_id == endpoint.owner) and _is_newer(version, tried):
            wake_registration(version.ref.prefix, ports)


def _open(first: First, ports: Ports) -> None:
    """Open one, or tell once why it is held back."""
    try:
        open_rollout(first.ref, ports, endpoint=first.endpoint)
    except (NotYet, Rejected) as why:
        about = {"endpoint": first.endpoint, "version": str(first.ref)}
        told = transition("rollout.held_back", first.endpoint, str(why), at=ports.clock(), once=str(first.ref), **about)
        ports.registry.commit([], [told])


def _newest(
    versions: Sequence[Version], rollouts: Sequence[Rollout], endpoints: Sequence[Endpoint]
) -> dict[tuple[str, str], datetime]:
    """Return when the newest version of a model that an endpoint has tried was registered."""
    registered = {v.ref: v.registered for v in versions}
    rolled_out = [(registered[r.ref], r.ref.model_id, r.endpoint) for r in rollouts if r.ref in registered]
    by_hand = [(at, model_id, e.name) for e in endpoints for model_id, at in e.by_hand.items()]
    return {(model_id, endpoint): at for at, model_id, endpoint in sorted(rolled_out + by_hand)}


def _is_newer(version: Version, than: datetime | None) -> bool:
    return than is None or version.registered > than


def _endpoints(version: Version, ports: Ports) -> Sequence[str]:
    """Return a version's endpoints; none while its deploy.yaml is past the operator's bounds."""
    try:
        return settled(version.ref, version.deploy_yaml, ports).endpoints
    except Rejected:
        return ()
