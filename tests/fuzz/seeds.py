"""Where fuzzing begins: for each target, small inputs that reach deep."""

import hashlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.domain.uploads import manifest
from tests.fuzz.targets import FORMS
from tests.validation.byhand import Raw, message, raw_zip, table_block
from tests.validation.cases import CASES
from tests.validation.corpus import Built, Case, Files
from tests.validation.corpus_torch import DATA, STORAGE

LARGEST = 40_000  # bytes; mutating more takes too long
ENDINGS = {
    "zips": (".mar",),
    "inner_zips": (".pt", ".pt2", ".npz", ".mar"),
    "protobufs": (".pb",),
    "tables": (".index",),
    "yamls": (".yaml",),
    "uploads": (),
    "pickles": (".pkl", ".pt"),
}
FITS: Mapping[str, tuple[str, ...]] = {
    "archive": (".mar",),
    "repaired archive": (".mar",),
    "handler": (".py",),
    "weights": (".pt", ".pkl", ".npz", ".npy"),
    "repaired weights": (".pt",),
    "config": (".yaml",),
    "model": (".pb",),
    "index": (".index",),
    "score": (".py",),
    "runtime": (".yaml",),
    "predictor": (".py",),
    "container": (".yaml",),
    "manifest": ("_manifest.json",),
}
PICKLED = ({"a": [1, 2.5, None], "b": (b"x", {3})}, "x" * 300, ValueError, [pickle.Pickler, complex(1, 2)])
PICKLES = (
    *(pickle.dumps(value, protocol) for value in PICKLED for protocol in range(6)),
    b"cos\nsystem\n(S'true'\ntR.",
    b"(S'true'\nios\nsystem\n.",
    b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R.",
)
YAMLS = (
    b"a: 1\nb: [x, {c: 2026-01-01}]\n",
    b"a: &x {b: 1}\nc:\n  <<: *x\n  d: *x\n",
    b"- !!str 3\n- 'it''s'\n- |\n  text\n- 0x1f\n- 1:30\n- .nan\n",
    b"%YAML 1.1\n--- \n? a\n: ~\n...\n",
)


def seeds(target: str, built: Built | None) -> Iterator[bytes]:
    """Yield inputs for a target: of the corpus, with what was built where that is given, and a few of its own."""
    if target == "pickles":
        yield from PICKLES
    if target == "yamls":
        yield from YAMLS
    if target == "inner_zips":
        yield raw_zip([DATA, STORAGE])
        yield raw_zip([DATA, Raw(b"w/data/1", b"weights"), STORAGE], end64={})
    if target == "uploads":
        yield bytes([list(FORMS).index("archive's manifest")]) + manifest(serializedFile="h.py")
        yield bytes([list(FORMS).index("requirements")]) + b"numpy==2.0\n# a line\nx>=1,<2; python_version < '4'\n"
        yield bytes([list(FORMS).index("graph")]) + message(4, message(1, "a"))
    if target in ("tables", "protobufs"):
        yield table_block([(b"", b"\x08\1"), (b"w", b"\x08\1")])
        yield message(1, message(4, "serve"))
    for path, body in _files(built):
        if target == "uploads" and len(body) <= LARGEST:
            yield from (bytes([n]) + body for n, form in enumerate(FORMS) if path.endswith(FITS.get(form, ())))
        elif path.endswith(ENDINGS[target]) and len(body) <= LARGEST:
            yield body


def _files(built: Built | None) -> Iterator[tuple[str, bytes]]:
    for case in CASES.values():
        yield from _of(case, built).items()
    if built is not None:
        for path in (p for p in sorted(built.weights.iterdir()) if p.is_file()):
            yield path.name, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as inner:
                    yield from ((n, inner.read(n)) for n in inner.namelist() if n.endswith("pkl"))


def _of(case: Case, built: Built | None) -> Files:
    return {} if built is None and callable(case.files) else case.of(built)


def write_seeds(target: str, folder: Path, built: Built | None = None) -> int:
    """Write the seeds of a target into a folder; returns how many there are."""
    bodies = {body for body in seeds(target, built) if body}
    for body in bodies:
        (folder / hashlib.sha256(body).hexdigest()[:16]).write_bytes(body)
    return len(bodies)
