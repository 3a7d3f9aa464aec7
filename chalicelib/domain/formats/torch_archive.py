"""A TorchServe archive, `model.mar`: a zip with one reading, a manifest, and a handler that can be found."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.formats.handler import OWN, parse_handler, why_not
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.objects import Upload
from chalicelib.domain.zipdir import Directory, Entry, ZipFault, directory_findings, read_directory
from chalicelib.domain.zipwalk import extract, walk

ARTIFACT = "model.mar"
_MANIFEST = "MAR-INF/MANIFEST.json"
_ARCHIVER = "torch-model-archiver --model-name model --handler FILE --version VERSION …"
_NAMED = ("serializedFile", "modelFile", "requirementsFile", "configFile")

Extract = Callable[[Entry], bytes]


def recognises(paths: Collection[str]) -> bool:
    return ARTIFACT in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Judge directory, manifest and handler by ranged reads, then every byte in one pass unless those reject it."""
    size = upload.paths[ARTIFACT].size
    if size == 0:
        return Judgement((Finding("empty_file", ARTIFACT, "it has no bytes", f"build it: {_ARCHIVER}"),))

    def read(start: int, length: int) -> bytes:
        return reader.read(ARTIFACT, start, max(0, min(length, size - start)))

    try:
        directory = read_directory(read, size, entries_limit=limits.entries)
        findings = directory_findings(directory, expanded=limits.expanded, ratio=limits.ratio)
        if findings:
            return Judgement(_in_archive(findings))
        judgement = _judge_contents(directory, lambda entry: extract(read, entry, limits.source))
        if not judgement.findings:
            walk(reader.stream(ARTIFACT), directory)
    except ZipFault as fault:
        return Judgement(_in_archive((fault.finding,)))
    return judgement


def _judge_contents(directory: Directory, take: Extract) -> Judgement:
    files = {e.name: e for e in directory.entries if not e.is_folder}
    if _MANIFEST not in files:
        return Judgement((_bad("no_manifest", _MANIFEST, "the archive has no such entry"),))
    manifest = _parse(take(files[_MANIFEST]))
    if isinstance(manifest, Finding):
        return Judgement((manifest,))
    model = manifest["model"]
    findings = (*_name_findings(model), *_file_findings(model, files), *_handler_findings(model, files, take))
    details = {"handler": model.get("handler"), "archiver": manifest.get("archiverVersion"), "entries": len(files)}
    return Judgement(findings, details=details)


def _parse(text: bytes) -> dict[str, Any] | Finding:
    """Return the manifest, whose `model` is an object then."""
    try:
        manifest = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as e:
        return _bad("bad_manifest", _MANIFEST, f"it is no JSON document: {e}")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("model"), dict):
        return _bad("bad_manifest", _MANIFEST, "it must be an object with an object 'model'")
    return manifest


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _name_findings(model: Mapping[str, Any]) -> tuple[Finding, ...]:
    name = model.get("modelName")
    if name == "model":
        return ()
    shown = repr(name)[:100]
    return (_bad("archive_name", f"{_MANIFEST}: model.modelName", f"it must be 'model' and is {shown}"),)


def _file_findings(model: Mapping[str, Any], files: Mapping[str, Entry]) -> tuple[Finding, ...]:
    return tuple(
        _bad("missing_file", f"{_MANIFEST}: model.{field}", f"{str(model[field])[:200]!r} isn't in the archive")
        for field in _NAMED
        if model.get(field) and (not isinstance(model[field], str) or model[field] not in files)
    )


def _handler_findings(model: Mapping[str, Any], files: Mapping[str, Entry], take: Extract) -> tuple[Finding, ...]:
    where, name = f"{_MANIFEST}: model.handler", model.get("handler")
    if not isinstance(name, str) or not name:
        return (_bad("no_handler", where, "the manifest names no handler"),)
    parsed = parse_handler(name)
    if parsed is not None and parsed[0] in files:
        reason = why_not(take(files[parsed[0]]), parsed[1])
        return () if reason is None else (_bad("bad_handler", parsed[0], reason),)
    if name in OWN:
        return ()
    message = f"{name[:100]!r} is neither a file of the archive nor one of {', '.join(OWN)}"
    return (_bad("no_handler", where, message),)


def _in_archive(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(
        Finding(f.code, f"{ARTIFACT}: {f.where}" if f.where else ARTIFACT, f.message, f.fix, f.severity)
        for f in findings
    )


def _bad(code: str, where: str, message: str) -> Finding:
    return Finding(code, f"{ARTIFACT}: {where}", message, f"build it again: {_ARCHIVER}")


FORMAT = Format(ArtifactFormat.TORCH_ARCHIVE, ARTIFACT, recognises, judge)
