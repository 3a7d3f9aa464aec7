"""What every store gives the platform, and what all of them share."""

import os
from configparser import ConfigParser
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chalicelib.adapters.s3 import S3Bucket, make_client
from chalicelib.local.stores.watch import Poll, Webhook

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DROP, MODEL_STORE = "drop", "model-store"
REGION = "us-east-1"
PROFILE = "modeldrop"


@dataclass(frozen=True)
class Connected:
    """A store that runs. `note` is a line for the operator, empty when there is nothing to say."""

    endpoint: str
    drop: S3Bucket
    store: S3Bucket
    uploader_access_key: str  # empty: uploaders bring their own
    uploader_secret_key: str = field(repr=False)
    region: str = REGION
    note: str = ""

    def signer(self, url: str = "") -> "S3Client":
        """Return a client that signs as the uploader, for a store that uploaders know by this URL."""
        keys = self.uploader_access_key or None, self.uploader_secret_key or None
        return make_client(url or self.endpoint, *keys, self.region)


class Store(Protocol):
    def start(self) -> Connected:
        """Start what is needed and wait until it answers; raises Rejected when it can't.

        Call it from a thread that lives as long as the store: its processes end with the thread that started them.
        """
        ...

    def stop(self) -> None:
        """End what `start` started; nothing happens when it doesn't run."""
        ...

    def events(self) -> Poll | Webhook:
        """Return where hints come from, once it runs: poll it with a `Watcher`, or route its requests there."""
        ...


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that was never readable by anyone but its owner."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)  # of a process that was killed
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def write_profile(path: Path, connected: Connected) -> None:
    """Write an AWS shared-credentials file with the drop's own access key."""
    profile = ConfigParser(interpolation=None)
    profile[PROFILE] = {
        "aws_access_key_id": connected.uploader_access_key,
        "aws_secret_access_key": connected.uploader_secret_key,
        "region": connected.region,
        "endpoint_url": connected.endpoint,
    }
    text = StringIO()
    profile.write(text)
    write_private(path, text.getvalue())
