"""Artifacts of many gigabytes, said as few bytes and how often they are repeated: never held, never on disk whole."""

import random
import struct
import zlib
from array import array
from collections.abc import Iterator

from chalicelib.domain.sstable import crc32c
from tests.domain.uploads import HANDLER, manifest
from tests.validation.byhand import index_of, message, meta_graph, saved_model, variable

MB, GB = 10**6, 10**9
LEVEL = 6  # what torch-model-archiver deflates with
BLOCK = 2**20
UNIT = 16 * 2**20  # bytes of random weights that an archive repeats
_BIAS = 4096  # bytes
_WIDE = 2**32 - 1  # what a field of 32 bits says when the value is in a ZIP64 field


class Made:
    """A file of parts, each said as bytes and how often they are repeated."""

    def __init__(self, *parts: tuple[bytes, int]) -> None:
        self.parts = [(p, n) for p, n in parts if p and n]
        self.size = sum(len(p) * n for p, n in self.parts)

    def blocks(self) -> Iterator[bytes]:
        for part, times in self.parts:
            for _ in range(times):
                yield from (part[at : at + BLOCK] for at in range(0, len(part), BLOCK))

    def cut(self, start: int, length: int) -> bytes:
        out, at = [], 0
        end = min(start + length, self.size)
        for part, times in self.parts:
            low, high = max(start, at), min(end, at + len(part) * times)
            while low < high:
                offset = (low - at) % len(part)
                piece = part[offset : offset + high - low]
                out.append(piece)
                low += len(piece)
            at += len(part) * times
        return b"".join(out)


