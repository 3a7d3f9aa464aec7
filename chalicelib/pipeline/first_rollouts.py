"""The rollouts that drops open: one for each version, ever, as soon as nobody's own split holds it back."""

from collections.abc import Sequence

from chalicelib.domain.errors import NotYet
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_registration


def open_first(ref: VersionRef, ports: Ports) -> None:
    """Open a version's first rollout, or tell once that it is held back; a repeat opens and tells nothing twice."""
    version = Records(ports.registry).version(ref)
    if not version:
        return
    endpoint = settled(ref, version.value.deploy_yaml, ports).endpoint
    try:
        open_rollout(ref, ports, endpoint=endpoint)
    except NotYet as held:
        about = {"endpoint": endpoint, "version": str(ref)}
        told = transition("rollout.held_back", endpoint, str(held), at=ports.clock(), once=str(ref), **about)
        ports.registry.commit([], [told])


def missing(ports: Ports) -> Sequence[VersionRef]:
    """Return registered versions that no rollout names and that are newer than every version that has one."""
    records = Records(ports.registry)
    rolled_out = {r.value.ref for r in records.list(Rollout)}
    versions = sorted((v.value for v in records.list(Version)), key=lambda v: v.registered)
    newest = {v.ref.model_id: v.registered for v in versions if v.ref in rolled_out}
    return [v.ref for v in versions if v.ref.model_id not in newest or v.registered > newest[v.ref.model_id]]


def wake_missing(ports: Ports) -> None:
    """Have what was held back opened at once."""
    for ref in missing(ports):
        wake_registration(ref.prefix, ports)
