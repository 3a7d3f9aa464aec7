"""Show each version where the cloud's own people look for models, with what became of its rollouts as its approval."""

from collections.abc import Sequence

from chalicelib.domain.catalog import Approval, CatalogEntry
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.version import Version
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, Stored

_SPOKE_AGAINST = {Phase.ROLLED_BACK, Phase.FAILED}


def catalogue(ref: VersionRef, ports: Ports) -> None:
    """Renew a version's entry, unless it says so already."""
    records = Records(ports.registry)
    version = records.version(ref)
    if not version or not ports.catalog:
        return
    approval = approval_of(version.value, [r.value for r in records.list(Rollout)])
    if version.value.catalogued != approval:
        ports.catalog.put(_entry(version.value, approval))
        ports.registry.commit([version.to(catalogued=approval).write])


def outdated(ports: Ports) -> list[VersionRef]:
    """Return the versions whose entry doesn't say what became of them."""
    if not ports.catalog:
        return []
    records = Records(ports.registry)
    rollouts = [r.value for r in records.list(Rollout)]
    versions: Sequence[Stored[Version]] = records.list(Version)
    return [v.value.ref for v in versions if v.value.catalogued != approval_of(v.value, rollouts)]


def approval_of(version: Version, rollouts: Sequence[Rollout]) -> Approval:
    """Return what a version's rollouts say of it: once promoted it is approved, however it was replaced later."""
    phases = {r.phase for r in rollouts if r.ref == version.ref}
    if Phase.PROMOTED in phases:
        return Approval.APPROVED
    return Approval.REJECTED if version.unservable or phases & _SPOKE_AGAINST else Approval.PENDING


def _entry(version: Version, approval: Approval) -> CatalogEntry:
    return CatalogEntry(version.ref, version.digest, version.format, version.store_prefix, approval)
