"""A local folder or file read as a drop, so that it is judged before uploading by the rules that will judge it then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Report
from chalicelib.domain.formats import DEFAULTS, Limits, judge_upload
from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.policy import NO_POLICY, Policy
from chalicelib.domain.report_text import ref_of
from chalicelib.pipeline.audit import BucketReader, audit
from chalicelib.pipeline.ports import Gone

_BLOCK = 2**20


@dataclass(frozen=True)
class LocalFiles:
    """A folder, or one file, as a read-only bucket: `prefix` stands before each path. Links are followed."""

    root: Path
    prefix: str = ""

    def list(self, prefix: str = "") -> Sequence[StoredObject]:
        files = [self.root] if self.root.is_file() else [p for p in self.root.rglob("*") if p.is_file()]
        found = [self._described(p) for p in files]
        return sorted((f for f in found if f.key.startswith(prefix)), key=lambda f: f.key)

    def read(self, item: StoredObject, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; raises Gone when the file isn't the listed one any more."""
        with self._path(item).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def stream(self, item: StoredObject) -> Iterator[bytes]:
        with self._path(item).open("rb") as file:
            while block := file.read(_BLOCK):
                yield block

    def _described(self, path: Path) -> StoredObject:
        seen = path.stat()
        relative = path.name if path == self.root else path.relative_to(self.root).as_posix()
        modified = datetime.fromtimestamp(seen.st_mtime, UTC)
        return StoredObject(self.prefix + relative, seen.st_size, f"{seen.st_mtime_ns}-{seen.st_ino}", modified)

    def _path(self, item: StoredObject) -> Path:
        path = self.root if self.root.is_file() else self.root / item.key.removeprefix(self.prefix)
        if not path.is_file() or self._described(path) != item:
            raise Gone(f"{path} changed while it was read")
        return path


def audit_path(path: Path, *, limits: Limits = DEFAULTS, policy: Policy = NO_POLICY) -> Iterator[Report]:
    """Yield a report for a local artifact, or one for each upload of a folder of MODEL_ID/VERSION_ID/ folders.

    Raises Rejected where there is nothing.
    """
    if not path.exists():
        raise Rejected(
            f"{path}: there is no such file or folder; name a model.mar or an export's folder", code="no_path"
        )
    keys = [item.key for item in LocalFiles(path).list()]
    if keys and all(key.count("/") > 1 for key in keys):
        yield from audit(LocalFiles(path), limits=limits, policy=policy)
    else:
        yield _judge(LocalFiles(path, _prefix(path)), limits, policy)


def _judge(files: LocalFiles, limits: Limits, policy: Policy) -> Report:
    upload = Upload(files.prefix, tuple(files.list()))
    return judge_upload(upload, BucketReader(files, upload), limits, policy)


def _prefix(path: Path) -> str:
    """Return where a folder would be dropped by its last two names, else its own name, which names no version."""
    folder = (path.parent if path.is_file() else path).resolve()
    named = "/".join(folder.parts[-2:]) + "/"
    return named if ref_of(named) is not None else f"{path.resolve().name}/"
