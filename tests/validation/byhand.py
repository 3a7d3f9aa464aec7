"""Artifacts written byte by byte: zips whose headers disagree, protobuf messages, index tables, pickles."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.sstable import crc32c
from tests.domain.uploads import dated

STORED, DEFLATED = 0, 8
CRC, PACKED, SIZE = "crc", "packed", "size"


@dataclass(frozen=True)
class Raw:
    """One entry of a zip: `local` and `central` change what its own header, or the directory, says of it."""

    name: bytes
    body: bytes = b""
    method: int = STORED
    flags: int = 0
    descriptor: bytes | None = None
    is_there: bool = True  # False: only the directory tells of it
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        return deflated(self.body) if self.method == DEFLATED else self.body

    def said(self, changes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        said: dict[str, Any] = {
            "magic": b"PK\3\4",
            "name": self.name,
            "needs": 20,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.body),
            "packed": len(self.data),
            "size": len(self.body),
            "extra": b"",
            "attributes": 0,
        }
        return said | more | dict(changes)


def deflated(body: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compress.compress(body) + compress.flush()


def local_bytes(entry: Raw) -> bytes:
    if not entry.is_there:
        return b""
    s = entry.said(entry.local)
    head = struct.pack(
        "<4s5H3I2H",
        *(s["magic"], s["needs"], s["flags"], s["method"], 0, 33, s["crc"], s["packed"], s["size"]),
        *(len(s["name"]), len(s["extra"])),
    )
    return head + s["name"] + s["extra"] + entry.data + (entry.descriptor or b"")


def central_bytes(entry: Raw, offset: int) -> bytes:
    s = entry.said({"offset": offset, "magic": b"PK\1\2"} | dict(entry.central), disk=0)
    head = struct.pack(
        "<4s6H3I5H2I",
        *(s["magic"], 20, s["needs"], s["flags"], s["method"], 0, 33, s["crc"], s["packed"], s["size"]),
        *(len(s["name"]), len(s["extra"]), 0, s["disk"], 0, s["attributes"], s["offset"]),
    )
    return head + s["name"] + s["extra"]


def end_bytes(count: int, length: int, start: int, comment: bytes = b"", /, **changes: int) -> bytes:
    s = {"disk": 0, "first": 0, "here": count, "count": count, "length": length, "start": start} | changes
    values = (s["disk"], s["first"], s["here"], s["count"], s["length"], s["start"])
    return struct.pack("<4s4H2IH", b"PK\5\6", *values, len(comment)) + comment


def end64_bytes(count: int, length: int, start: int, at: int, /, **changes: int) -> bytes:
    """Return ZIP64's end record and its locator."""
    s = {"body": 44, "disk": 0, "here": count, "count": count, "disks": 1, "at": at} | changes
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", s["body"], 45, 45, s["disk"], 0, s["here"], s["count"], length, start)
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, s["at"], s["disks"])


def raw_zip(
    entries: Sequence[Raw],
    *,
    front: bytes = b"",
    hidden: Sequence[Raw] = (),
    before_directory: bytes = b"",
    into_directory: bytes = b"",
    after_directory: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
) -> bytes:
    """Return a zip of these entries; `hidden` ones are there in bytes but not in the directory."""
    body, directory = front, into_directory
    for entry in entries:
        directory += central_bytes(entry, len(body))
        body += local_bytes(entry)
    body += b"".join(local_bytes(entry) for entry in hidden) + before_directory
    start = len(body)
    body += directory
    if end64 is not None:
        body += end64_bytes(len(entries), len(directory), start, len(body), **end64)
    return body + after_directory + end_bytes(len(entries), len(directory), start, comment, **(end or {}))


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def descriptor(body: bytes, packed: int, *, signature: bytes = b"PK\7\x08") -> bytes:
    return signature + struct.pack("<3I", zlib.crc32(body), packed, len(body))


class Unseekable:
    """What a zip is written to when it is piped: sizes and CRC go into descriptors."""

    def __init__(self) -> None:
        self.body = b""

    def write(self, block: bytes) -> int:
        self.body += bytes(block)
        return len(block)

    def flush(self) -> None: ...


def piped(files: Mapping[str, bytes], method: int) -> bytes:
    out = Unseekable()
    with zipfile.ZipFile(out, "w", method) as archive:  # type: ignore[call-overload]
        for name, body in files.items():
            archive.writestr(dated(name), body, method)
    return out.body


