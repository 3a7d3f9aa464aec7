"""What is fuzzed: each target takes bytes, and may only end as documented; some also compare with another reader."""

import contextlib
import io
import pickle
import re
import struct
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator, Mapping
from typing import Self

import yaml

from chalicelib.domain.findings import Severity, Verdict
from chalicelib.domain.formats import judge_upload
from chalicelib.domain.formats.checkpoint import read_index
from chalicelib.domain.formats.saved_model_pb import read_saved_model
from chalicelib.domain.formats.torch_zip import Budget, ZipStream
from chalicelib.domain.pickles import UNRESOLVED, PickleWalk
from chalicelib.domain.protobuf import Malformed, Wire
from chalicelib.domain.report_text import as_json, as_text
from chalicelib.domain.sstable import entries
from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.yaml_limits import BadYaml
from chalicelib.domain.zipdir import ZipFault, directory_findings, read_directory
from chalicelib.domain.zipwalk import extract, walk
from tests.domain.uploads import Memory, mar, upload_of, zipped
from tests.validation.byhand import message, meta_graph, saved_model, table_of

EXPANDED = 2**22
KEPT = 20  # names that a walk keeps
BLOCK = 97  # odd, so that pieces end anywhere


SAVING = saved_model(meta_graph(message(3, message(3, "save"))))


def blocks(body: bytes) -> Iterator[bytes]:
    return (body[at : at + BLOCK] for at in range(0, len(body), BLOCK))


def with_right_checksums(archive: bytes) -> bytes:
    """Return an archive whose stored entries have the CRC of their bytes, so that other rules are reached, too."""
    out = bytearray(archive)
    for found in re.finditer(b"PK\1\2", archive):
        at = found.start()
        if len(archive) - at < 46:
            continue
        (method,) = struct.unpack_from("<H", archive, at + 10)
        (size,), (offset,) = struct.unpack_from("<I", archive, at + 24), struct.unpack_from("<I", archive, at + 42)
        if method != 0 or offset + 30 > len(archive) or size > len(archive):
            continue
        names = struct.unpack_from("<2H", archive, offset + 26)
        start = offset + 30 + sum(names)
        crc = struct.pack("<I", zlib.crc32(archive[start : start + size]))
        out[at + 16 : at + 20] = crc
        out[offset + 14 : offset + 18] = crc
    return bytes(out)


def zips(body: bytes) -> None:
    """Walk it as an archive; where that finds nothing, Python's reader must find the same entries and bytes."""
    for archive in (body, with_right_checksums(body)):
        ours = walked(archive)
        if ours is None:
            continue
        with zipfile.ZipFile(io.BytesIO(archive)) as readable:
            theirs = {i.filename: readable.read(i) for i in readable.infolist()}
        assert theirs == ours, "Python reads another archive"


def walked(archive: bytes) -> Mapping[str, bytes] | None:
    """Return the entries of an archive that has one reading, None of any other."""

    def read(start: int, length: int) -> bytes:
        assert start >= 0, "it reads before the first byte"
        return archive[start : start + length]

    try:
        directory = read_directory(read, len(archive), entries_limit=1_000)
        if directory_findings(directory, expanded=EXPANDED, ratio=200):
            return None
        walk(blocks(archive), directory)
        return {e.name: extract(read, e, EXPANDED) for e in directory.entries}
    except ZipFault:
        return None


def inner_zips(body: bytes) -> None:
    """Walk it as an archive in an archive, which may be in Torch's form; Python's reader must find what is found."""
    for archive in (body, with_right_checksums(body)):
        kept: dict[str, Kept] = {}
        stream = ZipStream(lambda name, kept=kept: kept.setdefault(name, Kept()), Budget(1_000, EXPANDED, 200))
        for piece in blocks(archive):
            stream.feed(piece)
        stream.end()
        if stream.fault is None:
            with zipfile.ZipFile(io.BytesIO(archive)) as readable:
                theirs = {i.filename: readable.read(i) for i in readable.infolist()}
            assert theirs == {name: entry.body for name, entry in kept.items()}, "Python reads another archive"


class Kept:
    """Takes the bytes of one entry."""

    def __init__(self) -> None:
        self.body = b""

    def feed(self, piece: bytes) -> None:
        self.body += piece

    def end(self) -> None: ...


