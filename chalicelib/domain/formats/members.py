"""What a file of an archive is by its bytes, and what that means: an inner archive, an array, pickles or neither."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from chalicelib.domain.findings import Finding
from chalicelib.domain.formats.torch_globals import NUMPY, TORCH
from chalicelib.domain.formats.torch_zip import Budget, ZipStream
from chalicelib.domain.pickles import PickleWalk
from chalicelib.domain.zipdir import ZipFault
from chalicelib.domain.zipwalk import Sink

_ALLOWED = TORCH | NUMPY
_PARTS = frozenset(part for name in _ALLOWED for part in name.rpartition(".")[::2])
_SCRIPTED = re.compile(r"__torch__\.[\w.]+|torch\.jit\._pickle\.\w+")
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
_TORCH_PICKLES = (".pkl", ".debug_pkl")
_RAW = re.compile(r"[^/]+/(data/\d+|constants/\d+|data/weights/.*|traced_inputs/\d+)\Z")
_DEEPEST = 4  # archives in each other
_TAIL = 22 + 0xFFFF  # bytes in which a zip's end record lies
_END_BYTES = 22
_HEAD = 512
_ARRAY = b"\x93NUMPY"
_OBJECTS = re.compile(rb"""['"][|<>=]?O\d*['"]""")
_OLDEST = (b"storages\0", b"tensors\0", b"pickle\0", b"sys_info\0")
_SHOWN = 100
_PLAIN = "keep plain tensors only: torch.save(model.state_dict(), FILE), or torch.jit.save for a whole model"
_AGAIN = "save it again with torch.save, and upload the archive as it came out"


def group(name: str) -> str | None:
    """Return `script` for a global that only TorchScript may name, `foreign` for any other that isn't allowed."""
    if name in _ALLOWED:
        return None
    return "script" if _SCRIPTED.fullmatch(name) else "foreign"


@dataclass
class File:
    """Judges one file of an archive as its bytes come; what it is, its first bytes say."""

    name: str
    budget: Budget
    depth: int = 1
    _head: bytes = b""
    _kind: "Archive | Pickles | None" = None
    _size: int = 0
    _last: deque[bytes] = field(default_factory=deque)  # pieces that hold the last bytes
    _kept: int = 0  # bytes of these
    _is_zip_too: bool = False

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        self._keep(piece)
        if self._kind is not None:
            self._kind.feed(piece)
            return
        self._head += piece
        if len(self._head) >= _HEAD:
            self._begin()

    def end(self) -> None:
        if self._kind is None:
            self._begin()
        if self._kind:
            self._kind.end()
        self._is_zip_too = not self.is_archive and _ends_as_zip(b"".join(self._last)[-_TAIL:], self._size)
        self._last.clear()

    def _keep(self, piece: bytes) -> None:
        self._last.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._last[0]) >= _TAIL:
            self._kept -= len(self._last.popleft())

    @property
    def is_archive(self) -> bool:
        return isinstance(self._kind, Archive)

    def findings(self, *, scripted: bool = False) -> Iterator[Finding]:
        """Yield what is wrong with it; `scripted` where the archive that it lies in is TorchScript's."""
        if self._kind:
            yield from self._kind.findings(self.name, scripted=scripted)
        if self._is_zip_too:
            message = "it ends as a zip and doesn't begin as one: readers would see two different files"
            yield Finding("hidden_bytes", self.name, message, _AGAIN)

    def _begin(self) -> None:
        if self._head.startswith((b"PK\3\4", b"PK\5\6")):
            self._kind = Archive(self.budget, self.depth)
        else:
            must = self.name.lower().endswith((*_PICKLE_NAMES, ".debug_pkl"))
            self._kind = Pickles(self._head, must=must, most=self.budget.opcodes)
        self._kind.feed(self._head)
        self._head = b""


