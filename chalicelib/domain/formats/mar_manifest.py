"""`MAR-INF/MANIFEST.json` of an archive: one object, its fields of the right types, its files in the archive."""

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any

from chalicelib.domain.findings import Finding

MANIFEST = "MAR-INF/MANIFEST.json"
CONFIG, REQUIREMENTS = "configFile", "requirementsFile"
_FIX = "build it again: torch-model-archiver --model-name model --handler FILE --version VERSION …"
_FILES = ("serializedFile", "modelFile", REQUIREMENTS, CONFIG)
_TEXTS = ("createdOn", "runtime", "archiverVersion", "description", "licenseFile")
_MODEL_TEXTS = ("modelVersion", "description")
_SHOWN = 100


def parse(text: bytes) -> dict[str, Any] | Finding:
    """Return the manifest, whose `model` is an object then."""
    try:
        manifest = json.loads(text.decode(), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as e:
        return Finding("bad_manifest", MANIFEST, f"it is no JSON document: {str(e)[:_SHOWN]}", _FIX)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("model"), dict):
        return Finding("bad_manifest", MANIFEST, "it must be an object with an object 'model'", _FIX)
    return manifest


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def field_findings(manifest: Mapping[str, Any], files: Container[str]) -> tuple[Finding, ...]:
    """Return what is wrong with the fields, and which files that they name aren't there."""
    model = manifest["model"]
    return (
        *_name(model),
        *_types(manifest, _TEXTS, ""),
        *_types(model, _MODEL_TEXTS, "model."),
        *_missing(model, files),
    )


def _name(model: Mapping[str, Any]) -> Iterator[Finding]:
    name = model.get("modelName")
    if name != "model":
        where = f"{MANIFEST}: model.modelName"
        yield Finding("archive_name", where, f"it must be 'model' and is {_short(name)}", _FIX)


def _types(fields: Mapping[str, Any], texts: tuple[str, ...], prefix: str) -> Iterator[Finding]:
    for name in texts:
        if not isinstance(fields.get(name, ""), str | None):
            message = f"it must be a text and is {_short(fields[name])}"
            yield Finding("bad_manifest", f"{MANIFEST}: {prefix}{name}", message, _FIX)


def _missing(model: Mapping[str, Any], files: Container[str]) -> Iterator[Finding]:
    for field, name in _named(model):
        if not isinstance(name, str) or name not in files:
            where = f"{MANIFEST}: model.{field}"
            yield Finding("missing_file", where, f"{_short(name)} isn't in the archive", _FIX)


def _named(model: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the files that are named, by their fields; what is no text names none that could be there."""
    yield from ((f, model[f]) for f in _FILES if model.get(f))
    extra = model.get("extraFiles")
    listed = extra.split(",") if isinstance(extra, str) else extra if isinstance(extra, list) else []
    yield from (("extraFiles", name) for name in listed if name)


def _short(value: object) -> str:
    return repr(value)[:_SHOWN]