def weights(size: int) -> bytes:
    """Return random float32 weights, as a layer is initialised with."""
    made = random.Random(1)  # noqa: S311  # a benchmark's numbers, the same each time
    return array("f", (made.gauss(0, 0.02) for _ in range(size // 4))).tobytes()


# --- a SavedModel ------------------------------------------------------------------------------------------------
def big_saved_model(size: int) -> dict[str, Made]:
    """Return a SavedModel of `size` bytes in five shards, each of eighty layers: their biases, then their kernels."""
    shards, layers = 5, 80
    block = weights(BLOCK)
    whole, rest = divmod(size // shards, BLOCK)
    kernel = (whole * BLOCK + rest - layers * _BIAS) // layers // 4 * 4
    rows: list[tuple[bytes, bytes]] = []
    files = {}
    for n in range(shards):
        rows += _layers(n, layers, kernel, block)
        end = layers * (_BIAS + kernel)
        parts = (block, end // BLOCK), (block[: end % BLOCK], 1)
        files[f"variables/variables.data-{n:05}-of-{shards:05}"] = Made(*parts)
    graph = saved_model(meta_graph(message(3, message(3, "save"))))
    files["variables/variables.index"] = Made((index_of(rows, shards), 1))
    return files | {"saved_model.pb": Made((graph, 1))}  # last: it tells that the upload is whole


def _layers(shard: int, layers: int, kernel: int, block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what an index says of a shard's layers: the small tensors have true checksums, the big ones none."""
    for n in range(layers):
        key = f"layer{shard:02}{n:02}/{{}}/.ATTRIBUTES/VARIABLE_VALUE"
        bias = block[n * _BIAS : (n + 1) * _BIAS]
        yield key.format("bias").encode(), variable(shard, n * _BIAS, _BIAS) + _checksum(bias)
        yield key.format("kernel").encode(), variable(shard, layers * _BIAS + n * kernel, kernel)


def _checksum(body: bytes) -> bytes:
    """Return an entry's field 6: a masked CRC-32C, of fixed length."""
    crc = crc32c(body)
    return struct.pack("<BI", 6 << 3 | 5, ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# --- a .mar ------------------------------------------------------------------------------------------------------
def archive(size: int) -> tuple[Made, int]:
    """Return a `model.mar` of at least `size` bytes, and how many its weights inflate to.

    The weights are one storage in a Torch zip, deflated as the archiver does.
    """
    unit = weights(UNIT)
    middle = _deflated(unit, zlib.Z_FULL_FLUSH)  # remembers nothing, so it may be repeated
    times = -(-size // len(middle))
    head, tail = _torch_zip(unit, times)
    first, last = _deflated(head, zlib.Z_FULL_FLUSH), _deflated(tail, zlib.Z_FINISH)
    crc = zlib.crc32(tail, _repeated(zlib.crc32(head), unit, times))
    inflated = len(head) + len(unit) * times + len(tail)
    return _mar(Made((first, 1), (middle, times), (last, 1)), crc, inflated), inflated


def _deflated(body: bytes, ending: int) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush(ending)


def _repeated(crc: int, unit: bytes, times: int) -> int:
    for _ in range(times):
        crc = zlib.crc32(unit, crc)
    return crc


def _torch_zip(unit: bytes, times: int) -> tuple[bytes, bytes]:
    """Return what precedes and follows the one storage of a Torch zip in Torch's own form."""
    pickle = b"\x80\x02}q\0."
    small = [("archive/data.pkl", pickle), ("archive/version", b"3\n")]
    head, records = b"", b""
    for name, body in small:
        records += _central(name, zlib.crc32(body), len(body), len(head))
        head += _local(name) + body + _descriptor(zlib.crc32(body), len(body))
    records += _central("archive/data/0", (crc := _repeated(0, unit, times)), (size := len(unit) * times), len(head))
    head += _local("archive/data/0")
    end = _descriptor(crc, size)
    start = len(head) + size + len(end)
    return head, end + records + _end_records(len(small) + 1, len(records), start)


def _local(name: str) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x808, 0, 0, 0, 0, 0, 0, len(name), 0) + name.encode()


def _descriptor(crc: int, size: int) -> bytes:
    return struct.pack("<4sI2Q" if size >= 2**32 else "<4s3I", b"PK\7\x08", crc, size, size)


def _central(
    name: str, crc: int, size: int, at: int, *, flags: int = 0x808, method: int = 0, packed: int | None = None
) -> bytes:
    sizes = (size, size if packed is None else packed)
    wide = [v for v in sizes if v >= _WIDE] + ([at] if at >= _WIDE else [])
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    shown, kept, where = (min(v, _WIDE) for v in (*sizes, at))
    fields = (b"PK\1\2", 45, 45 if wide else 20, flags, method, 0, 0, crc, kept, shown, len(name), len(extra))
    return struct.pack("<4s6H3I5H2I", *fields, 0, 0, 0, 0, where) + name.encode() + extra


def _end_records(count: int, length: int, start: int) -> bytes:
    wide = b""
    if start >= _WIDE:
        wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
        wide += struct.pack("<4sIQI", b"PK\6\7", 0, start + length, 1)
    return wide + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, length, min(start, _WIDE), 0)


def _mar(body: Made, crc: int, inflated: int) -> Made:
    """Return an archive of a handler, a manifest and the weights, headers as Python's zipfile writes them."""
    small = {"h.py": HANDLER, "MAR-INF/MANIFEST.json": manifest(serializedFile="weights.pt")}
    head, records, packed = b"", b"", body.size
    for name, text in small.items():
        records += _central(name, zlib.crc32(text), len(text), len(head), flags=0)
        fields = (b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(text), len(text), len(text), len(name), 0)
        head += struct.pack("<4s5H3I2H", *fields) + name.encode() + text
    name = "weights.pt"
    records += _central(name, crc, inflated, len(head), flags=0, method=8, packed=packed)
    is_wide = max(packed, inflated) >= _WIDE
    extra = struct.pack("<2H2Q", 1, 16, inflated, packed) if is_wide else b""
    sizes = (_WIDE, _WIDE) if is_wide else (packed, inflated)
    fields = (b"PK\3\4", 45 if is_wide else 20, 0, 8, 0, 0, crc, *sizes, len(name), len(extra))
    head += struct.pack("<4s5H3I2H", *fields) + name.encode() + extra
    start = len(head) + packed
    return Made((head, 1), *body.parts, (records + _end_records(len(small) + 1, len(records), start), 1))
