"""Seal by reading and writing: for stores that don't tell a SHA-256 of what they copy.

Each object is read once and written anew, in parts that are hashed while they pass by; one part is held in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalicelib.domain.objects import StoredObject
from chalicelib.domain.version import PART_SIZE, check_promise, file_digest
from chalicelib.pipeline.ports import Bucket


@dataclass(frozen=True)
class StreamingSealer:
    """`ports.Sealer` over any two buckets."""

    drop: Bucket
    store: Bucket
    part_size: int = PART_SIZE

    def copy(self, item: StoredObject, key: str, *, sha256: str = "") -> str:
        """Copy one object; raises Gone, or Rejected when its SHA-256 isn't the promised one."""
        digests = _Digests()
        self.store.put_parts(key, digests.over(_parts(self.drop, item, self.part_size)))
        if sha256:
            check_promise(item.key, digests.whole.hexdigest(), sha256)
        return file_digest(digests.parts)

    def release(self, items: Sequence[StoredObject]) -> None:
        """Nothing to say: the drop keeps what was sealed until somebody deletes it."""


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


def _parts(drop: Bucket, item: StoredObject, size: int) -> Iterator[bytes]:
    """Yield an object in parts of that size; an empty object is one empty part."""
    held = bytearray()
    for block in drop.stream(item):
        held += block
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held or not item.size:
        yield bytes(held)
