"""The variables of a SavedModel by their index: which shards there are, how long each is, what few tensors hold."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chalicelib.domain.objects import StoredObject
from chalicelib.domain.protobuf import LENGTH, Malformed, Wire
from chalicelib.domain.sstable import crc32c, entries, unmasked

INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-\d+-of-\d+")
_SHARDS_LIMIT = 100_000
_NOT_PLAIN = frozenset({7, 20, 21})  # texts, resources and variants have checksums of another kind
_TENSORS = 8  # that are read to compare their checksums
_TENSOR_BYTES = 32 * 2**10  # the most that one of these has
_NAME = 100  # characters of a name that is shown


@dataclass(frozen=True)
class Shard:
    """One data file of the variables: its path, and the bytes that the index says it has."""

    path: str
    size: int


@dataclass(frozen=True, order=True)
class Sample:
    """A small tensor: where its bytes lie, and the checksum that the index says they have."""

    size: int
    path: str
    start: int
    crc: int
    name: str


@dataclass
class _Entry:
    """What the index says of one tensor (BundleEntryProto)."""

    numbers: dict[int, int] = field(default_factory=dict)
    sliced: bool = False

    @property
    def is_plain(self) -> bool:
        return not self.sliced and self.numbers.get(1, 0) not in _NOT_PLAIN and 6 in self.numbers  # noqa: PLR2004


@dataclass(frozen=True)
class Index:
    """What `variables.index` says: every shard, and a few small tensors, of as many shards as there are."""

    shards: tuple[Shard, ...]
    samples: tuple[Sample, ...]


def read_index(table: bytes) -> Index:
    """Read a `variables.index`, whose blocks' checksums are verified; raises Malformed."""
    rows = entries(table)
    header = next(rows, None)
    if header is None or header[0]:
        raise Malformed("it has no header")
    count = _entry(header[1]).numbers.get(1, 0)
    if not 0 < count <= _SHARDS_LIMIT:
        raise Malformed(f"it names {count} shards")
    sizes = [0] * count
    samples = _Samples()
    for key, value in rows:
        entry = _entry(value)
        shard, start, size = (entry.numbers.get(n, 0) for n in (3, 4, 5))
        if shard >= count:
            raise Malformed(f"an entry is in shard {shard} of {count}")
        sizes[shard] = max(sizes[shard], start + size)
        if entry.is_plain and 0 < size <= _TENSOR_BYTES:
            name = key.decode(errors="replace")[:_NAME]
            samples.add(Sample(size, _path(shard, count), start, entry.numbers[6], name))
    return Index(tuple(Shard(_path(n, count), size) for n, size in enumerate(sizes)), samples.chosen())


class _Samples:
    """Keeps the smallest tensor of a few shards, and the smallest of all."""

    def __init__(self) -> None:
        self._by_shard: dict[str, Sample] = {}
        self._others: list[Sample] = []

    def add(self, sample: Sample) -> None:
        known = self._by_shard.get(sample.path)
        if known is None and len(self._by_shard) < _TENSORS:
            self._by_shard[sample.path] = sample
        elif known is not None and sample < known:
            self._by_shard[sample.path] = sample
            self._keep(known)
        else:
            self._keep(sample)

    def chosen(self) -> tuple[Sample, ...]:
        return (*self._by_shard.values(), *self._others)[:_TENSORS]

    def _keep(self, sample: Sample) -> None:
        if len(self._others) < _TENSORS or sample < self._others[-1]:
            self._others = sorted([*self._others, sample])[:_TENSORS]


def missing_shards(shards: tuple[Shard, ...], present: Mapping[str, StoredObject]) -> tuple[str, ...]:
    """Return the shards that aren't there, or are shorter than the index says: an older object being replaced."""
    return tuple(
        s.path if s.path not in present else f"{s.path} (it has {present[s.path].size} of {s.size} bytes)"
        for s in shards
        if s.path not in present or present[s.path].size < s.size
    )


def stray_shards(shards: tuple[Shard, ...], present: Iterable[str]) -> tuple[str, ...]:
    """Return the shards that lie there and that the index doesn't name: of an export with another count."""
    named = {s.path for s in shards}
    return tuple(path for path in sorted(present) if _SHARD.fullmatch(path) and path not in named)


def is_damaged(sample: Sample, body: bytes) -> bool:
    """Tell whether a tensor's bytes are other than the index says."""
    return crc32c(body) != unmasked(sample.crc)


def _path(shard: int, count: int) -> str:
    return f"variables/variables.data-{shard:05d}-of-{count:05d}"


def _entry(message: bytes) -> _Entry:
    entry = _Entry()
    for f in Wire([message]).fields():
        if f.wire != LENGTH:
            entry.numbers[f.number] = f.value
        elif f.number == 7:  # noqa: PLR2004
            entry.sliced = True
    return entry
