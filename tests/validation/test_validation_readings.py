"""What passes is read in one way by us, by Python, by both of Java's readers and by Torch; what isn't, doesn't pass."""

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from chalicelib.domain.findings import Verdict
from chalicelib.domain.zipdir import read_directory
from chalicelib.domain.zipwalk import extract
from tests.domain.uploads import HANDLER, manifest
from tests.validation import corpus_archives
from tests.validation.byhand import DEFLATED, Raw, deflated, descriptor, end_bytes, piped, raw_zip, zip64_extra
from tests.validation.corpus import bad, judged
from tests.validation.corpus_archives import BASE, FULL32, MANIFEST, MAR, REAL, WEIGHTS, unicode_path

HERE = Path(__file__).parent
JAVA = shutil.which("java")
needs_java = pytest.mark.skipif(JAVA is None, reason="there is no `java` on PATH, so its two readers can't be asked")


def line(name, body):
    return f"{name.encode().hex()}:{hashlib.sha256(body).hexdigest()[:16]}"


def pythons(archive):
    """Return what Python's reader sees: a line per entry, or why it can't."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as readable:
            return " ".join(sorted(line(name, readable.read(name)) for name in readable.namelist()))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, UnicodeDecodeError) as e:
        return f"! {e}"


def ours(archive):
    def read(start, length):
        return archive[start : start + length]

    directory = read_directory(read, len(archive), entries_limit=10_000)
    return " ".join(sorted(line(e.name, extract(read, e, 2**30)) for e in directory.entries))


def javas(archives, folder):
    """Return what Java's stream and file readers see of each archive, by name."""
    paths = {name: folder / f"{n}.zip" for n, name in enumerate(archives)}
    for name, path in paths.items():
        path.write_bytes(archives[name])
    asked = "\n".join(str(p) for p in paths.values())
    done = subprocess.run([JAVA, HERE / "Entries.java"], input=asked, capture_output=True, text=True, check=True)
    rows = [row.split("\t") for row in done.stdout.splitlines()]
    return {name: {reader: seen for path, reader, seen in rows if path == str(paths[name])} for name in archives}


@needs_java
def test_an_archive_that_passes_has_the_same_entries_and_bytes_in_every_reader(built, tmp_path):
    archives = {name: case.of(built)[MAR] for name, case in corpus_archives.GOOD.items()}
    assert all(judged(case, built).verdict is Verdict.ACCEPT for case in corpus_archives.GOOD.values())
    for name, seen in javas(archives, tmp_path).items():
        readings = {"ours": ours(archives[name]), "Python's": pythons(archives[name])} | seen
        assert len(set(readings.values())) == 1, (name, readings)
        assert not readings["ours"].startswith("!"), name


def torchs(paths):
    """Return what Torch sees in files: the records of each, and that it loads."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    program = [sys.executable, HERE / "torch_entries.py", *paths]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_weights_in_an_archive_that_passes_have_the_same_records_in_torch_and_python(built, tmp_path):
    """Torch's reader takes the name of the folder, which all records lie in, away."""
    asked = {}
    for folder in (*(built.archives / n for n in REAL), *(built.weights / "archives" / n for n in WEIGHTS)):
        with zipfile.ZipFile(folder / MAR) as archive:
            for name in (n for n in archive.namelist() if n.endswith((".pt", ".pt2"))):
                path = tmp_path / folder.name / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.read(name))
                asked[str(path)] = path
    seen = torchs(asked)
    assert len(seen) == len([n for n in WEIGHTS if n.endswith((".pt", ".pt2"))]) + 4
    for path, how in seen.items():
        assert how["loads"]
        if not zipfile.is_zipfile(path):
            continue
        with zipfile.ZipFile(path) as records:
            bodies = {n.split("/", 1)[1]: hashlib.sha256(records.read(n)).hexdigest() for n in records.namelist()}
        assert how["records"] == bodies


EVIL = b"import os\n" + HANDLER
ENTRIES = [Raw(b"h.py", HANDLER), Raw(MANIFEST.encode(), manifest())]


def spliced(at_front):
    """Return an archive in whose comment a whole other archive lies, or that lies behind another."""
    other = raw_zip([Raw(b"h.py", EVIL), *ENTRIES[1:]])
    return other + raw_zip(ENTRIES) if at_front else raw_zip(ENTRIES, comment=other)


