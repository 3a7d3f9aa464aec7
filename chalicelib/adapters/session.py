"""AWS sessions: the user's own, or one with a key of ours that nothing of the user's AWS set-up reaches into."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session

if TYPE_CHECKING:
    import boto3

_UNSET = (None, None, None, None)  # botocore's way to say: no setting, no environment variable, no default
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def open_session(
    access: str | None, secret: str | None, region: str | None, profile: str | None = None
) -> "boto3.Session":
    """Return a session. Without a key it is the user's: environment, profile, instance role.

    With a key, profiles are not read: an AWS_PROFILE that names none would fail a session that needs none.
    """
    import boto3  # noqa: PLC0415  # functions on AWS do with botocore alone: a shorter cold start

    if access is None:
        return boto3.Session(region_name=region, profile_name=profile)
    alone = botocore.session.Session(
        session_vars={"profile": _UNSET, "config_file": _UNSET, "credentials_file": _UNSET}
    )
    return boto3.Session(
        aws_access_key_id=access, aws_secret_access_key=secret, region_name=region, botocore_session=alone
    )


def proxies(endpoint: str | None) -> dict[str, Any] | None:
    """Return botocore's proxies: none to this machine, whatever HTTP_PROXY says; else the environment's."""
    return {} if endpoint and urlsplit(endpoint).hostname in _LOOPBACK else None
