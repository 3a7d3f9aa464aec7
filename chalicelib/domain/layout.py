"""What the names of an upload's files say before any of them is read."""

import re
from collections.abc import Collection

from chalicelib.domain.findings import Finding

_NAME_BYTES = 255
_TEMPORARY = (".part", ".partial", ".tmp", ".filepart", ".crdownload")
# Files that lie below an artifact's own folders are its data, whatever they are called.
_NESTED = re.compile(
    r"(?!assets/|assets\.extra/|variables/).+/(saved_model\.pb|model\.mar|score\.py|predictor\.py|container\.yaml)\Z"
)


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


def temporary(paths: Collection[str]) -> tuple[str, ...]:
    """Return files that their client is still writing, by their names."""
    return tuple(f"{path} (still being written by its client)" for path in sorted(paths) if path.endswith(_TEMPORARY))


def _path_findings(path: str) -> list[Finding]:
    parts = path.split("/")
    fix = "upload it under a plain relative path"
    found = []
    if any(p in ("", ".", "..") for p in parts) or "\\" in path or "\0" in path:
        found.append(Finding("illegal_path", path, "a path has no empty part, '.', '..', backslash or NUL", fix))
    if not _is_unicode(path):
        found.append(Finding("illegal_path", ascii(path), "a name is no UTF-8 text", "rename it"))
    elif any(len(p.encode()) > _NAME_BYTES for p in parts):
        found.append(Finding("illegal_path", path[:300], f"a name has more than {_NAME_BYTES} bytes", "shorten it"))
    return found


def _is_unicode(path: str) -> bool:
    """A local file's name may hold bytes that are no text; a key of a store can't."""
    return not any("\ud800" <= c <= "\udfff" for c in path)


def _folders(paths: Collection[str]) -> set[str]:
    return {"/".join(parts[:n]) for parts in (p.split("/") for p in paths) for n in range(1, len(parts))}
