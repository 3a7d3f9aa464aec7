"""Seal by asking S3 to copy: nothing passes through us, and S3 takes the SHA-256 of each part while it copies.

The digest is S3's own composite SHA-256 over parts of PART_SIZE, the same that is taken elsewhere while streaming.
"""

import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.s3 import S3Bucket, gone
from chalicelib.domain.errors import Gone, Rejected
from chalicelib.domain.objects import StoredObject
from chalicelib.domain.version import PART_SIZE, check_promise

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef, TaggingTypeDef, TagTypeDef

_SEALED: "TagTypeDef" = {"Key": "modeldrop:sealed", "Value": "true"}  # the drop's lifecycle expires what carries it
_MOST_TAGS = 10  # S3's own limit


@dataclass(frozen=True)
class CopyingSealer:
    """`pipeline.ports.Sealer` between two buckets of S3; the drop keeps versions."""

    drop: S3Bucket
    store: S3Bucket
    part_size: int = PART_SIZE

    def copy(self, item: StoredObject, key: str, *, sha256: str = "") -> str:
        """Copy one object; raises Gone, or Rejected when its SHA-256 isn't the promised one."""
        with gone(item):
            digest = self._whole(item, key) if item.size <= self.part_size else self._by_parts(item, key)
        if sha256:
            self._check(item, digest, sha256)
        return digest

    def release(self, items: Sequence[StoredObject]) -> None:
        """Tag objects, beside their own tags, so that the drop's lifecycle expires them; one that is full stays."""
        client, bucket = self.drop.client, self.drop.name
        for item in items:
            with suppress(Gone), gone(item):
                found = client.get_object_tagging(Bucket=bucket, Key=item.key, VersionId=item.version_id)["TagSet"]
                if _SEALED not in found and len(found) < _MOST_TAGS:
                    tags: TaggingTypeDef = {"TagSet": [*found, _SEALED]}
                    client.put_object_tagging(Bucket=bucket, Key=item.key, VersionId=item.version_id, Tagging=tags)

    def _whole(self, item: StoredObject, key: str) -> str:
        answer = self.store.client.copy_object(
            Bucket=self.store.name,
            Key=key,
            CopySource=self._source(item),
            ChecksumAlgorithm="SHA256",
            TaggingDirective="REPLACE",  # by none: an uploader's tags, and an earlier attempt's, stay in the drop
        )
        return base64.b64decode(answer["CopyObjectResult"]["ChecksumSHA256"]).hex()

    def _by_parts(self, item: StoredObject, key: str) -> str:
        """Copy part by part and return the composite digest; nothing of it is left when a part fails."""
        client, bucket = self.store.client, self.store.name
        upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
        try:
            starts = range(0, item.size, self.part_size)
            parts = [self._part(item, key, upload_id, number, start) for number, start in enumerate(starts, start=1)]
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # the first error is the one to tell
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
            raise
        said = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["ChecksumSHA256"]
        return f"{base64.b64decode(said.split('-')[0]).hex()}-{len(parts)}"  # S3 appends the count itself, moto doesn't

    def _part(self, item: StoredObject, key: str, upload_id: str, number: int, start: int) -> "CompletedPartTypeDef":
        answer = self.store.client.upload_part_copy(
            Bucket=self.store.name,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource=self._source(item),
            CopySourceRange=f"bytes={start}-{min(start + self.part_size, item.size) - 1}",
        )["CopyPartResult"]
        # S3 wants each part's checksum back when the upload is completed; moto says none and wants none.
        told: CompletedPartTypeDef = {"ChecksumSHA256": answer["ChecksumSHA256"]} if "ChecksumSHA256" in answer else {}
        return {"PartNumber": number, "ETag": answer["ETag"], **told}

    def _source(self, item: StoredObject) -> "CopySourceTypeDef":
        """Name the very version that was listed."""
        if not item.version_id:
            raise Rejected(
                f"{item.key} has no VersionId; switch the drop bucket's versioning on and upload it again",
                code="unversioned_drop",
            )
        return {"Bucket": self.drop.name, "Key": item.key, "VersionId": item.version_id}

    def _check(self, item: StoredObject, digest: str, promised: str) -> None:
        """Hold the whole's SHA-256 against the manifest's; S3 knows it of one part only, else it is read."""
        found = self._read_digest(item) if "-" in digest else digest
        check_promise(item.key, found, promised)

    def _read_digest(self, item: StoredObject) -> str:
        whole = hashlib.sha256()
        for block in self.drop.stream(item):
            whole.update(block)
        return whole.hexdigest()
