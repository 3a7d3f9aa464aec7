"""Archives: real ones, and zips whose every header is written by hand."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from chalicelib.domain.formats import DEFAULTS
from tests.domain.uploads import HANDLER, folder, manifest, mar, zipped
from tests.validation.byhand import DEFLATED, Raw, deflated, descriptor, local_bytes, piped, raw_zip, zip64_extra
from tests.validation.corpus import Built, Case, Files, bad, good

MAR, MANIFEST = "model.mar", "MAR-INF/MANIFEST.json"
REAL = ("custom", "bare_name", "function", "own", "scripted", "stored", "full")
WEIGHTS = ("state.pt", "legacy.pt", "checkpoint.pt", "scripted.pt", "traced.pt", "exported.pt2", "arrays.npz")
PLAIN = {"h.py": HANDLER, MANIFEST: manifest()}
BASE = (Raw(b"h.py", HANDLER), Raw(MANIFEST.encode(), manifest()))
FULL32 = 0xFFFFFFFF


NUMPY = b"""\
from pathlib import Path
import numpy as np

class Loads:
    def initialize(self, context):
        folder = Path(context.system_properties["model_dir"])
        self.held = [np.load(p, allow_pickle=p.suffix == ".pkl") for p in sorted(folder.glob("*[nrs].[np]*"))]

    def handle(self, data, context):
        return [len(self.held) for _ in data]
"""


HANDLES = b"class H:\n    def handle(self, data, context): return data\n"
INHERITS = HANDLES.replace(b"H:", b"H(Echo):")


SYSTEM = b"cos\nsystem\n(S'id'\ntR."
RUNS = b"def run(data, context): return data\n"


def archived(name: str) -> Callable[[Built], Files]:
    return lambda built: folder(built.archives / name)


def of_weights(name: str) -> Callable[[Built], Files]:
    return lambda built: folder(built.weights / "archives" / name)


def holding(*names: str) -> Callable[[Built], Files]:
    """Return an archive with files of the weights' folder beside a handler that loads all of them."""
    return lambda built: {MAR: mar(NUMPY, extra={n: (built.weights / n).read_bytes() for n in names})}


def written(*entries: Raw, **how: object) -> Files:
    return {MAR: raw_zip([*BASE, *entries], **how)}  # type: ignore[arg-type]


def named(name: bytes, **how: object) -> Files:
    return written(Raw(name, b"x", **how))  # type: ignore[arg-type]


def central(**changes: object) -> Files:
    """Return an archive whose last entry differs in the directory and in its own header alike."""
    return written(Raw(b"w.bin", b"weights", local=changes, central=changes))


def local(**changes: object) -> Files:
    return written(Raw(b"w.bin", b"weights", local=changes))


def packed(data: bytes, body: bytes) -> Files:
    """Return an archive with an entry that is said to deflate `body`, and whose data are `data`."""
    said = {"method": DEFLATED, "packed": len(data), "size": len(body), "crc": zlib.crc32(body)}
    return written(Raw(b"w.bin", data, local=said, central=said))


def described(tail: bytes) -> Files:
    """Return an archive with a deflated entry that has these bytes after its data."""
    deferred = {"crc": 0, "packed": 0, "size": 0}
    return written(Raw(b"w.bin", BODY, DEFLATED, flags=8, descriptor=tail, local=deferred))


@cache
def of_entries(count: int) -> bytes:
    return raw_zip([*BASE, *(Raw(b"%d" % n) for n in range(count - len(BASE)))])


def inside(document: bytes) -> Files:
    return {MAR: zipped({"h.py": HANDLER, MANIFEST: document})}


def unicode_path(name: bytes, other: bytes) -> bytes:
    body = struct.pack("<BI", 1, zlib.crc32(name)) + other
    return struct.pack("<2H", 0x7075, len(body)) + body


def ended(archive: bytes, **changes: int) -> bytes:
    """Return an archive with fields of its end record changed, by their offsets."""
    at = {"comment": 20}
    out = bytearray(archive)
    for name, value in changes.items():
        struct.pack_into("<H", out, len(out) - 22 + at[name], value)
    return bytes(out)


