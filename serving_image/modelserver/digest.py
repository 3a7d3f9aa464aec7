"""The digest of the files that a replica loaded: proof of bytes, where a variable would prove configuration.

A file's digest is S3's composite SHA-256 over 64 MiB parts, so the store can compute the same one.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

PART = 64 * 1024 * 1024
BLOCK = 1024 * 1024
OURS = frozenset({"_report.json", "_report.txt", "_manifest.json", "_SUCCESS"})


def file_digest(path: Path) -> str:
    """Plain hex SHA-256 up to one part; above, `hex-N` over the raw digests of N parts."""
    size = path.stat().st_size
    with path.open("rb") as file:
        parts = [_part_digest(file) for _ in range(max(1, -(-size // PART)))]
    if len(parts) == 1:
        return parts[0].hex()
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"


def _part_digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    left = PART
    while left and (block := file.read(min(BLOCK, left))):
        digest.update(block)
        left -= len(block)
    return digest.digest()


def version_digest(files: Iterable[tuple[str, int, str]]) -> str:
    """Digest of (relative POSIX path, size, file digest), whatever their order."""
    lines = sorted((path.encode(), size, digest) for path, size, digest in files)
    return "sha256:" + hashlib.sha256(b"".join(b"%b\0%d\0%b\n" % (p, s, d.encode()) for p, s, d in lines)).hexdigest()


def folder_digest(folder: Path) -> str:
    """Version digest of what lies in the folder, without what the control plane itself writes beside it."""
    return version_digest((name, path.stat().st_size, file_digest(path)) for name, path in _artifact_files(folder))


def _artifact_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in OURS and not name.startswith("_reports/"):
            yield name, path
