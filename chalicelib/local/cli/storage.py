"""The S3 that `push` and `validate s3://` talk to: this home's store by its uploader's key, or any other as AWS has it.

The only module of the command line that knows S3.
"""

from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from chalicelib.adapters.errors import code_of
from chalicelib.adapters.s3 import make_client
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.home import Home
from chalicelib.pipeline.ports import Gone

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROFILE = "modeldrop"  # in home.aws_profile


def client_of(home: Home, s3_endpoint: str = "", profile: str = "") -> "S3Client":
    """Return a client: by a named AWS profile, else by this home's uploader key, else by the AWS environment."""
    own = _own_profile(home)
    if not profile and own.get("aws_access_key_id") and s3_endpoint in {"", own["endpoint_url"]}:
        return make_client(own["endpoint_url"], own["aws_access_key_id"], own["aws_secret_access_key"], own["region"])
    with said("AWS"):
        try:
            return make_client(s3_endpoint or None, profile=profile or None)
        except ValueError as error:
            raise Ended(Status.USAGE, f"--s3-endpoint {s3_endpoint}: {error}; give https://HOST") from error


@contextmanager
def said(where: str) -> Iterator[None]:
    """Say the store's refusals and absence in one line; raises Ended."""
    try:
        yield
    except Gone as error:
        raise Ended(Status.NOT_YET, f"{where}: an object changed while it was read; try again ({error})") from error
    except ClientError as error:
        raise Ended(Status.NO, f"{where}: the store refuses it ({code_of(error)}): {error}") from error
    except NoCredentialsError as error:
        message = f"{where}: no credentials: give --profile, set AWS_ACCESS_KEY_ID, or run `modeldrop up` here"
        raise Ended(Status.USAGE, message) from error
    except BotoCoreError as error:
        raise Ended(Status.UNREACHABLE, f"{where}: {error}") from error


def _own_profile(home: Home) -> Mapping[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.read(home.aws_profile)
    return dict(parser[PROFILE]) if parser.has_section(PROFILE) else {}
