"""A zip's central directory, read by ranges, and the rules by which it has one reading or none."""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from chalicelib.domain.findings import Finding

Read = Callable[[int, int], bytes]  # start, length

STORED, DEFLATED = 0, 8
DESCRIPTOR_FLAG, UTF8_FLAG = 0x0008, 0x0800
_LEVEL_FLAGS = 0x0006  # how hard the writer tried; no reader needs them
LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA, _UNICODE_PATH_EXTRA = 0x0001, 0x7075
_DIRECTORY_LIMIT = 32 * 2**20  # bytes
_NEWEST_VERSION = 63  # of the format: past it Python refuses to read
_TYPE_BITS, _REGULAR, _FOLDER = 0o170000, 0o100000, 0o040000
_NOT_PLAIN = re.compile(r"[\\\0]|^[A-Za-z]:")
_REBUILD = "build it again with torch-model-archiver, and upload the file as it came out"


class ZipFault(Exception):
    """The archive can't be read in one way: carries the finding."""

    def __init__(self, code: str, where: str, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(code, where, message, _REBUILD)


@dataclass(frozen=True)
class Entry:
    """One file or folder of an archive, as the central directory says, ZIP64 fields resolved."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int  # bytes in the archive
    size: int  # bytes once inflated
    offset: int  # of its local header
    mode: int  # Unix mode; type bits of 0 mean a regular file
    has_other_name: bool = False  # an extra field says another name to some readers

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


@dataclass(frozen=True)
class Directory:
    """The entries of an archive in the order of their bytes; `start` is where the directory itself begins."""

    entries: tuple[Entry, ...]
    start: int


def read_directory(read: Read, size: int, *, entries_limit: int) -> Directory:
    """Return the central directory of an archive of `size` bytes; raises ZipFault when there isn't exactly one."""
    count, length, start, end = _end_record(read, size)
    if count > entries_limit:
        raise ZipFault("too_many_entries", "", f"it has {count} entries, more than {entries_limit}")
    if start + length != end:
        raise ZipFault("bad_zip", "", "its directory doesn't end where its end record begins")
    if length > _DIRECTORY_LIMIT:
        raise ZipFault("bad_zip", "", f"its directory has {length} bytes, more than {_DIRECTORY_LIMIT}")
    found = tuple(_entries(read(start, length)))
    if len(found) != count:
        raise ZipFault("bad_zip", "", f"its directory has {len(found)} entries, its end record says {count}")
    return Directory(tuple(sorted(found, key=lambda e: e.offset)), start)


def directory_findings(directory: Directory, *, expanded: int, ratio: int) -> tuple[Finding, ...]:
    """Return what the directory alone shows to be wrong, all of it."""
    faults = [f for e in directory.entries for f in _entry_faults(e)]
    faults += _name_clashes(directory.entries)
    faults += _expansion_faults(directory.entries, expanded, ratio)
    return tuple(f.finding for f in faults)


def resolve64(extra: bytes, fields: Sequence[tuple[int, int]], where: str) -> tuple[int, ...]:
    """Return fields, each given with its "see ZIP64" value, as the ZIP64 extra field resolves them."""
    bodies = [body for kind, body in _extras(extra, where) if kind == _ZIP64_EXTRA]
    if len(bodies) > 1:
        raise ZipFault("bad_zip", where, "it has two ZIP64 fields")
    values = iter(struct.unpack_from(f"<{len(bodies[0]) // 8}Q", bodies[0]) if bodies else ())
    resolved = tuple(next(values, None) if value == full else value for value, full in fields)
    if None in resolved:
        raise ZipFault("bad_zip", where, "a size is said to be in a ZIP64 field that isn't there")
    return tuple(value for value in resolved if value is not None)


def names_another(extra: bytes, where: str) -> bool:
    """Tell whether an extra field gives the entry a second name."""
    return any(kind == _UNICODE_PATH_EXTRA for kind, _ in _extras(extra, where))


def _end_record(read: Read, size: int) -> tuple[int, int, int, int]:
    """Return entries, bytes and start of the directory, and where its end records begin."""
    tail = read(max(0, size - _END.size), _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise ZipFault("bad_zip", "", "it is no zip archive, or something follows its end record")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack(tail)
    if comment or disk not in (0, _FULL16) or first_disk not in (0, _FULL16) or here != count:
        raise ZipFault("bad_zip", "", "its end record has a comment or names other disks")
    end = size - _END.size
    locator = read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
    if locator.startswith(b"PK\6\7"):
        return _end_record64(read, locator, end, (count, length, start))
    if _FULL32 in (length, start) or count == _FULL16:
        raise ZipFault("bad_zip", "", "its end record refers to a ZIP64 record that isn't there")
    return count, length, start, end


def _end_record64(read: Read, locator: bytes, end: int, plain: tuple[int, int, int]) -> tuple[int, int, int, int]:
    _, disk, at, disks = _LOCATOR.unpack(locator)
    record = read(at, _END64.size) if at == end - _LOCATOR.size - _END64.size else b""
    if disk or disks > 1 or len(record) < _END64.size or not record.startswith(b"PK\6\6"):
        raise ZipFault("bad_zip", "", "its ZIP64 end record isn't where it should be")
    _, body, _, _, disk, first_disk, here, count, length, start = _END64.unpack(record)
    agree = all(p in (v, f) for p, v, f in zip(plain, (count, length, start), (_FULL16, _FULL32, _FULL32), strict=True))
    if body != _END64.size - 12 or disk or first_disk or here != count or not agree:
        raise ZipFault("bad_zip", "", "its two end records disagree")
    return count, length, start, at


def _entries(directory: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(directory):
        if len(directory) - at < _CENTRAL.size or directory[at : at + 4] != b"PK\1\2":
            raise ZipFault("bad_zip", "", f"byte {at} of its directory begins no entry")
        fields = _CENTRAL.unpack_from(directory, at)
        name_at = at + _CENTRAL.size
        extra_at = name_at + fields[10]
        comment_at = extra_at + fields[11]
        at = comment_at + fields[12]
        if at > len(directory):
            raise ZipFault("bad_zip", "", "its directory ends within an entry")
        yield _entry(fields, directory[name_at:extra_at], directory[extra_at:comment_at])


def _entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Entry:
    needs, flags, method, crc, packed, size = (fields[i] for i in (2, 3, 4, 7, 8, 9))
    disk, attributes, offset = (fields[i] for i in (13, 15, 16))
    name = decode_name(raw_name, flags)
    if disk or needs > _NEWEST_VERSION:
        raise ZipFault("bad_zip", name, "it is said to be on another disk or to need a newer zip format")
    size, packed, offset = resolve64(extra, [(size, _FULL32), (packed, _FULL32), (offset, _FULL32)], name)
    other = names_another(extra, name)
    return Entry(raw_name, name, flags, method, crc, packed, size, offset, attributes >> 16, other)


def decode_name(raw: bytes, flags: int) -> str:
    """Return an entry's name; raises ZipFault when readers would decode it differently."""
    try:
        return raw.decode("utf-8" if flags & UTF8_FLAG else "ascii")
    except UnicodeDecodeError as e:
        message = "its name is neither ASCII nor marked as UTF-8"
        raise ZipFault("illegal_entry_name", repr(raw[:80]), message) from e


def _extras(extra: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(extra):
        kind, length = struct.unpack_from("<2H", extra, at) if len(extra) - at >= 4 else (0, len(extra))  # noqa: PLR2004
        if at + 4 + length > len(extra):
            raise ZipFault("bad_zip", where, "an extra field runs past its header")
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _entry_faults(entry: Entry) -> Iterator[ZipFault]:
    if not _is_legal(entry.name):
        message = "a name must be relative and plain: no '..', '.', empty part, backslash, NUL or drive"
        yield ZipFault("illegal_entry_name", entry.name[:200], message)
    if entry.has_other_name:
        yield ZipFault("illegal_entry_name", entry.name, "an extra field gives it a second name")
    if entry.flags & ~(DESCRIPTOR_FLAG | UTF8_FLAG | _LEVEL_FLAGS):
        yield ZipFault("encrypted_entry", entry.name, f"it is encrypted or patched (flags {entry.flags:#06x})")
    if entry.method not in (STORED, DEFLATED):
        yield ZipFault("unknown_compression", entry.name, f"method {entry.method} is neither stored nor deflated")
    if entry.method == STORED and entry.flags & DESCRIPTOR_FLAG:
        yield ZipFault("stored_descriptor", entry.name, "a stored entry with a descriptor can't be read by Java")
    if entry.method == STORED and entry.packed != entry.size:
        yield ZipFault("bad_zip", entry.name, "a stored entry has two sizes")
    if entry.mode & _TYPE_BITS not in (0, _FOLDER if entry.is_folder else _REGULAR):
        yield ZipFault("special_entry", entry.name, f"it is no plain file (mode {entry.mode:o})")
    if entry.is_folder and entry.size:
        yield ZipFault("special_entry", entry.name, "a folder has bytes")


def _is_legal(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return all(p not in ("", ".", "..") for p in parts) and not _NOT_PLAIN.search(name)


def _name_clashes(entries: tuple[Entry, ...]) -> Iterator[ZipFault]:
    counts = Counter(normalize("NFC", e.name.removesuffix("/")) for e in entries)
    files = {normalize("NFC", e.name) for e in entries if not e.is_folder}
    for name, count in counts.items():
        if count > 1:
            yield ZipFault("duplicate_entry", name, f"{count} entries have this name")
        above = name.split("/")[:-1]
        if any("/".join(above[:n]) in files for n in range(1, len(above) + 1)):
            yield ZipFault("duplicate_entry", name, "it lies below a name that is a file")


def _expansion_faults(entries: tuple[Entry, ...], expanded: int, ratio: int) -> Iterator[ZipFault]:
    total, packed = sum(e.size for e in entries), sum(e.packed for e in entries)
    if total > expanded:
        yield ZipFault("too_large", "", f"its entries have {total} bytes once inflated, more than {expanded}")
    if total > 2**30 and total > ratio * packed:
        yield ZipFault("too_large", "", f"its entries inflate to {total // max(packed, 1)} times their size")
