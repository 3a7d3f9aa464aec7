"""A zip inside the archive, walked while its bytes come: Torch's own form, NumPy's, or any other.

Torch writes stored entries whose sizes follow their data, so where such an entry ends is told by its descriptor: there
signature, running CRC and size agree, and the inner directory has to say the same in the end.
"""

import re
import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.limits import Limits
from chalicelib.domain.zipdir import (
    DEFLATED,
    DESCRIPTOR_FLAG,
    LOCAL,
    STORED,
    ZipFault,
    decode_name,
    directory_findings,
    names_another,
    read_directory,
    resolve64,
)
from chalicelib.domain.zipwalk import Sink

_FULL32 = 0xFFFFFFFF
_PIECE = 2**20
_WINDOW = 96 * 2**10  # bytes searched at once: they stay in the cache for their CRC, and other threads get their turn
_TAIL_LIMIT = 16 * 2**20  # bytes of a directory and its end records
_FALSE_ENDS = 100_000  # descriptors' signatures that are none
_SIGNATURE = b"PK\7\x08"
_TORCH = re.compile(r"[^/]+/(data\.pkl|constants\.pkl|version|\.data/version|archive_format)\Z")
_SCRIPT = re.compile(r"[^/]+/constants\.pkl\Z")

Steps = Generator[None, None, None]


@dataclass
class Budget:
    """What all inner archives of one archive may cost together."""

    entries: int
    expanded: int
    ratio: int
    opcodes: int = Limits.opcodes  # of each file
    packed: int = 0
    inflated: int = 0

    def spend(self, name: str, packed: int, inflated: int) -> None:
        self.packed += packed
        self.inflated += inflated
        expands = self.inflated > 2**30 and self.inflated > self.ratio * self.packed
        if expands or self.inflated > self.expanded:
            raise ZipFault("too_large", name, f"inner archives inflate to {self.inflated} bytes or more")

    def count(self) -> None:
        self.entries -= 1
        if self.entries < 0:
            raise ZipFault("too_many_entries", "", "inner archives have more entries than an archive may")


@dataclass(frozen=True)
class _Local:
    """What an entry's own header says, ZIP64 fields resolved, and where it lies."""

    offset: int
    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int

    @property
    def is_deferred(self) -> bool:
        """Tell whether the sizes follow the data."""
        return bool(self.flags & DESCRIPTOR_FLAG) and self.packed == 0


