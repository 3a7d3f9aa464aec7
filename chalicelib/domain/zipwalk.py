"""A zip walked once from its first byte to its last: headers compared, every byte inflated and checked, none held."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from chalicelib.domain.ahead import ahead
from chalicelib.domain.protobuf import BUFFER_LIMIT
from chalicelib.domain.zipdir import DEFLATED, DESCRIPTOR_FLAG, LOCAL, Directory, Entry, Read, ZipFault
from chalicelib.domain.zipdir import names_another as _names_another
from chalicelib.domain.zipdir import resolve64 as _resolve64

_FULL32 = 0xFFFFFFFF
_PIECE = 2**21  # bytes inflated at once
_BATCH = 1_000  # pieces handed to another thread at once
# A descriptor is told by its length: with or without a signature, with sizes of 32 or of 64 bits.
_DESCRIPTORS = {12: "<3I", 16: "<4s3I", 20: "<I2Q", 24: "<4sI2Q"}

Piece = tuple[Entry, bytes | None]


class Sink(Protocol):
    """Takes the bytes of one entry."""

    def feed(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


class _Nowhere:
    def feed(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


NOWHERE: Sink = _Nowhere()


def walk(blocks: Iterable[bytes], directory: Directory, visit: Callable[[Entry], Sink] = lambda _: NOWHERE) -> None:
    """Check the bytes of an archive against its directory, in one pass; raises ZipFault at the first disagreement.

    Reading and inflating runs ahead in a second thread. What `visit` returns for an entry gets its bytes as they come.
    """
    for batch in ahead(_batches(_pieces(_Source(blocks), directory))):
        for entry, piece in batch:
            if piece is None:
                checked, sink = _Checked(entry), visit(entry)
            elif piece:
                checked.feed(piece)
                sink.feed(piece)
            else:
                checked.end()
                sink.end()


def _pieces(source: "_Source", directory: Directory) -> Iterator[Piece]:
    """Yield each entry's pieces, after None for its begin and before b"" for its end."""
    ends = [*(e.offset for e in directory.entries), directory.start][1:]
    for entry, end in zip(directory.entries, ends, strict=True):
        if source.position != entry.offset:
            raise ZipFault("hidden_bytes", entry.name, "there are bytes before its header that belong to no entry")
        check_local(source.take, entry)
        yield entry, None
        packed = source.upto(entry.packed)
        pieces = _inflated(packed, entry) if entry.method == DEFLATED else packed
        yield from ((entry, piece) for piece in pieces if piece)
        yield entry, b""
        _check_descriptor(source.take(_rest(end - source.position, entry)), entry)
    if source.position != directory.start:
        raise ZipFault("hidden_bytes", "", "there are bytes before its directory that belong to no entry")


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces in lists that are worth handing to another thread; what precedes a fault is handed over first."""
    batch: list[Piece] = []
    size = 0
    try:
        for piece in pieces:
            batch.append(piece)
            size += len(piece[1] or b"")
            if size >= _PIECE or len(batch) >= _BATCH:
                yield batch
                batch, size = [], 0
    except ZipFault:
        yield batch
        raise
    yield batch


def extract(read: Read, entry: Entry, limit: int) -> bytes:
    """Return one small entry, checked like all; raises ZipFault, also when it has more than `limit` bytes."""
    if entry.size > limit:
        raise ZipFault("too_large", entry.name, f"it has {entry.size} bytes, more than {limit}")
    if entry.packed > BUFFER_LIMIT:
        raise ZipFault("too_large", entry.name, f"it takes {entry.packed} bytes, more than {BUFFER_LIMIT}")
    head = _Source([read(entry.offset, LOCAL.size + 2 * 0xFFFF)])
    start = entry.offset + check_local(head.take, entry)
    packed = [read(start, entry.packed)]
    pieces: list[bytes] = []
    checked = _Checked(entry)
    for piece in _inflated(packed, entry) if entry.method == DEFLATED else packed:
        checked.feed(piece)
        pieces.append(piece)
    checked.end()
    return b"".join(pieces)


def check_local(take: Callable[[int], bytes], entry: Entry) -> int:
    """Compare an entry's local header, which `take` reads on, with the directory; returns the header's length."""
    header = take(LOCAL.size)
    fields: tuple[bytes, *tuple[int, ...]] = LOCAL.unpack(header)
    magic, (_, flags, method, _, _, crc, packed, size, name_length, extra_length) = fields[0], fields[1:]
    name, extra = take(name_length), take(extra_length)
    if magic != b"PK\3\4":
        raise ZipFault("header_mismatch", entry.name, "there is no header where the directory says")
    if (name, flags, method) != (entry.raw_name, entry.flags, entry.method) or _names_another(extra, entry.name):
        raise ZipFault("header_mismatch", entry.name, "its header and the directory differ in name, flags or method")
    size, packed = _resolve64(extra, [(size, _FULL32), (packed, _FULL32)], entry.name)
    deferred = flags & DESCRIPTOR_FLAG
    for said, true in ((crc, entry.crc), (packed, entry.packed), (size, entry.size)):
        if said != true and not (deferred and said == 0):
            raise ZipFault("header_mismatch", entry.name, "its header and the directory differ in CRC or size")
    return LOCAL.size + name_length + extra_length


class _Checked:
    """Counts and checks the bytes of one entry as they come."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._crc = self._size = 0

    def feed(self, piece: bytes) -> None:
        entry = self._entry
        self._crc, self._size = zlib.crc32(piece, self._crc), self._size + len(piece)
        if self._size > entry.size:
            raise ZipFault("header_mismatch", entry.name, f"it inflates past the {entry.size} bytes that it declares")

    def end(self) -> None:
        entry, crc = self._entry, self._crc
        if self._size != entry.size:
            message = f"it inflates to {self._size} bytes and declares {entry.size}"
            raise ZipFault("header_mismatch", entry.name, message)
        if crc != entry.crc:
            raise ZipFault("wrong_crc", entry.name, f"its bytes have CRC {crc:08x} and it declares {entry.crc:08x}")


