"""Register a version: seal the very bytes that were validated, then make them the version by one conditional write.

Each attempt copies under a key of its own, so two writers can't clash; the registry row, inserted last and only if
there is none, decides whose copy is the version. A loser's copy is deleted at once, or by the sweep after a crash.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace

from chalicelib.domain.errors import Conflict, Rejected
from chalicelib.domain.findings import Report
from chalicelib.domain.manifest import parse_manifest
from chalicelib.domain.objects import Upload
from chalicelib.domain.refs import MANIFEST, MARKERS, VersionRef, upload_prefix
from chalicelib.domain.report_text import summary
from chalicelib.domain.upload import gather
from chalicelib.domain.version import SealedFile, Version, version_digest
from chalicelib.pipeline.first_rollouts import open_first, open_missing
from chalicelib.pipeline.judgements import ACCEPTED, REGISTERED, keep, rejected_after_all, rejection
from chalicelib.pipeline.ports import Bucket, Gone, Ports
from chalicelib.pipeline.records import Drop, Records, Stored
from chalicelib.pipeline.reports import report_drop
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_catalogue, wake_upload


def register(prefix: str, ports: Ports) -> None:
    """Seal an accepted upload, make it a version and open its rollout; a lost race leaves the winner's version.

    A repeat opens a rollout that was held back, and does nothing else. An upload that changed since it was accepted is
    judged anew; what sealing finds (a wrong hash) rejects it after all.
    """
    drop = Records(ports.registry).get(Drop, prefix)
    if drop and drop.value.status == REGISTERED:
        open_missing(ports, VersionRef.parse(prefix))
    if not drop or drop.value.status != ACCEPTED:
        return
    listing = [o for o in ports.drop.list(prefix) if upload_prefix(o.key) == prefix]
    upload = gather(prefix, listing)
    if upload.fingerprint != drop.value.fingerprint:
        wake_upload(prefix, ports)
        return
    try:
        version = _seal(upload, drop, ports)
    except (Gone, Conflict):
        wake_upload(prefix, ports)
    except Rejected as error:
        report = rejected_after_all(drop.value.report, rejection(prefix, error, where=MANIFEST))
        report_drop(keep(report, upload, drop, ports), ports)
    else:
        wake_catalogue(version.ref, ports)
        open_first(version, ports)


def _seal(upload: Upload, drop: Stored[Drop], ports: Ports) -> Version:
    """Copy an upload and make the copy the version; what was copied in vain is deleted."""
    ref = VersionRef.parse(upload.prefix)
    store_prefix = f"{ref.prefix}{uuid.uuid4().hex}/"
    try:
        files = tuple(_copied(upload, store_prefix, ports))
        version = _version(ref, drop.value.report, upload, store_prefix, files, ports)
        ports.sealer.release(upload.files)
        _commit(version, drop, ports)
    except (Gone, Rejected, Conflict):
        _discard(store_prefix, ports.store)
        raise
    return version


def _copied(upload: Upload, store_prefix: str, ports: Ports) -> Iterator[SealedFile]:
    """Copy each file into the model store and yield what was copied; raises Gone, or Rejected on a wrong manifest."""
    promised = _promised(upload, ports)
    for path, item in sorted(upload.paths.items()):
        if path not in MARKERS:
            digest = ports.sealer.copy(item, store_prefix + path, sha256=promised.get(path, ""))
            yield SealedFile(path, item.size, digest)


def _promised(upload: Upload, ports: Ports) -> dict[str, str]:
    """Return the SHA-256 that the manifest promises for each path; nothing without a manifest."""
    item = upload.paths.get(MANIFEST)
    return {f.path: f.sha256 for f in parse_manifest(ports.drop.read(item, 0, item.size)).files} if item else {}


def _version(  # noqa: PLR0917 - the parts of one value, in the order in which they came to be
    ref: VersionRef,
    report: Report,
    upload: Upload,
    store_prefix: str,
    files: tuple[SealedFile, ...],
    ports: Ports,
) -> Version:
    if not report.format:
        raise Rejected(f"{ref}: an accepted upload has a format", code="no_format")
    return Version(
        ref=ref,
        format=report.format,
        digest=version_digest(files),
        store_prefix=store_prefix,
        files=files,
        fingerprint=upload.fingerprint,
        registered=ports.clock(),
        schema=report.schema,
        deploy_yaml=(ports.store.get(store_prefix + "deploy.yaml") or b"").decode(),
    )


def _commit(version: Version, drop: Stored[Drop], ports: Ports) -> None:
    """Make the sealed copy the version; raises Conflict when another attempt was first."""
    report = replace(drop.value.report, digest=version.digest)
    registered = drop.to(status=REGISTERED, report=report, reported=False)
    size = sum(f.size for f in version.files)
    message = f"{version.format}, {len(version.files)} files, {size} bytes, {version.digest}"
    told = transition(
        "version.registered",
        str(version.ref),
        message,
        at=version.registered,
        once="",
        digest=version.digest,
        **summary(report),
    )
    ports.registry.commit([Stored(str(version.ref), version).write, registered.write], [told])
    report_drop(replace(registered, revision=registered.revision + 1), ports)


def _discard(store_prefix: str, store: Bucket) -> None:
    store.delete([o.key for o in store.list(store_prefix)])