@dataclass(frozen=True)
class Whole:
    """What came of an entry once its bytes were walked; the directory has to say the same."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class ZipStream:
    """Walks a zip as its bytes are fed; `fault` says why it isn't one with one reading, if it isn't."""

    def __init__(self, visit: Callable[[str], Sink], budget: Budget) -> None:
        self.fault: ZipFault | None = None
        self.is_torch = self.is_script = False
        self._visit = visit
        self._budget = budget
        self._data = b""
        self._at = 0  # in the data
        self._before = 0  # bytes before the data
        self._ended = False
        self._found: list[Whole] = []
        self._sink: Sink | None = None
        self._crc = self._size = self._packed = 0
        self._steps = self._walk()
        self._advance()

    def feed(self, piece: bytes) -> None:
        self._before += self._at
        rest = self._data[self._at :]
        self._data = rest + piece if rest else piece
        self._at = 0
        self._advance()

    def end(self) -> None:
        self._ended = True
        self._advance()

    def _advance(self) -> None:
        try:
            next(self._steps, None)
        except ZipFault as fault:
            self.fault = fault
        if self.fault:
            self._data, self._at = b"", 0

    def _walk(self) -> Steps:
        while True:
            yield from self._need(4, "")
            if self._peek(4) != b"PK\3\4":
                break
            yield from self._entry()
        yield from self._directory()

    def _need(self, length: int, name: str) -> Steps:
        while len(self._data) - self._at < length:
            yield from self._more(name)

    def _more(self, name: str) -> Steps:
        if self._ended:
            raise ZipFault("bad_zip", name, "it ends too early")
        yield

    def _peek(self, length: int) -> bytes:
        return self._data[self._at : self._at + length]

    def _take(self, length: int) -> bytes:
        taken = self._peek(length)
        self._at += length
        return taken

    def _entry(self) -> Steps:
        yield from self._need(LOCAL.size, "")
        offset = self._before + self._at
        head = LOCAL.unpack(self._take(LOCAL.size))
        yield from self._need(head[9] + head[10], "")
        local = _local(offset, head, self._take(head[9]), self._take(head[10]))
        self._budget.count()
        self.is_torch |= bool(_TORCH.match(local.name))
        self.is_script |= bool(_SCRIPT.match(local.name))
        self._sink = self._visit(local.name)
        self._crc = self._size = self._packed = 0
        yield from self._body(local)
        self._sink.end()
        self._keep(local)

    def _body(self, local: _Local) -> Steps:
        if local.method == DEFLATED:
            yield from self._inflate(local.name)
            if local.flags & DESCRIPTOR_FLAG:
                yield from self._need(28, local.name)
                self._descriptor(local.name)
        elif local.is_deferred:
            yield from self._until_descriptor(local.name)
        else:
            yield from self._pass(local.size, local.name)
            if local.flags & DESCRIPTOR_FLAG:
                yield from self._need(28, local.name)
                self._descriptor(local.name)

    def _keep(self, local: _Local) -> None:
        true = (self._crc, self._packed, self._size)
        said = (local.crc, local.packed, local.size)
        deferred = local.flags & DESCRIPTOR_FLAG
        if any(s != t and not (deferred and s == 0) for s, t in zip(said, true, strict=True)):
            code = "wrong_crc" if said[1:] == true[1:] else "header_mismatch"
            if code == "wrong_crc":
                raise ZipFault("wrong_crc", local.name, f"its bytes have CRC {self._crc:08x}, not {local.crc:08x}")
            raise ZipFault("header_mismatch", local.name, "its header and its data differ in size")
        self._found.append(Whole(local.raw_name, local.flags, local.method, *true, local.offset))

    def _give(self, piece: bytes) -> None:
        self._crc = zlib.crc32(piece, self._crc)
        self._size += len(piece)
        if self._sink:
            self._sink.feed(piece)

    def _pass(self, length: int, name: str) -> Steps:
        """Give the next bytes as they are."""
        left = length
        while left:
            yield from self._need(1, name)
            piece = self._take(min(left, len(self._data) - self._at))
            left -= len(piece)
            self._packed += len(piece)
            self._give(piece)

    def _inflate(self, name: str) -> Steps:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while not inflate.eof:
            yield from self._need(1, name)
            block = self._take(len(self._data) - self._at)
            try:
                self._inflate_block(inflate, block, name)
            except zlib.error as e:
                raise ZipFault("bad_zip", name, f"it can't be inflated: {e}") from e
            self._at -= len(inflate.unused_data)
            used = len(block) - len(inflate.unused_data)
            self._packed += used
            self._budget.spend(name, used, 0)

    def _inflate_block(self, inflate: "zlib._Decompress", block: bytes, name: str) -> None:
        while True:
            piece = inflate.decompress(block, _PIECE)
            self._give(piece)
            self._budget.spend(name, 0, len(piece))
            block = inflate.unconsumed_tail
            if inflate.eof or (not block and len(piece) < _PIECE):
                return

    def _until_descriptor(self, name: str) -> Steps:
        """Give bytes until a descriptor that says what they are."""
        false_ends = 0
        while True:
            at = self._data.find(_SIGNATURE, self._at, self._at + _WINDOW)
            end = at if at >= 0 else self._window_end()
            if end > self._at:
                self._give(self._take(end - self._at))
            elif at < 0:
                yield from self._more(name)
            if at < 0:
                continue
            yield from self._need(28, name)
            self._packed = self._size
            if self._is_descriptor():
                return
            false_ends += 1
            if false_ends > _FALSE_ENDS:
                raise ZipFault("bad_zip", name, "where it ends can't be told")
            self._give(self._take(len(_SIGNATURE)))

    def _window_end(self) -> int:
        """Return how far the data can be given where no signature begins: short of what may begin one."""
        end = min(len(self._data), self._at + _WINDOW)
        return next((end - n for n in (3, 2, 1) if self._data.endswith(_SIGNATURE[:n], self._at, end)), end)

    def _is_descriptor(self) -> bool:
        """Take a descriptor of what was given, if there is one, followed by a header."""
        values = (self._crc, self._packed, self._size)
        for form in ("<4sI2Q", "<4s3I"):
            if form == "<4s3I" and max(values) > _FULL32:
                continue
            expected = struct.pack(form, _SIGNATURE, *values)
            if self._peek(len(expected) + 4) in (expected + b"PK\3\4", expected + b"PK\1\2"):
                self._take(len(expected))
                return True
        return False

    def _descriptor(self, name: str) -> None:
        if not self._is_descriptor():
            raise ZipFault("header_mismatch", name, "its descriptor and its data differ")

    def _directory(self) -> Steps:
        """Compare what was walked with the directory that follows."""
        while not self._ended:
            if len(self._data) > _TAIL_LIMIT:
                raise ZipFault("bad_zip", "", "its directory is too large, or bytes follow that belong to no entry")
            yield
        start = self._before + self._at
        tail = self._data[self._at :]

        def read(at: int, length: int) -> bytes:
            return tail[at - start : at - start + length] if at >= start else b""

        directory = read_directory(read, start + len(tail), entries_limit=len(self._found))
        if directory.start != start:
            raise ZipFault("hidden_bytes", "", "there are bytes before its directory that belong to no entry")
        said = [Whole(e.raw_name, e.flags, e.method, e.crc, e.packed, e.size, e.offset) for e in directory.entries]
        for one, other in zip(said, self._found, strict=False):
            if one != other:
                name = other.raw_name.decode(errors="replace")
                raise ZipFault("header_mismatch", name, "the entry and the directory differ")
        if len(said) != len(self._found):
            raise ZipFault("hidden_bytes", "", "it has entries that its directory doesn't name")
        for finding in directory_findings(directory, expanded=self._budget.expanded, ratio=self._budget.ratio):
            if finding.code != "stored_descriptor":  # Torch's own form, which nobody reads with Java
                raise ZipFault(finding.code, finding.where, finding.message)


def _local(offset: int, head: tuple[Any, ...], raw_name: bytes, extra: bytes) -> _Local:
    _, flags, method, _, _, crc, packed, size = head[1:9]
    name = decode_name(raw_name, flags)
    if flags & 1 or method not in (STORED, DEFLATED):
        raise ZipFault("unknown_compression", name, "it is encrypted, or neither stored nor deflated")
    if names_another(extra, name):
        raise ZipFault("illegal_entry_name", name, "an extra field gives it a second name")
    size, packed = resolve64(extra, [(size, _FULL32), (packed, _FULL32)], name)
    return _Local(offset, raw_name, name, flags, method, crc, packed, size)
