"""A bucket over S3's API: AWS, MinIO, moto and whatever else speaks it.

What fails between us and the store stays a botocore error (`ClientError`, `EndpointConnectionError`, …): the client
has retried by then, and the caller's trigger retries the whole step. Only "those bytes are no longer there" is ours:
`Gone`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.errors import code_of
from chalicelib.adapters.session import open_session, proxies
from chalicelib.domain.errors import Gone
from chalicelib.domain.objects import StoredObject
from chalicelib.domain.version import PART_SIZE

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import EventType
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectRequestTypeDef, LifecycleRuleTypeDef

BLOCK = 2**20  # bytes that a stream yields at once
DELETE_AT_ONCE = 1000  # S3's own limit for DeleteObjects
# 405 is S3's answer for a version that is a delete marker.
_GONE = {"NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "412", "MethodNotAllowed"}
# A store that won't say, or doesn't know the question: If-Match guards every read there.
_NOT_TOLD = {"AccessDenied", "NotImplemented", "MethodNotAllowed"}


def make_client(
    endpoint: str | None = None,
    access: str | None = None,
    secret: str | None = None,
    region: str | None = None,
    *,
    profile: str | None = None,
) -> "S3Client":
    """Return a client; what is None comes from the environment or the AWS profile, as everywhere in AWS's tools."""
    config = Config(
        signature_version="s3v4",  # botocore signs URLs by the old version unless it is told: no header is in that
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=32,
        proxies=proxies(endpoint),
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Other stores don't know the newer checksums; TLS or loopback and our own digests guard the bytes.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client: S3Client = open_session(access, secret, region, profile).client("s3", endpoint_url=endpoint, config=config)
    return client


def answers(client: "S3Client") -> bool:
    """Tell whether the store behind the client is up and takes its credentials."""
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def make_bucket(client: "S3Client", name: str) -> "S3Bucket":
    """Return a bucket that keeps versions, made if it isn't there."""
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return S3Bucket(client, name)


def notify_queue(bucket: "S3Bucket", arn: str) -> None:
    """Have every change of a bucket's objects told to a queue (for MinIO: to a webhook)."""
    events: Sequence[EventType] = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    bucket.client.put_bucket_notification_configuration(
        Bucket=bucket.name,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": events}]},
    )


def forget_deleted(bucket: "S3Bucket", days: int) -> None:
    """Have the store drop deleted and replaced objects for good after some days: versions alone would keep them."""
    rule: LifecycleRuleTypeDef = {
        "ID": "forget-deleted",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})


@contextmanager
def gone(item: StoredObject) -> Iterator[None]:
    """Turn "those bytes are no longer there" into Gone."""
    try:
        yield
    except ClientError as error:
        if code_of(error) in _GONE:
            raise Gone(f"{item.key} {item.version_id or item.etag}: {code_of(error)}") from error
        raise


@dataclass(frozen=True)
class S3Bucket:
    """One bucket of an S3 store; safe to share among threads."""

    client: "S3Client"
    name: str
    part_size: int = PART_SIZE  # bytes; S3 wants at least 5 MiB
    page_size: int = 1000  # keys in one answer of a listing; S3 gives no more

    @cached_property
    def versioned(self) -> bool:
        """Whether the bucket keeps versions: asked once."""
        try:
            return self.client.get_bucket_versioning(Bucket=self.name).get("Status") == "Enabled"
        except ClientError as error:
            if code_of(error) in _NOT_TOLD:
                return False
            raise

    def list(self, prefix: str = "") -> Sequence[StoredObject]:
        found = self._latest_versions(prefix) if self.versioned else self._objects(prefix)
        return sorted(found, key=lambda item: item.key)

    def read(self, item: StoredObject, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; raises Gone."""
        wanted = min(length, item.size - start)
        if wanted <= 0:
            return b""
        request = self._named(item)
        request["Range"] = f"bytes={start}-{start + wanted - 1}"
        with gone(item):
            answer = self.client.get_object(**request)
        return answer["Body"].read()

    def stream(self, item: StoredObject) -> Iterator[bytes]:
        """Yield the object's bytes once; raises Gone before the first block or never."""
        with gone(item):
            body = self.client.get_object(**self._named(item))["Body"]
        with body:
            yield from body.iter_chunks(BLOCK)

    def get(self, key: str) -> bytes | None:
        try:
            return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def put_parts(self, key: str, parts: Iterator[bytes]) -> None:
        """Write an object from parts; nothing of it is left when a part fails."""
        first = next(parts, b"")
        if len(first) < self.part_size:  # the last part, too: no second one can follow
            self.put(key, first)
            return
        upload_id = self.client.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
        try:
            self._upload(key, upload_id, chain([first], parts))
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # the first error is the one to tell
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)
            raise

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the current objects; a versioned bucket keeps their versions. Raises ClientError if any stays."""
        for start in range(0, len(keys), DELETE_AT_ONCE):
            batch = keys[start : start + DELETE_AT_ONCE]
            answer = self.client.delete_objects(
                Bucket=self.name, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
            )
            for failed in answer.get("Errors", []):
                raise ClientError({"Error": {"Code": failed["Code"], "Message": f"{failed}"}}, "DeleteObjects")

    def open_uploads(self, keys: Sequence[str]) -> Sequence[tuple[str, datetime]]:
        """Return (key, begun), a key at a time: MinIO takes the prefix as an exact key."""
        return [found for key in keys for found in self._open_below(key)]

    def _named(self, item: StoredObject) -> "GetObjectRequestTypeDef":
        """Name the very bytes that were listed."""
        if item.version_id:
            return {"Bucket": self.name, "Key": item.key, "VersionId": item.version_id}
        return {"Bucket": self.name, "Key": item.key, "IfMatch": f'"{item.etag}"'}

    def _objects(self, prefix: str) -> Iterator[StoredObject]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": self.page_size}
        )
        for page in pages:
            for found in page.get("Contents", []):
                yield StoredObject(
                    found["Key"], found["Size"], found["ETag"].strip('"'), found["LastModified"].astimezone(UTC)
                )

    def _latest_versions(self, prefix: str) -> Iterator[StoredObject]:
        """Yield what ListObjectsV2 would, with VersionIds (which that doesn't tell)."""
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": self.page_size}
        )
        for page in pages:
            for found in page.get("Versions", []):
                if found["IsLatest"]:
                    yield StoredObject(
                        key=found["Key"],
                        size=found["Size"],
                        etag=found["ETag"].strip('"'),
                        modified=found["LastModified"].astimezone(UTC),
                        # "null" was written before versioning began, and would be overwritten if that were suspended.
                        version_id="" if found["VersionId"] == "null" else found["VersionId"],
                    )

    def _upload(self, key: str, upload_id: str, parts: Iterator[bytes]) -> None:
        done: list[CompletedPartTypeDef] = []
        for number, part in enumerate(parts, start=1):
            answer = self.client.upload_part(
                Bucket=self.name, Key=key, UploadId=upload_id, PartNumber=number, Body=part
            )
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        self.client.complete_multipart_upload(
            Bucket=self.name, Key=key, UploadId=upload_id, MultipartUpload={"Parts": done}
        )

    def _open_below(self, key: str) -> Iterator[tuple[str, datetime]]:
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=key):
            for found in page.get("Uploads", []):
                if found["Key"] == key or key.endswith("/"):
                    yield found["Key"], found["Initiated"].astimezone(UTC)
