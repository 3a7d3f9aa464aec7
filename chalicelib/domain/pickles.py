"""Pickles walked opcode by opcode, never loaded, for the globals that they would import.

The bytes are pushed in pieces and none are kept. A stack of what matters (marks and short strings) stands in for the
unpickler's, so that a global whose module and name come from the stack or the memo is resolved as the unpickler would.
"""

import codecs
import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from chalicelib.domain.limits import Limits

Group = Callable[[str], str | None]  # which group a global's name is kept in; None forgets it

UNRESOLVED = "(computed while loading)"
_MARK: Final = object()
_STRING_BYTES = 256  # a longer string is nobody's name
_LINE_BYTES = 2**20
_STACK_LIMIT = 100_000
_MEMO_LIMIT, _MEMO_PARTS_LIMIT = 100_000, 300_000  # strings; past the first only what allowed names are made of
_NAMES_KEPT = 20
_NEWEST_PROTOCOL = 5
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY = re.compile(
    rb"(\x80[\2-\5])?(\x95.{8})?(\x8a\x0a" + re.escape(_MAGIC.to_bytes(10, "little")) + b"|L%dL?\n)\\." % _MAGIC,
    re.DOTALL,
)
_LEGACY_STREAMS = 5  # magic number, protocol version, system, the object, storage keys; then raw storages
_NUMBER = re.compile(rb"\s*[-+\w.]+\s*\Z")


@dataclass(frozen=True)
class _Op:
    """An opcode: its argument (bytes, negative: bytes of a length before it), lines, and what it does to the stack."""

    name: str
    fixed: int
    counted: int  # bytes of the length that precedes the argument
    lines: int
    pops: int
    to_mark: bool
    pushes: int


def _op(info: pickletools.OpcodeInfo) -> _Op:
    n = info.arg.n if info.arg else 0
    lines = (2 if info.name in ("GLOBAL", "INST") else 1) if n == pickletools.UP_TO_NEWLINE else 0
    counted = {-2: 1, -3: 4, -4: 4, -5: 8}.get(n, 0)
    to_mark = pickletools.markobject in info.stack_before
    pops = info.stack_before.index(pickletools.markobject) if to_mark else len(info.stack_before)
    return _Op(info.name, max(n, 0), counted, lines, pops, to_mark, len(info.stack_after))


_OPS = {ord(info.code): _op(info) for info in pickletools.opcodes}
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING"}


