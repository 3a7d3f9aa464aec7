"""A TorchServe archive, `model.mar`: a zip with one reading, a manifest, and a handler that can be found."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.formats.mar_manifest import CONFIG, MANIFEST, REQUIREMENTS, field_findings, parse
from chalicelib.domain.formats.mar_texts import config_findings, handler_findings, requirement_findings
from chalicelib.domain.formats.members import File
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.formats.torch_zip import Budget
from chalicelib.domain.objects import Upload
from chalicelib.domain.zipdir import Directory, Entry, ZipFault, directory_findings, read_directory
from chalicelib.domain.zipwalk import NOWHERE, Sink, extract, walk

ARTIFACT = "model.mar"
_DEFAULT = "torch-model-archiver --model-name model --archive-format default …"
_HEAD = 512

Extract = Callable[[Entry], bytes]


def recognises(paths: Collection[str]) -> bool:
    return ARTIFACT in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Judge directory, manifest and texts by ranged reads, then every byte in one pass unless those reject it."""
    size = upload.paths[ARTIFACT].size

    def read(start: int, length: int) -> bytes:
        return reader.read(ARTIFACT, start, max(0, min(length, size - start)))

    other = _other_form(read(0, _HEAD))
    if other:
        return Judgement((other,))
    try:
        directory = read_directory(read, size, entries_limit=limits.entries)
        shown = directory_findings(directory, expanded=limits.expanded, ratio=limits.ratio)
        if limits.stops(shown):
            return Judgement(_in_archive(shown))
        judgement = _judge_texts(directory, lambda entry: extract(read, entry, limits.source))
    except ZipFault as fault:
        return Judgement(_in_archive((fault.finding,)))
    judgement = replace(judgement, findings=_in_archive(shown + judgement.findings))
    if limits.stops(judgement.findings):
        return judgement
    return replace(judgement, findings=judgement.findings + _in_archive(_walked(reader, directory, limits)))


def _other_form(head: bytes) -> Finding | None:
    """Return what the archiver's other forms are rejected with."""
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        message = "it is a tar, which --archive-format tgz writes; an archive is a zip here"
        return Finding("archive_form", ARTIFACT, message, f"build it again: {_DEFAULT}")
    return None


def _judge_texts(directory: Directory, take: Extract) -> Judgement:
    """Judge the manifest and the texts that it names."""
    files = {e.name: e for e in directory.entries if not e.is_folder}
    if MANIFEST not in files:
        return Judgement((Finding("no_manifest", MANIFEST, _no_manifest(files), f"build it: {_DEFAULT}"),))
    manifest = parse(take(files[MANIFEST]))
    if isinstance(manifest, Finding):
        return Judgement((manifest,))
    model = manifest["model"]
    texts: dict[str, Callable[[bytes], tuple[Finding, ...]]] = {
        CONFIG: lambda text: config_findings(model[CONFIG], text),
        REQUIREMENTS: lambda text: requirement_findings(model[REQUIREMENTS], text),
    }
    findings = field_findings(manifest, files) + handler_findings(model, files, take)
    for field, judged in texts.items():
        if isinstance(model.get(field), str) and model[field] in files:
            findings += judged(take(files[model[field]]))
    details = {"handler": _shown(model.get("handler")), "archiver": _shown(manifest.get("archiverVersion"))}
    return Judgement(findings, details={**details, "entries": len(files)})


def _no_manifest(files: Collection[str]) -> str:
    alike = next((name for name in sorted(files) if name.lower().endswith(MANIFEST.lower())), None)
    return f"the archive has no such entry, but {alike[:100]!r}" if alike else "the archive has no such entry"


def _shown(value: object) -> str | None:
    return value[:100] if isinstance(value, str) else None


def _walked(reader: Reader, directory: Directory, limits: Limits) -> tuple[Finding, ...]:
    """Return what every byte of the archive shows, read once."""
    budget = Budget(limits.entries, limits.expanded, limits.ratio, limits.opcodes)
    seen: list[File] = []

    def visit(entry: Entry) -> Sink:
        if entry.is_folder:
            return NOWHERE
        seen.append(File(entry.name, budget))
        return seen[-1]

    try:
        walk(reader.stream(ARTIFACT), directory, visit)
    except ZipFault as fault:
        return (*_of(seen), fault.finding)
    return tuple(_of(seen))


def _of(files: list[File]) -> Iterator[Finding]:
    for file in files:
        yield from file.findings()


def _in_archive(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(replace(f, where=f"{ARTIFACT}: {f.where}" if f.where else ARTIFACT) for f in findings)


FORMAT = Format(ArtifactFormat.TORCH_ARCHIVE, ARTIFACT, recognises, judge)