def _inflated(packed: Iterable[bytes], entry: Entry) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in packed:
            rest = block
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _PIECE)
                rest = inflate.unconsumed_tail
            if inflate.unused_data or (rest and inflate.eof):
                raise ZipFault("hidden_bytes", entry.name, "there are bytes after its deflated stream")
        while not inflate.eof and (piece := inflate.decompress(inflate.unconsumed_tail, _PIECE)):
            yield piece
    except zlib.error as e:
        raise ZipFault("bad_zip", entry.name, f"it can't be inflated: {e}") from e
    if not inflate.eof:
        raise ZipFault("bad_zip", entry.name, "its deflated stream doesn't end")


def _rest(length: int, entry: Entry) -> int:
    """Return how many bytes lie between an entry's data and what follows; they must be its descriptor or nothing."""
    legal = _descriptor_lengths(entry) if entry.flags & DESCRIPTOR_FLAG else (0,)
    if length not in legal:
        raise ZipFault("hidden_bytes", entry.name, f"{length} bytes after its data belong to no entry, or overlap one")
    return length


def _descriptor_lengths(entry: Entry) -> tuple[int, int]:
    """Return how long a descriptor may be: Java takes its sizes for 64-bit ones only where they don't fit 32."""
    return (20, 24) if max(entry.packed, entry.size) > _FULL32 else (12, 16)


def _check_descriptor(descriptor: bytes, entry: Entry) -> None:
    if not descriptor:
        return
    *signature, crc, packed, size = struct.unpack(_DESCRIPTORS[len(descriptor)], descriptor)
    if signature not in ([], [b"PK\7\x08"]) or (crc, packed, size) != (entry.crc, entry.packed, entry.size):
        raise ZipFault("header_mismatch", entry.name, "its descriptor and the directory differ")


class _Source:
    """A stream of blocks that is taken in pieces of known lengths."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")
        self.position = 0

    def take(self, length: int) -> bytes:
        return b"".join(self.upto(length))

    def upto(self, length: int) -> Iterator[bytes]:
        """Yield the next `length` bytes in pieces; raises ZipFault when there are fewer."""
        while length > 0:
            if not self._rest:
                self._rest = memoryview(next(self._blocks, b""))
            if not self._rest:
                raise ZipFault("bad_zip", "", f"it ends at byte {self.position}, {length} bytes too early")
            piece, self._rest = self._rest[:length], self._rest[length:]
            self.position += len(piece)
            length -= len(piece)
            yield bytes(piece)
