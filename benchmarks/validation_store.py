"""Uploads of many gigabytes that really lie in MinIO, and their judgement through the pipeline's own reader."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.validation_artifacts import GB, Made
from chalicelib.adapters.s3 import S3Bucket, make_client
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores import MinIO
from chalicelib.local.stores.minio_admin import Credentials
from chalicelib.local.stores.seam import DROP, REGION
from chalicelib.pipeline.audit import audit

PREFIX = "big/1/"
_SPARE = 5 * GB  # bytes of the disk that are left to others


@dataclass
class Fetched:
    """Counts the bodies that a store answers with: all that was asked for, also what is left unread of a stream."""

    bytes: int = 0
    requests: int = 0

    def count(self, parsed: Mapping[str, Any], **_: object) -> None:
        self.bytes += parsed.get("ContentLength", 0)
        self.requests += 1


@contextmanager
def stored(files: Mapping[str, Made]) -> Iterator[Home]:
    """Yield the home of a MinIO that holds an upload; both are gone afterwards. Raises NotFound or Rejected."""
    size, free = sum(f.size for f in files.values()), shutil.disk_usage(tempfile.gettempdir()).free
    if free < size + _SPARE:
        raise Rejected(f"{free / GB:.0f} GB are free, too few for {size / GB:.0f} GB and {_SPARE / GB:.0f} to spare")
    with tempfile.TemporaryDirectory(prefix="modeldrop-validation-") as folder:
        minio = MinIO(home := Home(Path(folder)), receiver="http://127.0.0.1:9/", token=secrets.token_hex())
        try:
            drop = minio.start().drop
            for path, made in files.items():
                starts = range(0, made.size, drop.part_size)
                drop.put_parts(PREFIX + path, (made.cut(at, drop.part_size) for at in starts))
            yield home
        finally:
            minio.stop()


def judge_stored(home: Home) -> dict[str, Any]:
    """Judge the upload that lies in the MinIO of a home, and count the bytes that MinIO sends for it."""
    credentials = Credentials.load(home.credentials)
    if credentials is None:
        raise NotFound(f"{home.credentials}: no MinIO was started there")
    endpoint = f"http://127.0.0.1:{credentials.port}"
    client = make_client(endpoint, credentials.root_user, credentials.root_password, REGION)
    fetched, bucket = Fetched(), S3Bucket(client, DROP)
    client.meta.events.register("after-call.s3.GetObject", fetched.count)
    size = sum(f.size for f in bucket.list(PREFIX))
    began = time.perf_counter()
    [report] = audit(bucket, PREFIX)
    seconds = time.perf_counter() - began
    return {
        "bytes": size, "fetched": fetched.bytes, "requests": fetched.requests, "share": fetched.bytes / size,
        "seconds": seconds, "verdict": str(report.verdict), "codes": [f.code for f in report.findings],
    }  # fmt: skip
