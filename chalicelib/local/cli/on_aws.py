"""Keys of a stack on AWS, made with the operator's own AWS credentials: no key can make the first one.

The stack's API function is invoked as API Gateway would invoke it, so keys are made by one piece of code and written
under one role. Who may invoke it is an operator: the template's operator policy allows that, and no other policy.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.adapters.errors import code_of
from chalicelib.adapters.session import open_session
from chalicelib.domain.refs import is_legal
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.storage import said

Json = Any
_BY = {"principalId": "operator", "key_id": "operator", "scopes": "admin"}


@dataclass(frozen=True)
class StackOnAws:
    """`prefix` is what every name of the stack begins with: its output Prefix, such as md-1a2b3c4d."""

    prefix: str
    lambda_: Any  # clients of AWS Lambda and of Secrets Manager
    secrets: Any

    @classmethod
    def reach(cls, prefix: str, region: str, profile: str) -> "StackOnAws":
        """Return the stack of that prefix; raises Ended without credentials or a region."""
        with said("AWS"):
            session = open_session(None, None, region or None, profile or None)
            return cls(prefix, session.client("lambda"), session.client("secretsmanager"))

    def make_key(self, name: str, scopes: Sequence[str]) -> dict[str, Json]:
        """Return a new key with its secret; raises Ended with what the stack says against it."""
        event = _event("POST", "/v1/keys", {"name": name, "scopes": [*scopes]})
        with said(f"function {self.prefix}-api"):
            answer = self.lambda_.invoke(FunctionName=f"{self.prefix}-api", Payload=json.dumps(event).encode())
        told = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise Ended(Status.NO, f"function {self.prefix}-api failed: {told.get('errorMessage', told)}")
        body: dict[str, Json] = json.loads(told["body"])
        if "error" in body:
            raise Ended(Status.NO, body["error"]["message"])
        return body

    def keep(self, made: dict[str, Json]) -> str:
        """Put a key's secret where the caller policy finds it, in place of an older one; returns its name there."""
        where = f"{self.prefix}/keys/{made['name']}"
        failed = f"key {made['id']} was made and isn't kept; revoke it and try again: {where}"
        with said(failed):
            try:
                self.secrets.create_secret(Name=where, SecretString=made["key"])
            except ClientError as error:
                if code_of(error) != "ResourceExistsException":
                    raise
                self.secrets.put_secret_value(SecretId=where, SecretString=made["key"])
        return where


def check_name(name: str) -> None:
    """Raise Ended for a name that is none for a secret."""
    if not is_legal(name):
        raise Ended(Status.USAGE, f"{name!r} can't name a secret: give 1 to 63 of A-Z a-z 0-9 . _ - with --keep")


def _event(method: str, path: str, body: Json) -> dict[str, Json]:
    """Return what API Gateway hands over of a request, as far as it is read."""
    about = {"resourcePath": path, "httpMethod": method, "authorizer": _BY, "requestId": "", "identity": {}}
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json", "Accept": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": about,
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
