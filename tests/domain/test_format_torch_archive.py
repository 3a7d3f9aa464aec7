"""What torch-model-archiver writes passes; an archive that two readers could read differently doesn't."""

import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.domain.findings import ArtifactFormat, Verdict
from chalicelib.domain.formats import DEFAULTS
from chalicelib.domain.formats.handler import UNSERVED, handler_finding, parse_handler
from chalicelib.domain.zipdir import ZipFault, read_directory
from chalicelib.domain.zipwalk import extract, walk
from tests.domain.uploads import HANDLER, codes, folder, judged, manifest, mar, zipped


def judged_mar(archive, limits=DEFAULTS):
    return judged({"model.mar": archive}, limits)


@pytest.mark.parametrize("name", ["custom", "bare_name", "function", "scripted", "stored", "full"])
def test_what_the_archiver_writes_is_accepted(archives, name):
    report = judged(folder(archives / name))
    assert report.verdict is Verdict.ACCEPT, report
    assert report.format is ArtifactFormat.TORCH_ARCHIVE
    assert report.details["archiver"] == "0.12.0"


def test_the_smallest_archive_is_accepted_stored_or_deflated():
    assert judged_mar(mar()).verdict is Verdict.ACCEPT
    both = {"h.py": HANDLER, "MAR-INF/MANIFEST.json": manifest()}
    assert judged_mar(zipped(both, zipfile.ZIP_STORED)).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"", "empty_file"),
        (b"not a zip at all, but long enough to be one", "bad_zip"),
        (mar() + b"after", "bad_zip"),
        (mar()[:-30], "bad_zip"),
        (zipped({"h.py": HANDLER}), "no_manifest"),
        (zipped({"h.py": HANDLER, "MAR-INF/MANIFEST.json": b"{"}), "bad_manifest"),
        (zipped({"h.py": HANDLER, "MAR-INF/MANIFEST.json": b"[" * 100_000}), "bad_manifest"),
        (zipped({"h.py": HANDLER, "MAR-INF/MANIFEST.json": b'{"model": 1}'}), "bad_manifest"),
        (zipped({"h.py": HANDLER, "MAR-INF/MANIFEST.json": b'{"model": {}, "model": {}}'}), "bad_manifest"),
        (mar(modelName="digits"), "archive_name"),
        (mar(source=b"def handle(:"), "bad_handler"),
        (mar(source=b"x = 1"), "bad_handler"),
        (mar(source=b"\0"), "bad_handler"),
        (mar(serializedFile="weights.pt"), "missing_file"),
        (mar(modelFile=3), "missing_file"),
        (mar(extra={"../up": b""}), "illegal_entry_name"),
        (mar(extra={"/abs": b""}), "illegal_entry_name"),
        (mar(extra={"a//b": b""}), "illegal_entry_name"),
        (mar(extra={"a\\b": b""}), "illegal_entry_name"),
        (mar(extra={"C:x": b""}), "illegal_entry_name"),
        (mar(extra={"h.py/x": b""}), "duplicate_entry"),
        (mar(extra={"e\u0301": b"", "\u00e9": b""}), "duplicate_entry"),
    ],
)
def test_a_broken_archive_is_rejected_with_its_code(archive, code):
    report = judged_mar(archive)
    assert report.verdict is Verdict.REJECT
    assert code in codes(report), report


def test_all_findings_of_a_manifest_are_listed_not_only_the_first():
    report = judged_mar(mar(modelName="x", serializedFile="w.pt", handler="nowhere"))
    assert codes(report) == ["archive_name", "missing_file", "no_handler"]


@pytest.mark.parametrize(
    "handler", ["h", "h.py", "h:handle", "h.py:handle", "image_classifier", "object_detector", "base_handler"]
)
def test_a_handler_is_a_file_of_the_archive_or_one_of_torchserves_own(handler):
    assert judged_mar(mar(b"def handle(data, context): ...", handler=handler)).verdict is Verdict.ACCEPT


@pytest.mark.parametrize("handler", ["", None, 3, "nowhere", "h:a:b", "../h", "h.pyc", "Vision_handler", "x" * 5000])
def test_any_other_handler_is_rejected(handler):
    assert codes(judged_mar(mar(handler=handler))) == ["no_handler"]


