"""`variables/`: which shards the index names, and how long each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.domain.objects import StoredObject
from chalicelib.domain.protobuf import Malformed, Wire
from chalicelib.domain.sstable import entries

INDEX = "variables/variables.index"
_SHARDS_LIMIT = 100_000


@dataclass(frozen=True)
class Shard:
    """One data file of the variables: its path, and the bytes that the index says it has."""

    path: str
    size: int


def read_index(table: bytes) -> tuple[Shard, ...]:
    """Return the shards that a `variables.index` names; raises Malformed."""
    rows = entries(table)
    header = next(rows, None)
    if header is None or header[0]:
        raise Malformed("it has no header")
    count = _numbers(header[1]).get(1, 0)
    if not 0 < count <= _SHARDS_LIMIT:
        raise Malformed(f"it names {count} shards")
    sizes = [0] * count
    for _, value in rows:
        entry = _numbers(value)
        shard, end = entry.get(3, 0), entry.get(4, 0) + entry.get(5, 0)
        if shard >= count:
            raise Malformed(f"an entry is in shard {shard} of {count}")
        sizes[shard] = max(sizes[shard], end)
    return tuple(Shard(f"variables/variables.data-{n:05d}-of-{count:05d}", size) for n, size in enumerate(sizes))


def missing_shards(shards: tuple[Shard, ...], present: Mapping[str, StoredObject]) -> tuple[str, ...]:
    """Return the shards that aren't there, or are shorter than the index says: an older object being replaced."""
    return tuple(
        s.path if s.path not in present else f"{s.path} (it has {present[s.path].size} of {s.size} bytes)"
        for s in shards
        if s.path not in present or present[s.path].size < s.size
    )


def _numbers(message: bytes) -> dict[int, int]:
    return {f.number: f.value for f in Wire([message]).fields()}
