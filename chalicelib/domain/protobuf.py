"""Protobuf's wire format as a stream: fields one by one, big ones skipped, so that memory stays constant."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_FIXED = {FIXED64: 8, FIXED32: 4}
_KEYS = 2**32  # a field's key is a 32-bit number; past it readers disagree on which field it is
BUFFER_LIMIT = 16 * 2**20  # bytes of one field that is held whole


class Malformed(Exception):
    """The bytes aren't what they should be: says what, and at which byte."""


class Field(NamedTuple):
    """One field: its number, its wire type, and its value, or its length where a payload follows."""

    number: int
    wire: int
    value: int


class Wire:
    """Reads fields from blocks of bytes, holding one block and at most one field of BUFFER_LIMIT bytes."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = b""
        self._at = 0
        self.position = 0  # of the next byte, from the beginning of the stream

    def fields(self, end: int | None = None) -> Iterator[Field]:
        """Yield the fields up to the byte `end` (None: to the end of the stream); raises Malformed.

        Of a field with a payload the caller may `take` it or walk into it; what it leaves is skipped.
        """
        while self._more(end):
            key = self._varint()
            if key >= _KEYS:
                raise Malformed(f"the field before byte {self.position} has no legal number")
            field = Field(key >> 3, key & 7, self._value(key & 7))
            after = self.position + (field.value if field.wire == LENGTH else 0)
            if field.number == 0 or (end is not None and after > end):
                raise Malformed(f"a field at byte {self.position} doesn't fit its message")
            yield field
            if after > self.position:
                self._skip(after - self.position)

    def inside(self, field: Field) -> Iterator[Field]:
        """Yield the fields of a message that is the payload of a field just met."""
        return self.fields(self.position + _payload(field, self.position))

    def take(self, field: Field) -> bytes:
        """Return the payload of a field just met, whole."""
        length = _payload(field, self.position)
        if length > BUFFER_LIMIT:
            raise Malformed(f"the field at byte {self.position} has {length} bytes, more than {BUFFER_LIMIT}")
        return self._read(length)

    def _more(self, end: int | None) -> bool:
        if end is None:
            return self._fill()
        return self.position < end

    def _fill(self) -> bool:
        while self._at == len(self._block):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block, self._at = block, 0
        return True

    def _varint(self) -> int:
        if self._at < len(self._block) and (byte := self._block[self._at]) < 0x80:  # noqa: PLR2004
            self._advance(1)
            return byte
        result = 0
        for n in range(_VARINT_BYTES):
            if self._at == len(self._block):
                self._need(1)
            byte = self._block[self._at]
            self._advance(1)
            result |= (byte & 0x7F) << (7 * n)
            if byte < 0x80:  # noqa: PLR2004
                return result & (2**64 - 1)
        raise Malformed(f"a number before byte {self.position} never ends")

    def _value(self, wire: int) -> int:
        if wire in (VARINT, LENGTH):
            return self._varint()
        if wire in _FIXED:
            return int.from_bytes(self._read(_FIXED[wire]), "little")
        raise Malformed(f"byte {self.position} begins no field (wire type {wire})")

    def _read(self, length: int) -> bytes:
        if self._at + length <= len(self._block):
            piece = self._block[self._at : self._at + length]
            self._advance(length)
            return bytes(piece)
        taken = bytearray()
        while len(taken) < length:
            self._need(length - len(taken))
            piece = self._block[self._at : self._at + length - len(taken)]
            taken += piece
            self._advance(len(piece))
        return bytes(taken)

    def _skip(self, length: int) -> None:
        while length > 0:
            self._need(length)
            step = min(length, len(self._block) - self._at)
            self._advance(step)
            length -= step

    def _need(self, length: int) -> None:
        if not self._fill():
            raise Malformed(f"it ends at byte {self.position}, {length} bytes too early")

    def _advance(self, step: int) -> None:
        self._at += step
        self.position += step


def _payload(field: Field, position: int) -> int:
    if field.wire != LENGTH:
        raise Malformed(f"the field {field.number} before byte {position} is a number where a message should be")
    return field.value


def signed(value: int) -> int:
    """Read a varint as the signed 64-bit number that int32, int64 and enums are written as."""
    return value - 2**64 if value >= 2**63 else value


def text_of(raw: bytes) -> str:
    """Read a string field, which protobuf wants in UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise Malformed(f"a name isn't UTF-8: {raw[:40]!r}") from e
