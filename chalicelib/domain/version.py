"""A version: the exact bytes that were validated, sealed under a key that nobody else writes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import ArtifactFormat
from chalicelib.domain.refs import MANIFEST, VersionRef

PART_SIZE = 64 * 2**20  # bytes; S3's composite SHA-256 is over parts of this size


@dataclass(frozen=True)
class SealedFile:
    """One file of a version in the model store."""

    path: str
    size: int
    digest: str  # lower-case hex; "-N" appended when it is composite over N parts


@dataclass(frozen=True)
class Version:
    """A registered version. Immutable; `store_prefix` names the attempt whose copy became the version."""

    ref: VersionRef
    format: ArtifactFormat
    digest: str  # "sha256:" + hex
    store_prefix: str
    files: tuple[SealedFile, ...]
    fingerprint: str  # of the upload that was sealed
    registered: datetime
    schema: Mapping[str, Any] | None = None
    deploy_yaml: str = ""
    unservable: str = ""  # the model's own error, when its first start failed
    catalogued: str = ""  # the approval that its entry in the cloud's catalogue has


def file_digest(part_digests: Iterable[bytes]) -> str:
    """Return S3's composite SHA-256 of a file from its parts' digests (one part: the plain SHA-256), in hex."""
    parts = list(part_digests)
    if len(parts) == 1:
        return parts[0].hex()
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"


def version_digest(files: Iterable[SealedFile]) -> str:
    """Return the digest of a version: SHA-256 over its files' `path NUL size NUL digest LF`, sorted by path."""
    lines = (f"{f.path}\0{f.size}\0{f.digest}\n".encode() for f in sorted(files, key=lambda f: f.path.encode()))
    return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


def check_promise(key: str, found: str, promised: str) -> None:
    """Raise Rejected when a file's SHA-256 isn't the one that its manifest promised."""
    if found != promised:
        raise Rejected(
            f"{key} arrived with SHA-256 {found}, but {MANIFEST} says {promised}; upload it again",
            code="digest_mismatch",
        )
