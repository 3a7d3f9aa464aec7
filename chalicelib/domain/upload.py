"""An upload as it arrives: what belongs to it, and whether it has been quiet for long enough to be judged."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.refs import is_ours, upload_prefix

_FOLDER_MARKER = "_$folder$"
_FORGOTTEN = timedelta(days=1)  # an open multipart upload this old was abandoned
_LOOK_AGAIN = timedelta(minutes=1)  # nothing tells us that a multipart upload was aborted


def gather(prefix: str, listing: Sequence[StoredObject]) -> Upload:
    """Return the upload that lies under a prefix: without our own files, and without folder markers."""
    files = (f for f in listing if f.key.startswith(prefix) and _is_upload(f.key))
    return Upload(prefix, tuple(sorted(files, key=lambda f: f.key)))


def uploads(listing: Sequence[StoredObject]) -> Iterator[Upload]:
    """Yield every upload of a bucket's listing, also those whose prefix is no legal name."""
    files = sorted((f for f in listing if _is_upload(f.key)), key=lambda f: (upload_prefix(f.key), f.key))
    for prefix, group in groupby(files, key=lambda f: upload_prefix(f.key)):
        yield Upload(prefix, tuple(group))


def wait_until(
    upload: Upload, open_uploads: Sequence[tuple[str, datetime]], *, now: datetime, quiet: timedelta
) -> datetime | None:
    """Return when to look again, because something may still arrive; None when the upload has been quiet."""
    newest = max((f.modified for f in upload.files), default=now)
    waits = [min(newest, now) + quiet]  # a store's clock may be ahead of ours
    waits += [now + max(quiet, _LOOK_AGAIN) for _, begun in open_uploads if now - begun < _FORGOTTEN]
    until = max(waits)
    return until if until > now else None


def _is_upload(key: str) -> bool:
    return not (is_ours(key) or key.endswith(("/", _FOLDER_MARKER)))
