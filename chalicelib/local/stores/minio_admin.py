"""What MinIO needs besides S3: its credentials on disk, and a user that may write the drop and nothing else."""

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from chalicelib.domain.errors import Rejected
from chalicelib.local.stores.seam import write_private

UPLOADER = "drop-uploader"  # also the name of its policy
_OUR_KEYS = re.compile(r"drop-[0-9a-f]{12}")
_READY = 15.0  # seconds; S3 answers before users can be made


@dataclass(frozen=True)
class Credentials:
    """Generated once. The port is kept with them, for people write it down with their key."""

    root_user: str
    root_password: str = field(repr=False)
    uploader_access_key: str
    uploader_secret_key: str = field(repr=False)
    port: int

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return what was generated before; None the first time; raises Rejected when it can't be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise Rejected(f"{path}: not our credentials file ({error}); restore it", code="bad_credentials") from error

    @classmethod
    def generate(cls, port: int) -> Self:
        return cls(
            root_user="root-" + secrets.token_hex(6),
            root_password=secrets.token_urlsafe(30),
            uploader_access_key="drop-" + secrets.token_hex(6),
            uploader_secret_key=secrets.token_urlsafe(30),
            port=port,
        )

    def save(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")


def uploader_policy(drop: str) -> Mapping[str, Any]:
    """Return a policy that allows what uploading takes, in the drop only.

    Deleting an object hides it; its versions stay (MinIO takes the right to do the one for the other's, unless denied).
    """
    on_bucket = [
        "GetBucketLocation",
        "GetBucketVersioning",
        "ListBucket",
        "ListBucketVersions",
        "ListBucketMultipartUploads",
    ]
    on_objects = [
        "GetObject",
        "GetObjectVersion",
        "PutObject",
        "DeleteObject",
        "AbortMultipartUpload",
        "ListMultipartUploadParts",
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _statement("Allow", on_bucket, f"arn:aws:s3:::{drop}"),
            _statement("Allow", on_objects, f"arn:aws:s3:::{drop}/*"),
            _statement("Deny", ["DeleteObjectVersion"], f"arn:aws:s3:::{drop}/*"),
        ],
    }


def _statement(effect: str, actions: list[str], resource: str) -> Mapping[str, Any]:
    return {"Effect": effect, "Action": [f"s3:{action}" for action in actions], "Resource": [resource]}


def make_uploader(address: str, credentials: Credentials, drop: str) -> None:
    """Make the one user whose key may write the drop; a key that we generated before ends. Raises Rejected."""
    root = StaticProvider(credentials.root_user, credentials.root_password)
    admin = MinioAdmin(endpoint=address, credentials=root, secure=False)
    deadline = time.monotonic() + _READY
    while True:
        try:
            admin.policy_add(UPLOADER, policy=dict(uploader_policy(drop)))
            admin.user_add(credentials.uploader_access_key, credentials.uploader_secret_key)
            admin.policy_set(UPLOADER, user=credentials.uploader_access_key)
            _end_earlier_keys(admin, credentials.uploader_access_key)
        except MinioAdminException as error:
            if time.monotonic() > deadline:
                raise Rejected(f"MinIO: the uploader's user can't be made: {error}", code="store_failed") from error
            time.sleep(0.1)
        else:
            return


def _end_earlier_keys(admin: MinioAdmin, current: str) -> None:
    """Remove the users of our earlier credentials; an operator's own users stay."""
    for user in json.loads(admin.user_list()):
        if _OUR_KEYS.fullmatch(user) and user != current:
            admin.user_remove(user)
