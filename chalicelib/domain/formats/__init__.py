"""The artifact formats, one module each, and the judgement of an upload by the one that it is of."""

from dataclasses import replace

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Finding, Report, Severity
from chalicelib.domain.formats import container, python_predictor, saved_model, torch_archive
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.golden import FILE as GOLDEN
from chalicelib.domain.golden import LARGEST, parse_golden
from chalicelib.domain.impostors import HEAD, impostor
from chalicelib.domain.layout import depth_findings, layout_findings, temporary
from chalicelib.domain.loose import loose_findings
from chalicelib.domain.manifest import awaited, parse_manifest, unlisted
from chalicelib.domain.objects import Upload
from chalicelib.domain.policy import NO_POLICY, Policy, apply, verdict_of
from chalicelib.domain.refs import MANIFEST

__all__ = ["DEFAULTS", "FORMATS", "Format", "Judgement", "Limits", "Reader", "judge_upload"]

FORMATS: tuple[Format, ...] = (saved_model.FORMAT, torch_archive.FORMAT, python_predictor.FORMAT, container.FORMAT)
DEFAULTS = Limits()
_PAGE = 2**16  # bytes: a pointer or an error page is smaller
_LOOKED_AT = 64  # files whose beginnings are read to tell them from pointers and pages
_ARTIFACTS = ", ".join(f.artifact for f in FORMATS if f is not container.FORMAT)
_REWRITE = "write it with `modeldrop push`, last, or remove it"


def judge_upload(upload: Upload, reader: Reader, limits: Limits = DEFAULTS, policy: Policy = NO_POLICY) -> Report:
    """Judge an upload as it lies there now: accept, reject with every finding, or incomplete with what is missing.

    Whether it has been quiet for long enough is asked before (`upload.wait_until`). Reads raise what the reader raises.
    """
    return apply(policy, _judged(upload, reader, replace(limits, tolerated=policy.tolerated)))


def _judged(upload: Upload, reader: Reader, limits: Limits) -> Report:
    layout = layout_findings(upload.paths, limit=limits.objects)
    if layout:
        return _report(upload, None, Judgement(layout))
    found = [f for f in FORMATS if f.recognises(upload.paths)]
    only = found[0] if len(found) == 1 else None
    declared = _declared(upload, reader, limits)
    if declared is not None and (declared.missing or limits.stops(declared.findings)):
        return _report(upload, only, declared)
    judgement = _with_golden(_judge(found, upload, reader, limits), upload, reader)
    whole = _still_arriving(judgement, upload) if declared is None else _all_here(judgement, declared)
    return _report(upload, only, whole)


def _judge(found: list[Format], upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    match found:
        case [one]:
            return _judge_one(one, upload, reader, limits)
        case []:
            return _without_artifact(upload)
    names = " and ".join(f.artifact for f in found)
    fix = "drop each under a VERSION_ID of its own"
    return Judgement((Finding("two_artifacts", "", f"it holds {names}; a version is one artifact", fix),))


def _with_golden(judgement: Judgement, upload: Upload, reader: Reader) -> Judgement:
    """Add what is wrong with the requests that come with a version: they are asked before it has traffic."""
    item = upload.paths.get(GOLDEN)
    if item is None:
        return judgement
    try:
        parse_golden(reader.read(GOLDEN, 0, min(item.size, LARGEST + 1)))
    except Rejected as e:
        wrong = Finding(e.code, GOLDEN, str(e), "correct it, or upload it as warmup.jsonl if it should only warm up")
        return replace(judgement, findings=(*judgement.findings, wrong))
    return judgement


def _judge_one(one: Format, upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Judge by its format what is a file of that format at all."""
    wrong = _impostors(one.is_made_by, upload, reader)
    also = _impostors(one.also, upload, reader)
    if wrong:
        return Judgement(wrong + also)
    judgement = one.judge(upload, reader, limits)
    named = {f.where for f in also}
    return replace(judgement, findings=also + tuple(f for f in judgement.findings if f.where not in named))


def _impostors(names: tuple[str, ...], upload: Upload, reader: Reader) -> tuple[Finding, ...]:
    """Return those of the named files, and of those below named folders, that are something else."""
    folders = tuple(n for n in names if n.endswith("/"))
    files = [(p, f.size) for p, f in sorted(upload.paths.items()) if p in names or (p.startswith(folders) and f.size)]
    small = [(p, size) for p, size in files if size <= _PAGE or p in names]
    found = (impostor(path, size, reader.read(path, 0, min(size, HEAD))) for path, size in small[:_LOOKED_AT])
    return tuple(f for f in found if f is not None)


def _without_artifact(upload: Upload) -> Judgement:
    """What a client still writes may be the artifact: until then nothing else is held against the upload."""
    loose = () if temporary(upload.paths) else loose_findings(upload.paths)
    return Judgement(depth_findings(upload.paths) or loose, missing=(f"an artifact: {_ARTIFACTS}",))


def _declared(upload: Upload, reader: Reader, limits: Limits) -> Judgement | None:
    """Return what `_manifest.json` says is missing, by path and size; None where there is none."""
    written = upload.paths.get(MANIFEST)
    if written is None:
        return None
    if written.size > limits.manifest:
        message = f"it has {written.size} bytes, more than {limits.manifest}"
        return Judgement((Finding("bad_manifest", MANIFEST, message, _REWRITE),))
    try:
        manifest = parse_manifest(reader.read(MANIFEST, 0, written.size))
    except Rejected as e:
        return Judgement((Finding(e.code, MANIFEST, str(e), _REWRITE),))
    return Judgement(
        tuple(_not_in_manifest(path) for path in unlisted(manifest, upload.paths)), awaited(manifest, upload.paths)
    )


def _not_in_manifest(path: str) -> Finding:
    message = "it lies there and the manifest doesn't name it"
    return Finding("not_in_manifest", path, message, "remove it, or push again", Severity.WARNING)


def _still_arriving(judgement: Judgement, upload: Upload) -> Judgement:
    return replace(judgement, missing=judgement.missing + temporary(upload.paths))


def _all_here(judgement: Judgement, declared: Judgement) -> Judgement:
    """Turn what is missing into findings: by its own manifest nothing more will arrive."""
    fix = "push the whole export again"
    absent = tuple(
        Finding("missing_file", MANIFEST, f"it ends the upload, and this is missing: {what}", fix)
        for what in judgement.missing
    )
    return replace(judgement, findings=judgement.findings + absent + declared.findings, missing=())


def _report(upload: Upload, of: Format | None, judgement: Judgement) -> Report:
    return Report(
        prefix=upload.prefix,
        verdict=verdict_of(judgement.findings, judgement.missing),
        format=of.name if of else None,
        findings=judgement.findings,
        missing=judgement.missing,
        schema=judgement.schema,
        details=judgement.details,
    )