# Protobuf


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field_number: int, value: int) -> bytes:
    return varint(field_number << 3) + varint(value)


def message(field_number: int, *parts: bytes | str) -> bytes:
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return varint(field_number << 3 | 2) + varint(len(body)) + body


def pair(field_number: int, key: str, value: bytes) -> bytes:
    """Return one entry of a map of messages."""
    return message(field_number, message(1, key), message(2, value))


# SavedModels, by the numbers of saved_model.proto, meta_graph.proto, node_def.proto and function.proto

FLOAT = 1


def node(name: str, op: str, *inputs: str, attrs: Mapping[str, bytes] | None = None) -> bytes:
    """Return the body of a NodeDef."""
    values = b"".join(pair(5, key, value) for key, value in (attrs or {}).items())
    return message(1, name) + message(2, op) + b"".join(message(3, i) for i in inputs) + values


def dtype(value: int = FLOAT) -> bytes:
    return number(6, value)


def text_constant(name: str, text: str) -> bytes:
    """Return the body of a node Const that holds one string."""
    tensor = number(1, 7) + message(2) + message(8, text)
    return node(name, "Const", attrs={"dtype": dtype(7), "value": message(8, tensor)})


X = node("x", "Placeholder", attrs={"dtype": dtype(), "shape": message(7, number(3, 1))})  # of unknown rank
Y = node("y", "Identity", "x", attrs={"T": dtype()})


def function(name: str, *nodes: bytes) -> bytes:
    """Return the body of a FunctionDef without arguments."""
    return message(1, message(1, name)) + b"".join(message(3, n) for n in nodes)


def tensor_info(name: str = "x:0") -> bytes:
    return message(1, name) + number(2, FLOAT) + message(3, message(2, number(1, -1)))


def signature(inputs: Mapping[str, bytes], outputs: Mapping[str, bytes]) -> bytes:
    sides = b"".join(pair(1, k, v) for k, v in inputs.items()) + b"".join(pair(2, k, v) for k, v in outputs.items())
    return sides + message(3, "tensorflow/serving/predict")


GOOD_SIGNATURE = signature({"x": tensor_info("x:0")}, {"y": tensor_info("y:0")})


def meta_graph(
    *extra: bytes,
    tags: Iterable[str] = ("serve",),
    nodes: Sequence[bytes] = (X, Y),
    functions: Sequence[bytes] = (),
    signatures: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the body of a MetaGraphDef; `extra` are more of its fields."""
    info = b"".join(message(4, t) for t in tags) + message(5, "2.21.0")
    library = message(2, *(message(1, f) for f in functions)) if functions else b""
    graph = b"".join(message(1, n) for n in nodes) + message(4, number(1, 1900)) + library
    found = {"serving_default": GOOD_SIGNATURE} if signatures is None else signatures
    return message(1, info) + message(2, graph) + b"".join(pair(5, k, v) for k, v in found.items()) + b"".join(extra)


def saved_model(*graphs: bytes) -> bytes:
    return number(1, 1) + b"".join(message(2, g) for g in graphs)


# LevelDB's tables


def sealed(block: bytes, kind: int = 0) -> bytes:
    tail = block + bytes([kind])
    crc = crc32c(tail)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return tail + masked.to_bytes(4, "little")


def table_block(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
    return body + struct.pack("<2I", 0, 1)


def table_of(first: bytes, *, kind: int = 0, handle: bytes | None = None) -> bytes:
    """Return a table of one data block, given as its bytes."""
    body = sealed(first, kind)
    index = table_block([(b"zz", handle if handle is not None else varint(0) + varint(len(first)))])
    footer = varint(0) + varint(0) + varint(len(body)) + varint(len(index))
    return body + sealed(index) + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def variable(shard: int, offset: int, size: int) -> bytes:
    """Return a BundleEntryProto of floats."""
    return (
        number(1, FLOAT)
        + message(2, message(2, number(1, size // 4)))
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
    )


def index_of(rows: Sequence[tuple[bytes, bytes]], shards: int = 1) -> bytes:
    return table_of(table_block([(b"", number(1, shards)), *rows]))


def zip_of(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in files.items():
            archive.writestr(dated(name), body, method)
    return buffer.getvalue()
