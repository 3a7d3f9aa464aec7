"""LevelDB's table format, as TensorFlow writes `variables.index` in it: keys and values, checksums verified."""

from collections.abc import Iterator
from functools import cache
from struct import unpack

from chalicelib.domain.protobuf import Malformed

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # a compression type and a masked CRC-32C
_MASK = 0xA282EAD8
_U32 = 0xFFFFFFFF


def _byte_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_BYTES = _byte_table()


@cache
def _word_tables() -> tuple[list[int], list[int]]:
    """Return the CRC of each 16-bit half of a word of four bytes: the low half, then the high one."""
    ahead = [_BYTES]
    for _ in range(3):
        ahead.append([_BYTES[crc & 0xFF] ^ crc >> 8 for crc in ahead[-1]])
    low = [ahead[3][n & 0xFF] ^ ahead[2][n >> 8] for n in range(2**16)]
    high = [ahead[1][n & 0xFF] ^ ahead[0][n >> 8] for n in range(2**16)]
    return low, high


def crc32c(body: bytes) -> int:
    """Return the CRC-32C (Castagnoli), which zlib doesn't have; four bytes a step."""
    crc, whole = _U32, len(body) & ~3
    low, high = _word_tables()
    for word in unpack(f"<{whole // 4}I", memoryview(body)[:whole]):
        mixed = crc ^ word
        crc = low[mixed & 0xFFFF] ^ high[mixed >> 16]
    for byte in body[whole:]:
        crc = _BYTES[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _U32


def unmasked(crc: int) -> int:
    """Return the checksum that was written masked, as LevelDB and TensorFlow write it."""
    rotated = (crc - _MASK) & _U32
    return (rotated >> 17 | rotated << 15) & _U32


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a whole table in its order; raises Malformed."""
    if len(table) < _FOOTER or int.from_bytes(table[-8:], "little") != _MAGIC:
        raise Malformed("it doesn't end as an index file does")
    footer = table[-_FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, handle in _block_entries(_block(table, index)):
        where, _ = _handle(handle, 0)
        yield from _block_entries(_block(table, where))


def _block(table: bytes, handle: tuple[int, int]) -> bytes:
    start, size = handle
    end = start + size
    if end + _TRAILER > len(table) - _FOOTER:
        raise Malformed(f"a block at byte {start} lies past the end")
    kind = table[end]
    crc = int.from_bytes(table[end + 1 : end + _TRAILER], "little")
    if unmasked(crc) != crc32c(table[start : end + 1]):
        raise Malformed(f"the block at byte {start} doesn't match its checksum")
    if kind != 0:
        raise Malformed(f"the block at byte {start} is compressed, which TensorFlow never does")
    return table[start:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if len(block) < 4 or end < 0:  # noqa: PLR2004
        raise Malformed("a block is shorter than its own list of restarts")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise Malformed("an entry runs past its block")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = _varint(data, at)
    size, at = _varint(data, at)
    return (start, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for n, byte in enumerate(data[at : at + 10]):
        result |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:  # noqa: PLR2004
            return result, at + n + 1
    raise Malformed("a number never ends")
