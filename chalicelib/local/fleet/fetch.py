"""Model store → read-only folder. What a replica loads is proven to be what was registered, before it starts."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from chalicelib.domain.deployment import Deployment
from chalicelib.domain.objects import StoredObject
from chalicelib.domain.version import PART_SIZE, SealedFile, file_digest, version_digest
from chalicelib.local.fleet.folders import remove
from chalicelib.pipeline.ports import Bucket


class Unfit(Exception):
    """What lies in the store is not what was registered; trying again won't mend it."""


class Abandoned(Exception):
    """The deployment was stopped while its model was being fetched."""


def fetch(store: Bucket, deployment: Deployment, folder: Path, *, is_wanted: Callable[[], bool]) -> None:
    """Make `folder` hold the version's files, read-only, all or nothing.

    Raises Unfit when the bytes are not the registered ones, Abandoned when `is_wanted` turns false.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        files = [_download(store, item, deployment, fresh, is_wanted) for item in _objects(store, deployment)]
        _must_match(version_digest(files), deployment)
        _make_read_only(fresh)
        remove(folder)
        fresh.rename(folder)
    except BaseException:
        remove(fresh)
        raise


def _objects(store: Bucket, deployment: Deployment) -> list[StoredObject]:
    found = [item for item in store.list(_prefix(deployment)) if not item.key.endswith("/")]
    if not found:
        raise Unfit(f"the model store holds nothing under {_prefix(deployment)}; register {deployment.ref} again")
    return found


def _prefix(deployment: Deployment) -> str:
    return deployment.store_prefix.rstrip("/") + "/"


def _download(
    store: Bucket, item: StoredObject, deployment: Deployment, fresh: Path, is_wanted: Callable[[], bool]
) -> SealedFile:
    path = item.key.removeprefix(_prefix(deployment))
    target = fresh / _inside(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    parts = _Parts()
    with target.open("xb") as file:
        for block in _wanted(store.stream(item), is_wanted):
            file.write(block)
            parts.add(block)
    return SealedFile(path=path, size=target.stat().st_size, digest=file_digest(parts.digests()))


def _wanted(blocks: Iterator[bytes], is_wanted: Callable[[], bool]) -> Iterator[bytes]:
    for block in blocks:
        if not is_wanted():
            raise Abandoned
        yield block


def _inside(path: str) -> PurePosixPath:
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise Unfit(f"{path!r} in the model store leads out of the version's folder")
    return PurePosixPath(path)


def _must_match(digest: str, deployment: Deployment) -> None:
    if digest != deployment.digest:
        raise Unfit(f"the model store holds {digest} for {deployment.ref}; what was registered is {deployment.digest}")


def _make_read_only(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            (Path(parent) / name).chmod(0o444)
        Path(parent).chmod(0o555)


class _Parts:
    """SHA-256 of each PART_SIZE of a stream, in constant memory."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._open = hashlib.sha256()
        self._room = PART_SIZE

    def add(self, block: bytes) -> None:
        view = memoryview(block)
        while len(view) > self._room:
            self._open.update(view[: self._room])
            view = view[self._room :]
            self._done.append(self._open.digest())
            self._open, self._room = hashlib.sha256(), PART_SIZE
        self._open.update(view)
        self._room -= len(view)

    def digests(self) -> list[bytes]:
        return [*self._done, self._open.digest()]
