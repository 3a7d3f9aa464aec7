"""Uploads held in memory, and the smallest archives, for tests of judging."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.domain.findings import Report
from chalicelib.domain.formats import DEFAULTS, Limits, judge_upload
from chalicelib.domain.objects import StoredObject, Upload

PREFIX = "digits/1/"
THEN = datetime(2026, 1, 1, tzinfo=UTC)
HANDLER = b"""\
class Echo:
    def initialize(self, context): ...

    def handle(self, data, context):
        return data
"""


class Memory:
    """A reader of files held in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def read(self, path: str, start: int, length: int) -> bytes:
        return self.files[path][start : start + length]

    def stream(self, path: str) -> Iterator[bytes]:
        body = self.files[path]
        yield from (body[at : at + 1000] for at in range(0, len(body), 1000))


def stored(path: str, size: int, modified: datetime = THEN) -> StoredObject:
    return StoredObject(PREFIX + path, size, f"etag-{path}-{size}", modified)


def upload_of(files: Mapping[str, bytes]) -> Upload:
    return Upload(PREFIX, tuple(stored(path, len(files[path])) for path in sorted(files)))


def judged(files: Mapping[str, bytes], limits: Limits = DEFAULTS) -> Report:
    return judge_upload(upload_of(files), Memory(files), limits)


def codes(report: Report) -> list[str]:
    return [f.code for f in report.findings]


def folder(path: Path) -> dict[str, bytes]:
    """Return the files of a folder by their relative paths."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def manifest(**model: object) -> bytes:
    return json.dumps({"model": {"modelName": "model", "handler": "h.py"} | model}).encode()


def zipped(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in entries.items():
            archive.writestr(dated(name), body, method)
    return buffer.getvalue()


def dated(name: str) -> zipfile.ZipInfo:
    """Return an entry of a fixed date: the same bytes at any time, for tests are named by them."""
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.external_attr = (0o40775 << 16 | 0x10) if name.endswith("/") else 0o600 << 16
    return info


def mar(source: bytes = HANDLER, extra: Mapping[str, bytes] | None = None, **model: object) -> bytes:
    """Return an archive with a handler `h.py` of that source; `model` changes fields of the manifest."""
    return zipped({"h.py": source, "MAR-INF/MANIFEST.json": manifest(**model)} | dict(extra or {}))
