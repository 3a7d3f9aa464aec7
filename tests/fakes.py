"""One fake per port: the same contract suite holds for them and for the real thing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

from chalicelib.domain.objects import StoredObject
from chalicelib.pipeline.ports import Gone


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class FakeBucket:
    """A bucket in memory. `clock` dates what is put; `begin_upload` leaves a multipart upload open."""

    versioned: bool = True
    clock: Callable[[], datetime] = utc_now
    _kept: dict[str, list[tuple[StoredObject, bytes | None]]] = field(default_factory=dict)  # None: delete marker
    _open: list[tuple[str, datetime]] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def list(self, prefix: str = "") -> Sequence[StoredObject]:
        latest = (kept[-1] for key, kept in sorted(self._kept.items()) if kept and key.startswith(prefix))
        return [item for item, body in latest if body is not None]

    def read(self, item: StoredObject, start: int, length: int) -> bytes:
        return self._body(item)[start : start + length]

    def stream(self, item: StoredObject) -> Iterator[bytes]:
        body = self._body(item)
        yield from (body[at : at + 2**20] for at in range(0, len(body), 2**20))

    def get(self, key: str) -> bytes | None:
        kept = self._kept.get(key)
        return kept[-1][1] if kept else None

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self._keep(key, body)

    def put_parts(self, key: str, parts: Iterator[bytes]) -> None:
        self._keep(key, b"".join(parts))

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            if self.versioned and key in self._kept:
                self._keep(key, None)
            else:
                self._kept.pop(key, None)

    def open_uploads(self, keys: Sequence[str]) -> Sequence[tuple[str, datetime]]:
        def asked(key: str) -> bool:
            return any(key == k or (k.endswith("/") and key.startswith(k)) for k in keys)

        return [(key, begun) for key, begun in self._open if asked(key)]

    def begin_upload(self, key: str, begun: datetime | None = None) -> None:
        self._open.append((key, begun or self.clock()))

    def end_upload(self, key: str) -> None:
        self._open = [(k, begun) for k, begun in self._open if k != key]

    def _keep(self, key: str, body: bytes | None) -> None:
        etag = hashlib.md5(body or b"").hexdigest()
        version_id = f"v{next(self._ids)}" if self.versioned else ""
        item = StoredObject(key, len(body or b""), etag, self.clock(), version_id)
        self._kept[key] = [*(self._kept.get(key, []) if self.versioned else []), (item, body)]

    def _body(self, item: StoredObject) -> bytes:
        for kept, body in self._kept.get(item.key, []):
            if body is not None and (kept.version_id, kept.etag) == (item.version_id, item.etag):
                return body
        raise Gone(item.key)