def past_its_directory(archive: bytes) -> bytes:
    """Return an archive whose last entry says that a comment follows it in the directory."""
    at = archive.rindex(b"PK\1\2") + 32
    return archive[:at] + b"\5" + archive[at + 1 :]


BODY = b"weights " * 50
SIZE = len(deflated(BODY))
FLUSH = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
ENDLESS = FLUSH.compress(BODY) + FLUSH.flush(zlib.Z_SYNC_FLUSH)
HIDDEN = Raw(b"b.py", b"evil")
OUTER = Raw(b"a.bin", b"x" + local_bytes(HIDDEN))  # it doesn't begin like a zip
INNER = replace(HIDDEN, is_there=False, central={"offset": 31 + len(OUTER.name)})
SIGNED = descriptor(BODY, SIZE)
WIDE = struct.pack("<4sI2Q", b"PK\7\x08", zlib.crc32(BODY), SIZE, len(BODY))

GOOD: dict[str, Case] = {f"the archive {name}": good(archived(name)) for name in REAL}
GOOD |= {f"the archive of {name}": good(of_weights(name)) for name in WEIGHTS}
GOOD |= {
    "numpy's own files": good(holding("arrays.npz", "packed.npz", "array.npy", "scalars.pkl")),
    "entries that are stored": good({MAR: zipped(PLAIN, zipfile.ZIP_STORED)}),
    "deflated entries with descriptors": good({MAR: piped(PLAIN, zipfile.ZIP_DEFLATED)}),
    "a descriptor without a signature": good(described(SIGNED[4:])),
    "an archive written field by field": good(written()),
    "an archive with ZIP64 records": good(written(end64={})),
    "an entry with ZIP64 sizes": good(
        written(Raw(b"w.bin", b"weights", local={"size": FULL32, "packed": FULL32, "extra": zip64_extra(7, 7)}))
    ),
    "a handler whose class inherits": good({MAR: mar(b"from base import Echo\n" + INHERITS, {"base.py": HANDLER})}),
    "a handler whose class is given its methods": good({MAR: mar(HANDLES + b"    initialize = print\n")}),
    "a handler of the form NAME.py:fn": good({MAR: mar(RUNS, handler="h.py:run")}),
    "a handler of the form NAME:fn": good({MAR: mar(RUNS, handler="h:run")}),
    "a handler of the form NAME": good({MAR: mar(handler="h")}),
    "a handler whose function isn't there beside a class": good({MAR: mar(handler="h:run")}),
    "a handler that is imported": good({MAR: mar(b"from base import run as handle", {"base.py": RUNS})}),
    "a handler that is assigned": good({MAR: mar(HANDLER + b"handle = Echo().handle\n")}),
    "a text that begins like a pickle and has no end": good({MAR: mar(extra={"notes.txt": SYSTEM[:-1] + b"\xff."})}),
    "a regular file": good(central(attributes=0o100644 << 16)),
    "a folder entry": good(written(Raw(b"data/"), Raw(b"data/a", b"x"))),
    "a name in UTF-8": good(named("é.txt".encode(), flags=0x800)),
}
BAD: dict[str, Case] = {
    "an empty archive": bad({MAR: b""}, "empty_file"),
    "no zip at all": bad({MAR: b"not a zip at all, but long enough to be one"}, "bad_zip"),
    "an archive cut short": bad({MAR: mar()[:-30]}, "bad_zip"),
    "bytes after the end record": bad({MAR: mar() + b"after"}, "bad_zip"),
    "a comment": bad(written(comment=b"hello"), "bad_zip"),
    "an end record of another disk": bad(written(end={"disk": 1}), "bad_zip"),
    "an end record of two counts": bad(written(end={"here": 1}), "bad_zip"),
    "an end record that counts more": bad(written(end={"here": 3, "count": 3}), "bad_zip"),
    "a comment that isn't there": bad({MAR: ended(raw_zip(BASE), comment=5)}, "bad_zip"),
    "a directory that doesn't end at its end record": bad(written(end={"length": 10}), "bad_zip"),
    "an end record that refers to ZIP64": bad(written(end={"start": FULL32}), "bad_zip"),
    "a ZIP64 record elsewhere": bad(written(end64={"at": 0}), "bad_zip"),
    "a ZIP64 record on two disks": bad(written(end64={"disks": 2}), "bad_zip"),
    "a ZIP64 record that disagrees": bad(written(end64={"here": 9, "count": 9}), "bad_zip"),
    "a ZIP64 record of another length": bad(written(end64={"body": 60}), "bad_zip"),
    "a directory of 33 MB": bad({MAR: raw_zip(BASE, end={"start": 0, "length": 33 * 2**20})}, "bad_zip"),
    "a directory that begins with something else": bad(written(into_directory=b"x" * 46), "bad_zip"),
    "a ZIP64 field that isn't there": bad(central(size=FULL32), "bad_zip"),
    "two ZIP64 fields": bad(central(size=FULL32, packed=FULL32, extra=zip64_extra(7, 7) * 2), "bad_zip"),
    "an extra field that runs past its header": bad(central(extra=b"\1\0\xff\0"), "bad_zip"),
    "half an extra field": bad(central(extra=b"\1"), "bad_zip"),
    "an entry on another disk": bad(written(Raw(b"w", b"x", central={"disk": 1})), "bad_zip"),
    "an entry that needs a newer format": bad(central(needs=64), "bad_zip"),
    "a stored entry of two sizes": bad(central(size=6), "bad_zip"),
    "a damaged deflated stream": bad(packed(b"\xff" * 20, BODY), "bad_zip"),
    "a deflated stream that doesn't end": bad(packed(ENDLESS, BODY), "bad_zip"),
    "bytes before the first header": bad(written(front=b"#!/bin/sh\n"), "hidden_bytes"),
    "an entry that the directory doesn't name": bad(written(hidden=[Raw(b"x.py", b"evil")]), "hidden_bytes"),
    "bytes before the directory": bad(written(before_directory=b"x"), "hidden_bytes"),
    "an entry's data run into the next": bad(
        {MAR: raw_zip([Raw(b"a", b"x" * 5, local={"packed": 9, "size": 9}, central={"packed": 9, "size": 9}), *BASE])},
        "wrong_crc",
    ),
    "bytes after a deflated stream": bad(packed(deflated(BODY) + b"x", BODY), "hidden_bytes"),
    "bytes where a descriptor should be": bad(described(SIGNED + b"x"), "hidden_bytes"),
    "an entry within another": bad({MAR: raw_zip([OUTER, *BASE, INNER])}, "hidden_bytes"),
    "a descriptor of 64-bit sizes, which Java takes for 32": bad(described(WIDE), "hidden_bytes"),
    "two entries over the same bytes": bad(
        written(Raw(b"a", b"x" * 9), Raw(b"b", b"x" * 9, is_there=False, central={"offset": 0})), "hidden_bytes"
    ),
    "an own header of another name": bad(local(name=b"v.bin"), "header_mismatch"),
    "an own header with another method": bad(local(method=DEFLATED), "header_mismatch"),
    "an own header with other flags": bad(local(flags=2), "header_mismatch"),
    "an own header with another size": bad(local(size=10), "header_mismatch"),
    "an own header with a second name": bad(local(extra=unicode_path(b"w.bin", b"v")), "header_mismatch"),
    "no header where the directory says": bad(
        written(Raw(b"w.bin", b"weights", local={"magic": b"PK\3\5"})), "header_mismatch"
    ),
    "a descriptor of another CRC": bad(described(descriptor(b"x", SIZE)), "header_mismatch"),
    "a descriptor of another signature": bad(described(b"XXXX" + SIGNED[4:]), "header_mismatch"),
    "an entry that inflates past its size": bad(packed(deflated(BODY), BODY[:-1]), "header_mismatch"),
    "an entry that inflates to less": bad(packed(deflated(BODY), BODY + b"x"), "header_mismatch"),
    "an entry of another CRC": bad(central(crc=1), "wrong_crc"),
    "one name twice": bad(written(Raw(b"a", b"1"), Raw(b"a", b"2")), "duplicate_entry"),
    "one name in two normal forms": bad(
        written(Raw("é".encode(), b"1", flags=0x800), Raw("e\u0301".encode(), b"2", flags=0x800)), "duplicate_entry"
    ),
    "a file and a folder of one name": bad(written(Raw(b"a", b"1"), Raw(b"a/")), "duplicate_entry"),
    "an entry below a file": bad(written(Raw(b"h.py/a", b"1")), "duplicate_entry"),
    "an absolute name": bad(named(b"/etc/cron.d/x"), "illegal_entry_name"),
    "a name that escapes": bad(named(b"../../x"), "illegal_entry_name"),
    "a name with a backslash": bad(named(b"a\\b"), "illegal_entry_name"),
    "a name with NUL": bad(named(b"a\0b"), "illegal_entry_name"),
    "a name of a drive": bad(named(b"C:x"), "illegal_entry_name"),
    "a name without a code page": bad(named(b"caf\x82"), "illegal_entry_name"),
    "a name that is no UTF-8": bad(named(b"caf\x82", flags=0x800), "illegal_entry_name"),
    "a second name in the directory": bad(central(extra=unicode_path(b"w.bin", b"v")), "illegal_entry_name"),
    "an encrypted entry": bad(central(flags=1), "encrypted_entry"),
    "a patched entry": bad(central(flags=0x20), "encrypted_entry"),
    "LZMA": bad(central(method=14), "unknown_compression"),
    "a stored entry with a descriptor": bad({MAR: piped(PLAIN, zipfile.ZIP_STORED)}, "stored_descriptor"),
    "a symbolic link": bad(central(attributes=0o120777 << 16), "special_entry"),
    "a pipe": bad(central(attributes=0o010644 << 16), "special_entry"),
    "a device": bad(central(attributes=0o020644 << 16), "special_entry"),
    "a socket": bad(central(attributes=0o140644 << 16), "special_entry"),
    "a file with a folder's mode": bad(central(attributes=0o040755 << 16), "special_entry"),
    "a folder with a file's mode": bad(written(Raw(b"data/", central={"attributes": 0o100644 << 16})), "special_entry"),
    "a folder with bytes": bad(written(Raw(b"data/", b"x")), "special_entry"),
    "10,001 entries": bad(lambda _: {MAR: of_entries(10_001)}, "too_many_entries"),
    "10,000 entries": good(lambda _: {MAR: of_entries(10_000)}),
    "more entries than the limit": bad({MAR: mar()}, "too_many_entries", limits=replace(DEFAULTS, entries=1)),
    "more bytes than the limit": bad({MAR: mar()}, "too_large", limits=replace(DEFAULTS, expanded=10)),
    "a bomb": bad(central(size=2**31, packed=7, method=DEFLATED), "too_large"),
    "a source that is too large": bad({MAR: mar()}, "too_large", limits=replace(DEFAULTS, source=10)),
    "a folder zipped by hand": bad({MAR: zipped({"h.py": HANDLER})}, "no_manifest"),
    "a manifest that doesn't parse": bad(inside(b"{"), "bad_manifest"),
    "a manifest that nests without end": bad(inside(b"[" * 100_000), "bad_manifest"),
    "a manifest that is a list": bad(inside(b"[]"), "bad_manifest"),
    "a manifest without a model": bad(inside(b"{}"), "bad_manifest"),
    "a manifest with a key twice": bad(inside(b'{"model": {}, "model": {}}'), "bad_manifest"),
    "another modelName": bad({MAR: mar(modelName="digits")}, "archive_name"),
    "weights that aren't there": bad({MAR: mar(serializedFile="w.pt")}, "missing_file"),
    "a model file that is a number": bad({MAR: mar(modelFile=3)}, "missing_file"),
    "no handler": bad({MAR: mar(handler=None)}, "no_handler"),
    "a handler that isn't there": bad({MAR: mar(handler="vision_handler")}, "no_handler"),
    "a handler of a package": bad({MAR: mar(handler="a.b.c")}, "no_handler"),
    "a handler that doesn't parse": bad({MAR: mar(b"def handle(:")}, "bad_handler"),
    "a handler that isn't in the encoding that it names": bad(
        {MAR: mar(b"# coding: euc_kr\ndef handle(data, context): return '\xff'")}, "bad_handler"
    ),
    "a handler with NUL": bad({MAR: mar(b"\0")}, "bad_handler"),
    "a handler of two classes": bad({MAR: mar(b"class A: ...\nclass B: ...")}, "bad_handler"),
    "a handler whose function is a class": bad({MAR: mar(handler="h:Echo")}, "bad_handler"),
    "a handler whose class isn't initialized": bad({MAR: mar(HANDLES)}, "no_initialize"),
    "a handler of TorchServe's that isn't served": bad({MAR: mar(handler="vllm_handler")}, "no_handler"),
    "a handler of TorchServe's that is a base for others": bad({MAR: mar(handler="text_handler")}, "no_handler"),
    "a handler that is async": bad({MAR: mar(b"async def handle(data, context): ...")}, "bad_handler"),
    "a handler whose class doesn't handle": bad({MAR: mar(b"class A: ...")}, "bad_handler"),
    "a configuration with a key twice": bad(
        {MAR: mar(configFile="c.yaml", extra={"c.yaml": b"a: 1\na: 2"})}, "bad_model_config"
    ),
    "requirements that name no package": bad(
        {MAR: mar(requirementsFile="r.txt", extra={"r.txt": b"numpy >> 1"})}, "bad_requirements"
    ),
    "a pickle that calls the system": bad({MAR: mar(extra={"w.bin": SYSTEM})}, "forbidden_global"),
    "weights cut short": bad({MAR: mar(extra={"w.pt": b"\x80\x02}q\0"})}, "bad_pickle"),
    "a handler without its function": bad({MAR: mar(b"x = 1", handler="h:run")}, "bad_handler"),
}
BAD |= {
    "an end record of another magic": bad({MAR: raw_zip(BASE)[:-21] + b"Q" + raw_zip(BASE)[-20:]}, "bad_zip"),
    "a directory's entry of another magic": bad(written(Raw(b"w", central={"magic": b"PK\1\3"})), "bad_zip"),
    "bytes after the directory": bad(written(after_directory=b"x"), "bad_zip"),
    "a directory's entry that runs past it": bad({MAR: past_its_directory(raw_zip(BASE))}, "bad_zip"),
    "an archive of the form tgz": bad({MAR: gzip.compress(b"tar " * 200)}, "archive_form"),
    "a description that is a number": bad({MAR: mar(description=3)}, "bad_manifest"),
    "a config that is a list": bad({MAR: mar(extra={"c.yaml": b"- a"}, configFile="c.yaml")}, "bad_model_config"),
    "requirements that are no text": bad(
        {MAR: mar(extra={"r.txt": b"\xff"}, requirementsFile="r.txt")}, "bad_requirements"
    ),
    "requirements with an index": good(
        {MAR: mar(extra={"r.txt": b"--index-url x\n"}, requirementsFile="r.txt")}, "bad_requirements"
    ),
}
# Whatever a YAML may do that isn't one plain document.
YAML = {
    "that is no YAML": b"a: [",
    "with a control character": b"a: \x07",
    "that is no UTF-8": b"a: \xff",
    "that is too long": b"#" * 70_000 + b"\na: 1",
    "of two documents": b"a: 1\n---\na: 1",
    "with a list as a key": b"? [1]\n: 2",
    "with a scalar of a tag": b"a: !!binary aGk=",
    "with a scalar of its own tag": b"a: !mine 1",
    "with a list of a tag": b"a: !!python/tuple [1]",
    "with a date that is none": b"a: 2026-99-99",
    "with an anchor twice": b"a: &x 1\nb: &x 2",
    "that refers to nothing": b"a: *x",
    "that holds itself": b"a: &x [*x]",
    "that merges a number": b"a: {<<: 3}",
    "that is nested too deep": b"a: " + b"[" * 40 + b"]" * 40,
    "that is nested too deep by its aliases": b"a0: &a0 [x]\n"
    + b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) for n in range(1, 40)),
    "of too many values": b"a: [" + b"1," * 20_000 + b"]",
    "that expands without end": b"a0: &a0 [x]\n"
    + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 25)),
}
BAD |= {
    f"a configuration {how}": bad({MAR: mar(extra={"c.yaml": text}, configFile="c.yaml")}, "bad_model_config")
    for how, text in YAML.items()
}
CASES = GOOD | BAD
