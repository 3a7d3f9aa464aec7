"""Requests that an S3 store takes without credentials: signed for one key and length and, in one piece, one SHA-256."""

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.adapters.s3 import S3Bucket
from chalicelib.domain.signed_upload import SignedRequest, SignedUpload, ranges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Uploads:
    """`pipeline.ports.Uploads` for one bucket.

    `signer` signs with credentials that may write the bucket, for the name by which uploaders reach the store.
    """

    bucket: S3Bucket
    signer: "S3Client"

    def sign(self, key: str, size: int, sha256: str, within: timedelta) -> SignedUpload:
        seconds = int(within.total_seconds())
        pieces = list(ranges(size))
        if len(pieces) == 1:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            asked = {"Key": key, "ContentLength": size, "ChecksumSHA256": checksum}
            headers = {"content-length": str(size), "x-amz-checksum-sha256": checksum}
            return SignedUpload((SignedRequest("PUT", self._url("put_object", asked, seconds), headers, 0, size),))
        upload_id = self.bucket.client.create_multipart_upload(Bucket=self.bucket.name, Key=key)["UploadId"]
        parts = []
        for number, (offset, length) in enumerate(pieces, start=1):
            asked = {"Key": key, "UploadId": upload_id, "PartNumber": number, "ContentLength": length}
            url = self._url("upload_part", asked, seconds)
            parts.append(SignedRequest("PUT", url, {"content-length": str(length)}, offset, length))
        end = self._url("complete_multipart_upload", {"Key": key, "UploadId": upload_id}, seconds)
        return SignedUpload(tuple(parts), SignedRequest("POST", end, {}))

    def _url(self, operation: Any, asked: dict[str, Any], seconds: int) -> str:
        params = {"Bucket": self.bucket.name, **asked}
        return self.signer.generate_presigned_url(operation, Params=params, ExpiresIn=seconds)
