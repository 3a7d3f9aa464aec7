"""Judge every upload of a bucket as if it were quiet: an audit before the bucket is adopted. Nothing is written."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Finding, Report, Verdict
from chalicelib.domain.formats import DEFAULTS, Limits, judge_upload
from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.policy import NO_POLICY, Policy
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.upload import uploads


class Readable(Protocol):
    """What judging needs of a bucket: the reading half of `ports.Bucket`."""

    def list(self, prefix: str = "") -> Sequence[StoredObject]: ...

    def read(self, item: StoredObject, start: int, length: int) -> bytes: ...

    def stream(self, item: StoredObject) -> Iterator[bytes]: ...


class BucketReader:
    """Reads the files of one upload from a bucket: the very objects that were listed."""

    def __init__(self, bucket: Readable, upload: Upload) -> None:
        self._bucket = bucket
        self._files = upload.paths

    def read(self, path: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""  # a range of no bytes can't be asked for
        return self._bucket.read(self._files[path], start, length)

    def stream(self, path: str) -> Iterator[bytes]:
        return self._bucket.stream(self._files[path])


def audit(
    bucket: Readable, prefix: str = "", *, limits: Limits = DEFAULTS, policy: Policy = NO_POLICY
) -> Iterator[Report]:
    """Yield a report for each upload below a prefix; raises Gone when an object changes while it is read."""
    for upload in uploads(bucket.list(prefix)):
        yield illegal_name(upload.prefix) or judge_upload(upload, BucketReader(bucket, upload), limits, policy)


def illegal_name(prefix: str) -> Report | None:
    """Return the rejection of a prefix that is no legal MODEL_ID/VERSION_ID/; None for one that is."""
    try:
        VersionRef.parse(prefix)
    except Rejected as e:
        fix = "upload to MODEL_ID/VERSION_ID/, both legal names"
        return Report(prefix, Verdict.REJECT, findings=(Finding(e.code, prefix or "(the bucket's root)", str(e), fix),))
    return None
