"""Dropping a model as anybody would: plain boto3 with the AWS profile that the platform wrote for its uploaders."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.session

PROFILE, BUCKET = "modeldrop", "drop"
PAUSE_S = 0.2  # between two files: an upload takes its time, and nothing may start before it is whole


def uploader(aws_profile: Path) -> Any:
    """Return an S3 client of the uploader, who knows no more than that file: key, secret and the endpoint's URL."""
    session = botocore.session.Session(profile=PROFILE)
    session.set_config_variable("credentials_file", str(aws_profile))
    return boto3.Session(botocore_session=session).client("s3")


def drop(s3: Any, folder: Path, prefix: str, order: random.Random, tell: Callable[[str], None]) -> None:
    """Upload a folder's files under a prefix, one by one, in an order that nobody planned."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    order.shuffle(files)
    for i, path in enumerate(files):
        key = f"{prefix}/{path.relative_to(folder).as_posix()}"
        tell(f"uploading s3://{BUCKET}/{key}")
        s3.upload_file(str(path), BUCKET, key)
        if i < len(files) - 1:
            time.sleep(PAUSE_S)
