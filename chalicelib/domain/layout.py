"""What the names of an upload's files say before any of them is read."""

import re
from collections.abc import Collection, Mapping

from chalicelib.domain.findings import Finding, Severity

_NAME_BYTES = 255
_TEMPORARY = (".part", ".tmp", ".filepart", ".crdownload")
# Files that lie below an artifact's own folders are its data, whatever they are called.
_NESTED = re.compile(r"(?!assets/|assets\.extra/|variables/).+/(saved_model\.pb|model\.mar)\Z")
_BESIDE = ("fingerprint.pb", "keras_metadata.pb")  # an exporter writes them beside saved_model.pb
_ARCHIVED = "torch-model-archiver --model-name model --version 1 --serialized-file FILE --handler HANDLER"
_LOOSE: Mapping[str, str] = {
    ".keras": "load it and export a SavedModel: keras.models.load_model(FILE).export(DIR)",
    ".h5": "load it and export a SavedModel: keras.models.load_model(FILE).export(DIR)",
    ".pbtxt": "write the binary form, saved_model.pb: tf.saved_model.save(model, DIR)",
    ".pb": "a frozen graph is no SavedModel: export with tf.saved_model.save(model, DIR)",
    ".pt": f"put it into an archive: {_ARCHIVED}",
    ".pth": f"put it into an archive: {_ARCHIVED}",
    ".ckpt": f"put the model into an archive: {_ARCHIVED}",
    ".onnx": f"put it into an archive with a handler that runs it: {_ARCHIVED}",
    ".safetensors": f"put it into an archive with a handler that loads it: {_ARCHIVED}",
}


def layout_findings(paths: Collection[str], *, limit: int) -> tuple[Finding, ...]:
    """Return what is wrong with the names themselves."""
    findings = [f for path in sorted(paths) for f in _path_findings(path)]
    if len(paths) > limit:
        message = f"it has {len(paths)} files, more than {limit}"
        findings.append(Finding("too_many_files", "", message, "pack them into fewer files, or drop fewer"))
    both = sorted(_folders(paths) & set(paths))
    findings += [
        Finding("file_and_folder", path, "it is a file and a folder at once", "rename or remove one of the two")
        for path in both
    ]
    return tuple(findings)


def depth_findings(paths: Collection[str]) -> tuple[Finding, ...]:
    """Return artifacts that lie too deep, of an upload that has none where it should be."""
    return tuple(
        Finding(
            "wrong_depth",
            path,
            f"{path.rsplit('/', 1)[1]} must lie directly under MODEL_ID/VERSION_ID/",
            f"upload what is in {path.rsplit('/', 1)[0]}/ instead of the folder itself",
        )
        for path in sorted(paths)
        if _NESTED.match(path)
    )


def loose_findings(paths: Collection[str]) -> tuple[Finding, ...]:
    """Return, as warnings, files that are models of a kind that isn't served as it is: an artifact may still come."""
    return tuple(f for path in sorted(paths) for f in _loose(path))


def temporary(paths: Collection[str]) -> tuple[str, ...]:
    """Return files that their client is still writing, by their names."""
    return tuple(f"{path} (still being written by its client)" for path in sorted(paths) if path.endswith(_TEMPORARY))


def _path_findings(path: str) -> list[Finding]:
    parts = path.split("/")
    fix = "upload it under a plain relative path"
    found = []
    if any(p in ("", ".", "..") for p in parts) or "\\" in path or "\0" in path:
        found.append(Finding("illegal_path", path, "a path has no empty part, '.', '..', backslash or NUL", fix))
    if any(len(p.encode()) > _NAME_BYTES for p in parts):
        found.append(Finding("illegal_path", path[:300], f"a name has more than {_NAME_BYTES} bytes", "shorten it"))
    return found


def _folders(paths: Collection[str]) -> set[str]:
    return {"/".join(parts[:n]) for parts in (p.split("/") for p in paths) for n in range(1, len(parts))}


def _loose(path: str) -> list[Finding]:
    if path.endswith(".mar") and not _NESTED.match(path):
        message, fix = "an archive is served only under the name model.mar", _ARCHIVED
        return [Finding("archive_name", path, message, f"build it under that name: {fix}", Severity.WARNING)]
    ending = next((e for e in _LOOSE if path.lower().endswith(e) and "/" not in path), None)
    if ending is None or path in _BESIDE:
        return []
    message = f"a {ending} file is not served as it is"
    return [Finding("not_an_artifact", path, message, _LOOSE[ending], Severity.WARNING)]