@pytest.mark.parametrize(
    "source",
    [
        "def handle(data, context): ...",
        "from elsewhere import handle",
        "from elsewhere import *",
        "from elsewhere import run as handle",
        "class A:\n def handle(self, d, c): ...\n\nhandle = A().handle",
        "_x, handle = 1, print",
        "try:\n import x\nexcept ImportError:\n def handle(d, c): ...",
        "if True:\n def handle(d, c): ...",
        "class A(Base): ...",
        "class A:\n def initialize(self, c): ...\n def handle(self, d, c): ...",
        "class A:\n handle = Base.handle\n initialize = Base.initialize",
        "class A:\n if True:\n  def initialize(self, c): ...\n def handle(self, d, c): ...",
        "class A(Base):\n def handle(self, d, c): ...",
        "class A:\n def __init__(self):\n  self.initialize = print\n def handle(self, d, c): ...",
        "class A:\n def handle(self, d, c): ...\nA.initialize = print",
        "class A(object, Base): ...",
        "import re\nx = re.compile('\\d')\ndef handle(d, c): ...",
        "@waits\nasync def handle(d, c): ...",
        "async def handle(d, c): ...\ndef handle(d, c): ...",
        "class A(Base):\n async def preprocess(self, d): ...",
    ],
)
def test_a_module_is_a_handler_when_torchserve_would_find_one(source):
    assert handler_finding("h.py", source.encode(), "handle") is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class handle:\n def initialize(self, c): ...\n def handle(self, d, c): ...", "is a class"),
        ("", "its classes: none"),
        ("class A: ...", "A has no 'handle'"),
        ("class A(object): ...", "A has no 'handle'"),
        ("class A(B): ...\nclass C(B): ...", "its classes: A, C"),
        ("def outer():\n def handle(d, c): ...", "its classes: none"),
        ("handle: int", "its classes: none"),
        ("async def handle(d, c): ...", "'handle' is async"),
        ("class A(Base):\n async def handle(self, d, c): ...", "'A.handle' is async"),
        ("class A:\n def handle(self, d, c): ...\n async def initialize(self, c): ...", "'A.initialize' is async"),
        ("print handle", "line 1"),
        ("(" * 5000, "doesn't parse"),
        ("-" * 500_000 + "1", "doesn't parse"),
        ("x" + ".x" * 300_000, "doesn't parse"),
        ("1" + "+1" * 300_000, "doesn't parse"),
        ("if a: ..." + "\nelif a: ..." * 2_000, "doesn't parse"),
    ],
)
def test_a_module_that_torchserve_would_refuse_says_why(source, reason):
    finding = handler_finding("h.py", source.encode(), "handle")
    assert finding is not None
    assert (finding.code, finding.where) == ("bad_handler", "h.py")
    assert reason in finding.message


@pytest.mark.parametrize("bases", ["", "()", "(object)"])
def test_a_class_that_torchserve_couldnt_initialize_says_what_to_add(bases):
    finding = handler_finding("h.py", f"class A{bases}:\n def handle(self, d, c): ...".encode(), "handle")
    assert finding is not None
    assert (finding.code, finding.where) == ("no_initialize", "h.py")
    assert "add `def initialize(self, context): …` to class A" in finding.fix


@pytest.mark.parametrize("name", UNSERVED)
def test_a_handler_of_torchserves_that_isnt_served_says_why_and_how_to_bring_ones_own(name):
    (finding,) = judged_mar(mar(handler=name)).findings
    assert finding.code == "no_handler"
    assert UNSERVED[name] in finding.message
    assert "--handler FILE.py" in finding.fix


def test_a_handlers_name_says_its_file_and_function():
    assert parse_handler("h.py:fn") == ("h.py", "fn")
    assert parse_handler("h") == ("h.py", "handle")
    assert parse_handler("my-handler.py") == ("my-handler.py", "handle")
    assert parse_handler("a/h") is None


def patched(archive, at, value):
    return archive[:at] + value + archive[at + len(value) :]


def central(archive, name):
    """Return where the directory's record of an entry begins."""
    return archive.rindex(name) - 46


LOCAL_FIELDS = {"flags": 6, "method": 8, "crc": 14, "packed": 18, "size": 22}


@pytest.mark.parametrize("field", LOCAL_FIELDS)
def test_a_local_header_that_differs_from_the_directory_is_rejected(field):
    archive = mar()
    at = LOCAL_FIELDS[field]
    changed = patched(archive, at, bytes([archive[at] ^ 2]))
    assert codes(judged_mar(changed)) == ["header_mismatch"]


def test_a_local_name_that_differs_from_the_directory_is_rejected():
    assert codes(judged_mar(patched(mar(), 30, b"g.py"))) == ["header_mismatch"]


def test_bytes_that_belong_to_no_entry_are_rejected():
    archive = mar()
    front = bytearray(b"#!/bin/sh\n" + archive)
    for match in (b"h.py", b"MAR-INF"):
        at = bytes(front).rindex(match) - 46 + 42
        front[at : at + 4] = (int.from_bytes(front[at : at + 4], "little") + 10).to_bytes(4, "little")
    at = len(front) - 6
    front[at : at + 4] = (int.from_bytes(front[at : at + 4], "little") + 10).to_bytes(4, "little")
    with zipfile.ZipFile(BytesIO(bytes(front))) as readable:
        assert readable.testzip() is None  # Python would take it
    assert codes(judged_mar(bytes(front))) == ["hidden_bytes"]


def test_a_wrong_byte_of_an_entry_is_found_by_its_crc():
    archive = zipped({"h.py": HANDLER, "MAR-INF/MANIFEST.json": manifest(), "w.bin": b"weights"}, zipfile.ZIP_STORED)
    at = archive.index(b"weights")
    assert codes(judged_mar(patched(archive, at, b"W"))) == ["wrong_crc"]