class Archive:
    """An inner zip. Which of its files are pickles is known at its end: in Torch's only those named so."""

    def __init__(self, budget: Budget, depth: int) -> None:
        self._files: list[File] = []
        self._budget, self._depth = budget, depth
        self._zip = ZipStream(self._visit, budget)

    def feed(self, piece: bytes) -> None:
        self._zip.feed(piece)

    def end(self) -> None:
        self._zip.end()

    def findings(self, where: str, *, scripted: bool) -> Iterator[Finding]:
        del scripted  # it is what this archive is that counts, not the one around it
        for file in self._files:
            if not self._zip.is_torch or _counts(file):
                yield from _inside(where, file.findings(scripted=self._zip.is_script))
        if self._zip.fault:
            fault = self._zip.fault.finding
            yield from _inside(where, [Finding(fault.code, fault.where, fault.message, _AGAIN)])

    def _visit(self, name: str) -> Sink:
        if self._depth == _DEEPEST:
            raise ZipFault("bad_zip", name, f"archives lie in each other deeper than {_DEEPEST}")
        self._files.append(File(name, self._budget, self._depth + 1))
        return self._files[-1]


class Pickles:
    """Whatever is no zip: pickles if it must be, or if it parses as such to a STOP; an array's header is skipped."""

    def __init__(self, head: bytes, *, must: bool, most: int) -> None:
        self._walk = PickleWalk(group, _PARTS, most=most)
        self._skip = 0
        self._is_oldest = head.startswith(_OLDEST) and head[257:262] == b"ustar"
        self._must = must or self._is_oldest
        if head.startswith(_ARRAY):
            self._skip = _array_header(head)
            self._must = bool(_OBJECTS.search(head[: self._skip]))

    def feed(self, piece: bytes) -> None:
        skipped, self._skip = piece[self._skip :], max(0, self._skip - len(piece))
        if skipped:
            self._walk.feed(skipped)

    def end(self) -> None:
        self._walk.end()

    def findings(self, where: str, *, scripted: bool) -> Iterator[Finding]:
        walk = self._walk
        is_damaged = walk.is_damaged and (self._must or walk.is_legacy)
        seen = [walk.globals, walk.pending] if is_damaged else [walk.globals]
        groups = ("foreign",) if scripted else ("foreign", "script")
        names = {name: None for kept in seen for kind in groups for name in kept.get(kind, {})}
        for name in names:
            message = f"it would import {name[:_SHOWN]!r} while loading, which isn't on the list of what weights need"
            yield Finding("forbidden_global", where, message, _PLAIN)
        if is_damaged:
            why = "it is the oldest form of torch.save, a tar" if self._is_oldest else walk.failure or "it has no bytes"
            yield Finding("bad_pickle", where, f"it must be a pickle, or a zip of torch.save, and isn't: {why}", _AGAIN)
        elif walk.is_too_long:
            yield Finding("bad_pickle", where, f"as a pickle it is too long: {walk.failure}", _AGAIN)


def _counts(file: File) -> bool:
    """Tell whether a file of a Torch zip is more than raw bytes to Torch."""
    return file.name.endswith(_TORCH_PICKLES) or (file.is_archive and not _RAW.match(file.name))


def _inside(where: str, findings: Iterator[Finding] | list[Finding]) -> Iterator[Finding]:
    for f in findings:
        yield Finding(f.code, f"{where}: {f.where[:200]}" if f.where else where, f.message, f.fix, f.severity)


def _array_header(head: bytes) -> int:
    """Return how many bytes of a .npy file precede its data."""
    wide = head[6:7] >= b"\2"
    return (12 if wide else 10) + int.from_bytes(head[8 : 12 if wide else 10], "little")


def _ends_as_zip(tail: bytes, size: int) -> bool:
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END_BYTES:
        return False
    count, length, start = (int.from_bytes(tail[at + a : at + b], "little") for a, b in ((10, 12), (12, 16), (16, 20)))
    comment = int.from_bytes(tail[at + 20 : at + 22], "little")
    return at + 22 + comment == len(tail) and count > 0 and start + length <= size
