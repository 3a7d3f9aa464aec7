"""Sign an upload, so that who pushes a version needs no credentials of the store: exactly its files, for a while."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from chalicelib.domain.errors import Rejected
from chalicelib.domain.layout import layout_findings
from chalicelib.domain.manifest import Manifest, ManifestFile, parse_manifest
from chalicelib.domain.refs import MANIFEST, MARKERS, VersionRef, is_ours
from chalicelib.domain.signed_upload import SignedRequest, ranges
from chalicelib.pipeline.ports import Ports, Uploads
from chalicelib.pipeline.records import Records

WITHIN = timedelta(hours=12)  # a signer whose own credentials end sooner signs for no longer than they last
_MOST_REQUESTS = 2_000  # each takes milliseconds to sign, and a function has 28 s
_LONGEST_KEY = 1_024  # bytes


def sign_upload(ref: VersionRef, files: Sequence[ManifestFile], ports: Ports) -> dict[str, Any]:
    """Return the requests that write those files and, last, their `_manifest.json`. Raises Rejected.

    Bytes that were promised and aren't sent are found at the latest when the version is sealed.
    """
    uploads = _uploads(ports)
    if Records(ports.registry).version(ref):
        message = f"{ref} is registered, and a version never changes: choose another VERSION_ID"
        raise Rejected(message, code="conflict")
    manifest = parse_manifest(Manifest(files=tuple(files)).to_json())
    _check(ref, manifest, ports)
    text = manifest.to_json()
    last = uploads.sign(ref.prefix + MANIFEST, len(text), hashlib.sha256(text).hexdigest(), WITHIN).parts[0]
    return {
        "model_id": ref.model_id,
        "version_id": ref.version_id,
        "expires": (ports.clock() + WITHIN).isoformat(),
        "files": [_signed(ref, file, uploads) for file in manifest.files],
        "manifest": {**_shown(last), "body": text.decode()},
    }


def _uploads(ports: Ports) -> Uploads:
    if ports.uploads is None:
        raise Rejected("this platform signs no uploads; upload with the store's own credentials", code="not_found")
    return ports.uploads


def _check(ref: VersionRef, manifest: Manifest, ports: Ports) -> None:
    """Refuse what validation would refuse by its names alone, before anything is sent."""
    paths = [file.path for file in manifest.files]
    if not paths:
        raise _bad("name at least one file")
    for finding in layout_findings(paths, limit=ports.limits.objects):
        raise _bad(f"{finding.where!r}: {finding.message}; {finding.fix}")
    for path in paths:
        if path in MARKERS or is_ours(ref.prefix + path):
            raise _bad(f"{path!r} is written by the platform; leave it out")
        if len((ref.prefix + path).encode()) > _LONGEST_KEY:
            raise _bad(f"{path[:80]!r}…: its key has more than {_LONGEST_KEY} bytes; shorten it")
    requests = sum(len(list(ranges(file.size))) for file in manifest.files)
    if requests > _MOST_REQUESTS:
        raise _bad(
            f"they take {requests} requests, more than {_MOST_REQUESTS}; upload with the store's own credentials"
        )


def _signed(ref: VersionRef, file: ManifestFile, uploads: Uploads) -> dict[str, Any]:
    signed = uploads.sign(ref.prefix + file.path, file.size, file.sha256, WITHIN)
    parts = [{**_shown(part), "offset": part.offset, "length": part.length} for part in signed.parts]
    return {"path": file.path, "parts": parts, "complete": _shown(signed.complete) if signed.complete else None}


def _shown(request: SignedRequest) -> dict[str, Any]:
    return {"method": request.method, "url": request.url, "headers": dict(request.headers)}


def _bad(what: str) -> Rejected:
    return Rejected(f"files: {what}", code="bad_upload")
