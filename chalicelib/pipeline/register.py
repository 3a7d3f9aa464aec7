"""Register a version: seal the very bytes that were validated, then make them the version by one conditional write.

Each attempt copies under a key of its own, so two writers can't clash; the registry row, inserted last and only if
there is none, decides whose copy is the version. A loser's copy is deleted at once, or by the sweep after a crash.
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace

from chalicelib.domain.errors import Conflict, Rejected
from chalicelib.domain.findings import Report
from chalicelib.domain.manifest import parse_manifest
from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.refs import MANIFEST, MARKERS, VersionRef
from chalicelib.domain.report_text import summary
from chalicelib.domain.version import PART_SIZE, SealedFile, Version, file_digest, version_digest
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.ports import Bucket, Gone, Ports
from chalicelib.pipeline.records import Drop, Stored
from chalicelib.pipeline.reports import report_drop
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_upload


def register(drop: Stored[Drop], upload: Upload, ports: Ports) -> None:
    """Seal an accepted upload, make it a version and open its rollout; a lost race leaves the winner's version."""
    ref = VersionRef.parse(upload.prefix)
    store_prefix = f"{ref.prefix}{uuid.uuid4().hex}/"
    try:
        files = tuple(seal(upload, store_prefix, ports))
        version = _version(ref, drop.value.report, upload, store_prefix, files, ports)
        _commit(version, drop, ports)
    except (Gone, Rejected, Conflict) as error:
        _discard(store_prefix, ports.store)
        if isinstance(error, Rejected):
            raise
        wake_upload(upload.prefix, ports)
        return
    open_rollout(ref, ports)


def seal(upload: Upload, store_prefix: str, ports: Ports) -> Iterator[SealedFile]:
    """Copy each file into the model store and yield what was copied; raises Gone, or Rejected on a wrong manifest."""
    promised = _promised(upload, ports)
    for path, item in sorted(upload.paths.items()):
        if path not in MARKERS:
            digests = _Digests()
            ports.store.put_parts(store_prefix + path, digests.over(_parts(ports.drop, item)))
            _check(path, digests.whole.hexdigest(), promised)
            yield SealedFile(path, item.size, file_digest(digests.parts))


def _promised(upload: Upload, ports: Ports) -> dict[str, str]:
    """Return the SHA-256 that the manifest promises for each path; nothing without a manifest."""
    item = upload.paths.get(MANIFEST)
    return {f.path: f.sha256 for f in parse_manifest(ports.drop.read(item, 0, item.size)).files} if item else {}


def _check(path: str, sha256: str, promised: dict[str, str]) -> None:
    if promised.get(path, sha256) != sha256:
        raise Rejected(
            f"{path} arrived with SHA-256 {sha256}, but {MANIFEST} says {promised[path]}; upload it again",
            code="digest_mismatch",
        )


class _Digests:
    """The SHA-256 of each part and of the whole, taken while the parts pass by."""

    def __init__(self) -> None:
        self.whole = hashlib.sha256()
        self.parts: list[bytes] = []

    def over(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            self.whole.update(part)
            self.parts.append(hashlib.sha256(part).digest())
            yield part


def _parts(drop: Bucket, item: StoredObject) -> Iterator[bytes]:
    """Yield an object in parts of PART_SIZE bytes; an empty object is one empty part."""
    held = bytearray()
    for block in drop.stream(item):
        held += block
        while len(held) >= PART_SIZE:
            yield bytes(held[:PART_SIZE])
            del held[:PART_SIZE]
    if held or not item.size:
        yield bytes(held)


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
    registered = drop.to(status="registered", report=report, reported=False)
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