def two_directories():
    """Return an archive whose ZIP64 record and plain end record name different directories."""
    body = raw_zip(ENTRIES)[:-22]
    other = raw_zip([Raw(b"h.py", EVIL), *ENTRIES[1:]], front=b"")
    start, length = other.index(b"PK\1\2"), len(other) - 22 - other.index(b"PK\1\2")
    first = body.index(b"PK\1\2")
    whole = other[:start] + body
    at = len(whole)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, length, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    return whole + other[start:-22] + record + locator + end_bytes(2, len(body) - first, start + first)


def deferred(body, **changes):
    said = {"crc": 0, "packed": 0, "size": 0}
    return Raw(b"w", body, flags=8, descriptor=descriptor(body, len(body)), local=said, **changes)


LONG = b"x = 1\n" * 20
AMBIGUOUS = {
    "an own header of another name": raw_zip([Raw(b"h.py", HANDLER, local={"name": b"g.py"}), ENTRIES[1]]),
    "another archive in front": spliced(at_front=True),
    "another archive in the comment": spliced(at_front=False),
    "an end record in the comment": raw_zip(ENTRIES, comment=end_bytes(0, 0, 0)),
    "a program in front": raw_zip(ENTRIES, front=b"#!/bin/sh\nexit\n"),
    "one name twice": raw_zip([*ENTRIES, Raw(b"h.py", EVIL)]),
    "one name twice, the second hidden": raw_zip(ENTRIES, hidden=[Raw(b"h.py", EVIL)]),
    "a hidden entry": raw_zip(ENTRIES, hidden=[Raw(b"x.py", EVIL)]),
    "a stored entry with a descriptor": piped({"h.py": HANDLER, MANIFEST: manifest()}, zipfile.ZIP_STORED),
    "a stored entry whose data look like a descriptor": raw_zip(
        [*ENTRIES, deferred(descriptor(b"", 0) + b"PK\3\4", central={})]
    ),
    "an own ZIP64 field of another size": raw_zip(
        [*ENTRIES, Raw(b"w", b"weights", local={"size": FULL32, "packed": FULL32, "extra": zip64_extra(3, 3)})]
    ),
    "a directory's ZIP64 field of another size": raw_zip(
        [*ENTRIES, Raw(b"w", b"weights", central={"size": FULL32, "packed": FULL32, "extra": zip64_extra(3, 3)})]
    ),
    "two directories": two_directories(),
    "an own header of another length": raw_zip([*ENTRIES, Raw(b"w", LONG, local={"packed": 6, "size": 6})]),
    "an own header of another method": raw_zip(
        [*ENTRIES, Raw(b"w", deflated(LONG), local={"method": DEFLATED, "size": len(LONG), "crc": zlib.crc32(LONG)})]
    ),
    "an own CRC that is wrong": raw_zip([*ENTRIES, Raw(b"w", b"weights", local={"crc": 1})]),
    "a name with NUL": raw_zip([*ENTRIES, Raw(b"h.txt\0.py", EVIL)]),
    "a name without a code page": raw_zip([*ENTRIES, Raw(b"caf\x82.py", EVIL)]),
    "two entries over the same bytes": raw_zip(
        [*BASE, Raw(b"a", b"x"), Raw(b"b", b"x", is_there=False, central={"offset": 0})]
    ),
    "a second name in an extra field": raw_zip(
        [*ENTRIES, Raw(b"w.py", EVIL, local={"extra": b""}, central={"extra": unicode_path(b"w.py", b"v.py")})]
    ),
    "an encrypted entry": raw_zip([*ENTRIES, Raw(b"w", b"weights", flags=1)]),
}
ALIKE_HERE = {"a second name in an extra field"}  # other versions, and other programs, take the second name


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_archive_of_two_readings_is_rejected(name):
    assert judged(bad({MAR: AMBIGUOUS[name]})).verdict is Verdict.REJECT


@needs_java
def test_those_archives_are_indeed_read_differently_or_not_at_all(tmp_path):
    for name, seen in javas(AMBIGUOUS, tmp_path).items():
        readings = {"Python's": pythons(AMBIGUOUS[name])} | seen
        differ = len(set(readings.values())) > 1
        assert differ != (name in ALIKE_HERE), (name, readings)
