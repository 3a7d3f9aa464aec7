"""Uploads whose names, or `_manifest.json`, decide."""

import hashlib
import json
from dataclasses import replace

from chalicelib.domain.formats import DEFAULTS
from tests.domain.uploads import mar
from tests.validation.corpus import Case, Files, bad, good, unfinished

MAR = {"model.mar": mar()}
LOOSE = (
    "saved_model.pbtxt",
    "saved_model.cpb",
    "a.keras",
    "a.h5",
    "a.pbtxt",
    "a.pb",
    "a.pt",
    "a.pth",
    "a.ckpt",
    "a.onnx",
    "a.safetensors",
)


def declared(files: Files, **changes: bytes) -> Files:
    """Return files with the manifest that a push writes last, then changed."""
    listed = [{"path": p, "size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for p, b in files.items()]
    return {**files, "_manifest.json": json.dumps({"version": 1, "files": listed}).encode(), **changes}


def manifest_of(document: object) -> Files:
    return MAR | {"_manifest.json": json.dumps(document).encode()}


ENTRY = {"path": "model.mar", "size": len(MAR["model.mar"]), "sha256": "0" * 64}
CASES: dict[str, Case] = {
    "an archive with sidecars": good(MAR | {"README.md": b"# Digits", "golden.jsonl": b"{}\n", "_SUCCESS": b""}),
    "golden requests that can't be read": bad(MAR | {"golden.jsonl": b'{"instance": '}, "bad_golden"),
    "an archive that was pushed": good(declared(MAR)),
    "a name that isn't legal": bad(MAR, "illegal_name", prefix="my model/1/"),
    "a name without a version": bad(MAR, "illegal_name", prefix="digits/"),
    "an empty part of a path": bad(MAR | {"a//b": b"x"}, "illegal_path"),
    "a path that goes up": bad(MAR | {"a/../b": b"x"}, "illegal_path"),
    "a path with a backslash": bad(MAR | {"a\\b": b"x"}, "illegal_path"),
    "a path with NUL": bad(MAR | {"a\0b": b"x"}, "illegal_path"),
    "a name of 256 bytes": bad(MAR | {"n" * 256: b"x"}, "illegal_path"),
    "a name of 256 bytes in fewer characters": bad(MAR | {"\u00e9" * 128: b"x"}, "illegal_path"),
    "a name of 255 bytes": good(MAR | {"n" * 255: b"x"}),
    "a path that is no UTF-8": bad(MAR | {"a\udcff": b"x"}, "illegal_path"),
    "a file that is a folder": bad(MAR | {"a": b"x", "a/b": b"x"}, "file_and_folder"),
    "a thousand files": good(MAR | {f"data/{n}": b"x" for n in range(999)}),
    "a thousand files and one": bad(MAR | {f"data/{n}": b"x" for n in range(1_000)}, "too_many_files"),
    "folder markers": good(MAR | {"data/": b"", "data_$folder$": b"", "data/a": b"x"}),
    "folder markers alone": unfinished({"data/": b"", "data_$folder$": b""}),
    "more files than the limit": bad(MAR | {"a": b"x"}, "too_many_files", limits=replace(DEFAULTS, objects=1)),
    "a SavedModel one folder too deep": bad({"export/saved_model.pb": b"x"}, "wrong_depth"),
    "an archive one folder too deep": bad({"digits/model.mar": mar()}, "wrong_depth"),
    "two artifacts": bad(MAR | {"saved_model.pb": b"x"}, "two_artifacts"),
    "an archive of another name": bad({"digits.mar": mar()}, "archive_name"),
    "nothing but a README": unfinished({"README.md": b"# Digits"}),
    "a file that its client still writes": unfinished(MAR | {"labels.txt.part": b"x"}),
    "a manifest that is no JSON": bad(MAR | {"_manifest.json": b"{"}, "bad_manifest"),
    "a manifest of another version": bad(manifest_of({"version": 2, "files": []}), "bad_manifest"),
    "a manifest that names a file twice": bad(manifest_of({"files": [ENTRY, ENTRY]}), "bad_manifest"),
    "a manifest that is too large": bad(declared(MAR), "bad_manifest", limits=replace(DEFAULTS, manifest=10)),
    "a manifest that awaits a file": unfinished({k: v for k, v in declared(MAR | {"b": b"x"}).items() if k != "b"}),
    "a manifest that awaits a longer file": unfinished(declared(MAR | {"b": b"xyz"}, b=b"x")),
    "a manifest that ends an upload without an artifact": bad(declared({"README.md": b""}), "missing_file"),
    "a file that the manifest doesn't name": good(declared(MAR, old=b"x"), "not_in_manifest"),
}
CASES |= {f"a loose {name}": bad({name: b"x" * 100}, "loose_model") for name in LOOSE}