class Recorder(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own unpickler, which imports nothing: it notes what it would import, and builds harmless things."""

    def __init__(self, body: bytes) -> None:
        super().__init__(io.BytesIO(body))
        self.asked: list[str] = []

    def find_class(self, module: str, name: str) -> object:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        self.asked.append(f"{module}.{name}")
        return Harmless

    def persistent_load(self, pid: object) -> object:
        return Harmless()


class Harmless:
    def __new__(cls, *_: object, **__: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...

    def __hash__(self) -> int:
        return 1

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...

    def add(self, _: object) -> None: ...


def pickles(body: bytes) -> None:
    """Walk it as pickles; what Python's unpickler would import of the first must be among the globals found."""
    pieces = PickleWalk(lambda _: "all")
    for piece in blocks(body):
        pieces.feed(piece)
    pieces.end()
    whole = PickleWalk(lambda _: "all")
    whole.feed(body)
    whole.end()
    whole.globals.setdefault("all", {})
    pieces.globals.setdefault("all", {})
    assert (pieces.streams, pieces.globals, pieces.failure) == (whole.streams, whole.globals, whole.failure)
    asked = imported(body)
    if asked is not None and UNRESOLVED not in whole.globals["all"] and len(whole.globals["all"]) < KEPT:
        assert asked <= set(whole.globals["all"]), "Python would import something that wasn't seen"


def imported(body: bytes) -> set[str] | None:
    """Return what the unpickler would import, None where it doesn't come to a STOP."""
    if pickle.BYTEARRAY8 in body:  # it would make room for what isn't there
        return None
    recorder = Recorder(body)
    with contextlib.suppress(Exception):
        recorder.load()
        return set(recorder.asked)
    return None


def protobufs(body: bytes) -> None:
    """Read it as a SavedModel, alone and within one, in any blocks."""
    for model in (body, saved_model(body), saved_model(meta_graph(body)), saved_model(meta_graph(message(2, body)))):
        with contextlib.suppress(Malformed):
            read_saved_model(blocks(model))
    with contextlib.suppress(Malformed):
        list(Wire([body]).fields())


def tables(body: bytes) -> None:
    """Read it as a table, and as the block of a table whose checksums are right."""
    for table in (body, table_of(body)):
        with contextlib.suppress(Malformed):
            list(entries(table))
        with contextlib.suppress(Malformed):
            read_index(table)


def yamls(body: bytes) -> None:
    """Read it as YAML; what is taken, PyYAML's safe loader takes too."""
    try:
        value = parse(body)
    except BadYaml:
        return
    assert repr(yaml.safe_load(body.decode())) == repr(value)


def uploads(choice: bytes) -> None:
    """Judge it as one of the files that an upload may have, or as part of an archive: the first byte says which."""
    body, forms = choice[1:], list(FORMS.values())
    files = forms[choice[0] % len(forms)](body) if choice else {}
    report = judge_upload(upload_of(files), Memory(files))
    rejects = any(f.severity is Severity.ERROR for f in report.findings)
    assert rejects == (report.verdict is Verdict.REJECT)
    assert as_text(report)
    assert as_json(report)


def weights(body: bytes) -> Mapping[str, bytes]:
    return {"model.mar": mar(extra={"w.pt": body}, serializedFile="w.pt")}


MANIFEST = "MAR-INF/MANIFEST.json"
FORMS: Mapping[str, Callable[[bytes], Mapping[str, bytes]]] = {
    "archive": lambda b: {"model.mar": b},
    "repaired archive": lambda b: {"model.mar": with_right_checksums(b)},
    "handler": lambda b: {"model.mar": mar(b)},
    "weights": weights,
    "repaired weights": lambda b: weights(with_right_checksums(b)),
    "config": lambda b: {"model.mar": mar(extra={"model-config.yaml": b}, configFile="model-config.yaml")},
    "requirements": lambda b: {"model.mar": mar(extra={"requirements.txt": b}, requirementsFile="requirements.txt")},
    "archive's manifest": lambda b: {"model.mar": zipped({"h.py": b"def handle(d, c): ...", MANIFEST: b})},
    "model": lambda b: {"saved_model.pb": b},
    "graph": lambda b: {"saved_model.pb": saved_model(meta_graph(b))},
    "index": lambda b: {"saved_model.pb": SAVING, "variables/variables.index": b},
    "repaired index": lambda b: {"saved_model.pb": SAVING, "variables/variables.index": table_of(b)},
    "score": lambda b: {"score.py": b},
    "runtime": lambda b: {"score.py": SCORE, "runtime.yaml": b},
    "predictor": lambda b: {"predictor.py": b},
    "container": lambda b: {"container.yaml": b},
    "manifest": lambda b: {"README.md": b"", "_manifest.json": b},
}
SCORE = b"def load_model(): ...\ndef predict(data, model=load_model()): ...\n"
TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "zips": zips,
    "inner_zips": inner_zips,
    "pickles": pickles,
    "protobufs": protobufs,
    "tables": tables,
    "yamls": yamls,
    "uploads": uploads,
}
