"""Files that are not what their names say: nothing at all, a Git LFS pointer, or an error page that was saved."""

from chalicelib.domain.findings import Finding

HEAD = 1024  # bytes that tell
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<?xml", b"<!doctype", b"<html", b"<head", b"<body", b"<error")
_SHOWN = 100
_BOM = b"\xef\xbb\xbf"


def impostor(path: str, size: int, head: bytes) -> Finding | None:
    """Return what a file that must be there is instead; None where it may be what its name says."""
    if size == 0:
        return Finding("empty_file", path, "it has no bytes", "write or export it again, then upload it")
    if head.startswith(_POINTER):
        fix = "fetch the file itself: git lfs pull; then upload it"
        return Finding("lfs_pointer", path, f"it is a Git LFS pointer of {size} bytes, not the file", fix)
    text = head.removeprefix(_BOM).lstrip()
    if text.lower().startswith(_PAGES):
        shown = " ".join(text[:_SHOWN].decode("utf-8", "replace").split())
        fix = "download the file again with credentials that may read it, look at it, then upload it"
        return Finding("error_page", path, f"it is an HTML or XML page: {shown}", fix)
    return None