class PickleWalk:
    """Walks the pickles that follow each other in one file, from its first byte.

    `streams` counts those that came to their STOP, `globals` has their names by group (after a failure `pending` has
    those of the one that failed), `failure` says why the walk ended early, if it did. `parts` are the modules and names
    that allowed globals are made of, `most` is how many opcodes are walked.
    """

    def __init__(self, group: Group, parts: Container[str] = (), *, most: int = Limits.opcodes) -> None:
        self._group = group
        self._parts = parts
        self._most = most
        self.streams = 0
        self.is_legacy = False  # Torch's form from before 1.6
        self.failure: str | None = None
        self.is_too_long = False
        self.globals: dict[str, dict[str, None]] = {}
        self.pending: dict[str, dict[str, None]] = {}
        self._data = b""
        self._skip = 0  # bytes of an argument that nobody needs
        self._opcodes = 0
        self._stack: list[object] = []
        self._memo: dict[int, str] = {}
        self._head = b""  # of the first stream, to know Torch's magic number
        self._begin()

    @property
    def is_done(self) -> bool:
        """Tell whether further bytes can't change anything."""
        return self.failure is not None or (self.is_legacy and self.streams == _LEGACY_STREAMS)

    @property
    def is_damaged(self) -> bool:
        """Tell, at the end, whether what has to be a pickle isn't whole."""
        return self.streams < (_LEGACY_STREAMS if self.is_legacy else 1)

    def feed(self, piece: bytes) -> None:
        if self.is_done:
            return
        if len(self._head) < _STRING_BYTES:
            self._head += piece[: _STRING_BYTES - len(self._head)]
        if self._skip >= len(piece) and not self._data:
            self._skip -= len(piece)
            return
        self._data += piece
        self._walk()

    def end(self) -> None:
        """Take note that no bytes follow."""
        if not self.is_done and (self._data or self._skip or self._in_stream):
            self._fail("it ends before its STOP")
        self._stack = []
        self._memo = {}

    def _begin(self) -> None:
        self._stack = []
        self._memo = {}
        self._memo_size = 0
        self._has_lost = self._has_lost_memo = self._has_gaps = False  # what was dropped is unknown from then on
        self._in_stream = False
        self.pending = {}

    def _fail(self, why: str) -> None:
        self.failure = why
        self._data = b""
        self._memo = {}

    def _walk(self) -> None:
        data, at = self._data, 0
        while not self.is_done:
            if self._skip:
                step = min(self._skip, len(data) - at)
                at += step
                self._skip -= step
            if at >= len(data):
                break
            after = self._one(data, at)
            if after is None:
                break
            at = after
        self._data = b"" if self.is_done else data[at:]

    def _one(self, data: bytes, at: int) -> int | None:
        """Walk the opcode at a position; returns where the next begins, None where more bytes are needed."""
        op = _OPS.get(data[at])
        if op is None:
            self._fail(f"{data[at]:#04x} is no opcode")
            return None
        found = self._lines(data, at + 1, op.lines) if op.lines else self._counted(data, at + 1, op)
        if found is None:
            return None
        self._apply(op, found[0])
        return found[1]

    def _counted(self, data: bytes, at: int, op: _Op) -> tuple[bytes | None, int] | None:
        """Return an opcode's argument, None for one that nobody needs, and where it ends."""
        start = at + op.fixed + op.counted
        if start > len(data):
            return None
        if not op.counted:
            return data[at:start], start
        length = int.from_bytes(data[at:start], "little")
        if length > _STRING_BYTES:
            self._skip = length
            return None, start
        return None if start + length > len(data) else (data[start : start + length], start + length)

    def _lines(self, data: bytes, start: int, count: int) -> tuple[bytes, int] | None:
        end = start
        for _ in range(count):
            end = data.find(b"\n", end) + 1
            if not end:
                if len(data) - start > _LINE_BYTES:
                    self._fail("a line of it doesn't end")
                return None
        return data[start : end - 1], end

    def _apply(self, op: _Op, argument: bytes | None) -> None:
        self._in_stream = True
        self._opcodes += 1
        if self._opcodes > self._most:
            self.is_too_long = True
            self._fail(f"it has more than {self._most} opcodes")
            return
        special = self._SPECIAL.get(op.name)
        if special:
            special(self, argument)
        elif op.name in _TEXTS:
            self._push(_text(op.name, argument))
        elif self._pop(op):
            self._stack += [None] * op.pushes
        if len(self._stack) > _STACK_LIMIT:
            del self._stack[: _STACK_LIMIT // 2]
            self._has_lost = True

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self, op: _Op) -> bool:
        """Pop what an opcode takes; tells whether it was there."""
        if op.to_mark and not self._pop_mark():
            return False
        for _ in range(op.pops):
            if self._take() is _MARK:
                self._fail("it takes more from its stack than there is")
                return False
        return self.failure is None

    def _pop_mark(self) -> bool:
        while self._stack:
            if self._stack.pop() is _MARK:
                return True
        if not self._has_lost:
            self._fail("it goes back to a mark that isn't there")
        return self._has_lost

    def _take(self) -> object:
        if self._stack:
            return self._stack.pop()
        return None if self._has_lost else _MARK

    def _note(self, name: str) -> None:
        group = self._group(name)
        if group is not None:
            names = self.pending.setdefault(group, {})
            if len(names) < _NAMES_KEPT:
                names[name] = None

    # One method for each opcode that is more than its counts.

    def _stop(self, _: bytes | None) -> None:
        if self._take() is _MARK:
            self._fail("it stops with nothing on its stack")
            return
        for group, names in self.pending.items():
            self.globals.setdefault(group, {}).update(names)
        if self.streams == 0:
            self.is_legacy = bool(_LEGACY.match(self._head))
        self.streams += 1
        self._begin()

    def _mark(self, _: bytes | None) -> None:
        self._push(_MARK)

    def _popped(self, _: bytes | None) -> None:
        if not self._stack and not self._has_lost:
            self._fail("it takes more from its stack than there is")
        self._take()

    def _dup(self, _: bytes | None) -> None:
        top = self._take()
        if top is _MARK:
            self._fail("it takes more from its stack than there is")
        self._stack += [top, top]

    def _protocol(self, argument: bytes | None) -> None:
        if not argument or argument[0] > _NEWEST_PROTOCOL:
            self._fail("its protocol isn't known")

    def _number(self, argument: bytes | None) -> None:
        if not _NUMBER.match(argument or b""):
            self._fail("a number of it is none")
        self._push(None)

    def _global(self, argument: bytes | None) -> None:
        self._note(_joined(*(argument or b"").split(b"\n")))
        self._push(None)

    def _inst(self, argument: bytes | None) -> None:
        self._note(_joined(*(argument or b"").split(b"\n")))
        if self._pop_mark():
            self._push(None)

    def _stack_global(self, _: bytes | None) -> None:
        name, module = self._take(), self._take()
        if name is _MARK or module is _MARK:
            self._fail("it takes more from its stack than there is")
            return
        known = isinstance(name, str) and isinstance(module, str)
        self._note(_mapped(str(module), str(name)) if known else UNRESOLVED)
        self._push(None)

    def _extension(self, argument: bytes | None) -> None:
        self._note(f"(extension {int.from_bytes(argument or b'', 'little')})")
        self._push(None)

    def _put(self, index: int) -> None:
        top = self._stack[-1] if self._stack else (None if self._has_lost else _MARK)
        if top is _MARK:
            self._fail("it memoizes nothing")
            return
        self._has_gaps |= index > self._memo_size
        self._memo_size += index == self._memo_size
        if isinstance(top, str) and self._may_keep(top):
            self._memo[index] = top
        elif index in self._memo:
            del self._memo[index]

    def _may_keep(self, text: str) -> bool:
        return len(self._memo) < (_MEMO_PARTS_LIMIT if text in self._parts else _MEMO_LIMIT)

    def _put_line(self, argument: bytes | None) -> None:
        index = _index(argument)
        if index is None:
            self._fail("a number of it is none")
        else:
            self._put(index)

    def _put_binary(self, argument: bytes | None) -> None:
        self._put(int.from_bytes(argument or b"", "little"))

    def _memoize(self, _: bytes | None) -> None:
        self._has_lost_memo |= self._has_gaps  # nobody writes both: what is where can't be told cheaply
        self._put(self._memo_size)

    def _get(self, index: int | None) -> None:
        if index is None:
            self._fail("a number of it is none")
        self._push(None if self._has_lost_memo or index is None else self._memo.get(index))

    def _get_line(self, argument: bytes | None) -> None:
        self._get(_index(argument))

    def _get_binary(self, argument: bytes | None) -> None:
        self._get(int.from_bytes(argument or b"", "little"))

    _SPECIAL: ClassVar[dict[str, Callable[[Any, bytes | None], None]]] = {
        "STOP": _stop,
        "MARK": _mark,
        "POP": _popped,
        "DUP": _dup,
        "PROTO": _protocol,
        "INT": _number,
        "LONG": _number,
        "FLOAT": _number,
        "GLOBAL": _global,
        "INST": _inst,
        "STACK_GLOBAL": _stack_global,
        "EXT1": _extension,
        "EXT2": _extension,
        "EXT4": _extension,
        "PUT": _put_line,
        "BINPUT": _put_binary,
        "LONG_BINPUT": _put_binary,
        "MEMOIZE": _memoize,
        "GET": _get_line,
        "BINGET": _get_binary,
        "LONG_BINGET": _get_binary,
    }


def _joined(module: bytes, name: bytes) -> str:
    return _mapped(module.decode(errors="replace"), name.decode(errors="replace"))


def _mapped(module: str, name: str) -> str:
    """Return the dotted name that Python 3 makes of one that Python 2 may have written."""
    if (module, name) in NAME_MAPPING:
        return ".".join(NAME_MAPPING[module, name])
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def _index(line: bytes | None) -> int | None:
    """Return the number that the unpickler reads in a line, also `1_0` and one of any length; None for none."""
    with suppress(ValueError):
        index = int(line or b"")
        return index if index >= 0 else None
    return None


def _text(op: str, argument: bytes | None) -> str | None:
    """Return the text that an opcode pushes; None for one that is too long for a name, or can't be told."""
    if argument is None or len(argument) > _STRING_BYTES:
        return None
    with suppress(UnicodeDecodeError, ValueError):
        if op == "STRING":
            raw = argument.strip()[1:-1]
            return codecs.escape_decode(raw)[0].decode("ascii")
        return argument.decode("raw-unicode-escape" if op == "UNICODE" else "utf-8")
    return None
