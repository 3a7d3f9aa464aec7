"""`_manifest.json`: what an upload will consist of, written last, so that completeness needs no guess."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chalicelib.domain.errors import Rejected
from chalicelib.domain.objects import StoredObject
from chalicelib.domain.refs import MARKERS


class ManifestFile(BaseModel):
    """One file of an upload: path below the prefix, size in bytes, SHA-256 of its bytes in lower-case hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str = Field(min_length=1)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """Every file of an upload but the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    version: Literal[1] = 1
    files: tuple[ManifestFile, ...]

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def manifest_of(files: Iterable[tuple[str, Iterable[bytes]]]) -> Manifest:
    """Return the manifest of files, each given as its path and its blocks of bytes."""
    return Manifest(files=tuple(_entry(path, blocks) for path, blocks in files if path not in MARKERS))


def parse_manifest(text: bytes) -> Manifest:
    """Read a `_manifest.json`; raises Rejected, naming the field that is wrong."""
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise Rejected(f"{where}: {first['msg']}", code="bad_manifest") from e
    paths = [f.path for f in manifest.files]
    twice = next((p for p in paths if paths.count(p) > 1), None) if len(set(paths)) < len(paths) else None
    if twice is not None:
        raise Rejected(f"files: {twice!r} is listed twice", code="bad_manifest")
    return manifest


def awaited(manifest: Manifest, present: Mapping[str, StoredObject]) -> tuple[str, ...]:
    """Return what has not arrived yet, by path and size."""
    return tuple(
        f.path if f.path not in present else f"{f.path} (it has {present[f.path].size} of {f.size} bytes)"
        for f in manifest.files
        if f.path not in present or present[f.path].size != f.size
    )


def unlisted(manifest: Manifest, present: Mapping[str, StoredObject]) -> tuple[str, ...]:
    """Return what lies there though the manifest doesn't name it."""
    named = {f.path for f in manifest.files}
    return tuple(path for path in present if path not in named and path not in MARKERS)


def _entry(path: str, blocks: Iterable[bytes]) -> ManifestFile:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return ManifestFile(path=path, size=size, sha256=digest.hexdigest())
