"""Bodies that are too large for a row lie in a bucket, each under a key that no other attempt ever used.

So two writers can't overwrite each other, and a key that no row names is never named later: it may be deleted.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.dynamodb_items import sha
from chalicelib.domain.objects import StoredObject

if TYPE_CHECKING:
    from chalicelib.adapters.dynamodb_items import Row

SPILLS = "_records/"
LARGEST = 64 * 1024  # bytes of JSON that a row holds; a transition's is in up to three rows, of 400 kB at most each


class Overflow(Protocol):
    """The part of a bucket that spills need."""

    def list(self, prefix: str = "") -> Sequence[StoredObject]: ...

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, body: bytes, content_type: str = ...) -> None: ...

    def delete(self, keys: Sequence[str]) -> None: ...


@dataclass(frozen=True)
class SpillName:
    """What a spill's key says: the kind of the record and the hash of its id."""

    key: str
    kind: str
    id_sha: str

    @classmethod
    def parse(cls, key: str) -> "SpillName | None":
        """Return None for a key that isn't ours."""
        parts = key.removeprefix(SPILLS).split("/")
        return cls(key, parts[0], parts[1]) if len(parts) == 3 else None  # noqa: PLR2004 - KIND/SHA/NAME


@dataclass(frozen=True)
class Spills:
    bucket: Overflow

    def pack(self, kind: str, id: str, name: str, text: str) -> "Row":  # noqa: A002 - the record's word
        """Return the attribute that holds the text, or the one that names it once it is kept."""
        if len(text) <= LARGEST:
            return {"body": {"S": text}}
        key = f"{SPILLS}{kind}/{sha(id)}/{name}-{uuid4().hex}.json"
        self.bucket.put(key, text.encode(), "application/json")
        return {"spill": {"S": key}}

    def unpack(self, row: "Row") -> str | None:
        """Return a row's text; None when its spill isn't there any more, so the row is out of date."""
        if "body" in row:
            return row["body"]["S"]
        found = self.bucket.get(row["spill"]["S"])
        return None if found is None else found.decode()

    def forget(self, keys: Sequence[str]) -> None:
        """Delete what is no longer named, if that is possible just now: the sweep finds what stays."""
        with suppress(ClientError, BotoCoreError):
            if keys:
                self.bucket.delete(keys)

    def older_than(self, moment: datetime) -> Sequence[SpillName]:
        old = (SpillName.parse(item.key) for item in self.bucket.list(SPILLS) if item.modified < moment)
        return [name for name in old if name]