def test_an_entry_that_inflates_past_its_size_is_stopped():
    archive = mar(extra={"zeros": b"\0" * 100_000})
    size = struct.pack("<I", 10)
    local = archive.index(b"zeros") - 30 + 22
    changed = patched(patched(archive, local, size), central(archive, b"zeros") + 24, size)
    assert codes(judged_mar(changed)) == ["header_mismatch"]


def test_duplicate_names_are_rejected_though_python_reads_the_last():
    archive = mar(extra={"aa": b"1", "ab": b"2"})
    assert codes(judged_mar(archive.replace(b"ab", b"aa"))) == ["duplicate_entry"]


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (8, b"\x01\x00", "encrypted_entry"),
        (10, b"\x0c\x00", "unknown_compression"),
        (38, struct.pack("<I", 0o120777 << 16), "special_entry"),
        (38, struct.pack("<I", 0o010644 << 16), "special_entry"),
    ],
)
def test_what_the_directory_alone_shows_is_rejected(offset, value, code):
    archive = mar()
    assert code in codes(judged_mar(patched(archive, central(archive, b"h.py") + offset, value)))


def test_a_second_name_in_an_extra_field_is_rejected():
    entry = zipfile.ZipInfo("w.bin")
    name = b"other.bin"
    body = struct.pack("<BI", 1, zlib.crc32(b"w.bin")) + name
    entry.extra = struct.pack("<2H", 0x7075, len(body)) + body
    buffer = BytesIO(mar())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, b"")
    assert "illegal_entry_name" in codes(judged_mar(buffer.getvalue()))


class Unseekable:
    """What a zip is written to when it is piped: sizes and CRC go into descriptors."""

    def __init__(self):
        self.body = b""

    def write(self, block):
        self.body += bytes(block)
        return len(block)

    def flush(self): ...


def piped(method):
    out = Unseekable()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("h.py", HANDLER)
        archive.writestr("MAR-INF/MANIFEST.json", manifest())
    return out.body


def test_deflated_entries_with_descriptors_pass_and_stored_ones_dont():
    assert judged_mar(piped(zipfile.ZIP_DEFLATED)).verdict is Verdict.ACCEPT
    assert set(codes(judged_mar(piped(zipfile.ZIP_STORED)))) == {"stored_descriptor"}


def test_a_descriptor_that_differs_from_the_directory_is_rejected():
    archive = piped(zipfile.ZIP_DEFLATED)
    at = archive.index(b"PK\7\x08") + 4
    assert codes(judged_mar(patched(archive, at, bytes([archive[at] ^ 1])))) == ["header_mismatch"]


def test_zip64_fields_are_resolved():
    buffer = BytesIO(mar())
    with zipfile.ZipFile(buffer, "a") as archive, archive.open("big.bin", "w", force_zip64=True) as big:
        big.write(b"weights")
    assert judged_mar(buffer.getvalue()).verdict is Verdict.ACCEPT


def test_limits_are_held():
    assert codes(judged_mar(mar(), replace(DEFAULTS, entries=1))) == ["too_many_entries"]
    assert codes(judged_mar(mar(), replace(DEFAULTS, expanded=10))) == ["too_large"]
    assert codes(judged_mar(mar(), replace(DEFAULTS, source=10))) == ["too_large"]


def test_two_entries_over_the_same_bytes_are_rejected():
    archive = mar(extra={"aa": b"1" * 50, "bb": b"1" * 50})
    first = central(archive, b"aa") + 42
    assert codes(judged_mar(patched(archive, central(archive, b"bb") + 42, archive[first : first + 4]))) != []


def test_a_large_entry_costs_no_memory():
    archive = mar(extra={"zeros": bytes(64 * 2**20)})
    tracemalloc.start()
    report = judged_mar(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.verdict is Verdict.ACCEPT
    assert peak < 28 * 2**20


def survives(archive):
    """Walk an archive and extract all of it; only a ZipFault may come of it."""

    def read(start, length):
        return archive[start : start + length] if start >= 0 else b""

    try:
        directory = read_directory(read, len(archive), entries_limit=100)
        for entry in directory.entries:
            extract(read, entry, 10_000)
        walk([archive], directory)
    except ZipFault as fault:
        return fault.finding.code
    return None


@given(st.binary(max_size=300))
@example(b"PK\5\6" + bytes(18))
def test_random_bytes_are_never_more_than_a_fault(body):
    survives(body)
    survives(body + b"PK\5\6" + bytes(18))


@given(at=st.integers(0, 600), value=st.integers(0, 255))
def test_an_archive_with_one_other_byte_is_a_fault_or_reads_the_same(at, value):
    archive = mar()
    changed = patched(archive, at % len(archive), bytes([value]))
    if survives(changed) is None:
        with zipfile.ZipFile(BytesIO(changed)) as readable:
            assert readable.read("h.py") == HANDLER
