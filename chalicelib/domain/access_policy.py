"""What API Gateway may let a key through to: its scopes as an IAM policy.

The policy is kept for a minute and used for whatever the key asks for next, so it lists all that its scopes allow, by
the API's own ARN; the routes hold the caller to the scopes once more.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from chalicelib.domain.errors import Rejected
from chalicelib.domain.scopes import ADMIN, DARK, DEPLOY, PREDICT, uploads

# Under METHOD/path of API Gateway; `*` fits any text, slashes too.
_ANY_KEY = ("GET/v1/whoami", "GET/openapi.json")
_SHOWN = ("models", "models/*", "drops", "endpoints", "endpoints/*", "rollouts", "rollouts/*")
_STEERED = ("rollouts", "pause", "resume", "promote", "approve", "abort", "rollback")
_SET = tuple(f"{verb}/v1/endpoints/*/{what}" for verb in ("PUT", "DELETE") for what in ("aliases/*", "split"))
_STEER = tuple(f"POST/v1/endpoints/*/{verb}" for verb in _STEERED)
_UPLOAD = (*(f"GET/v1/{kind}" for kind in _SHOWN), "POST/v1/uploads")
_DEPLOY = (*_UPLOAD, *_STEER, *_SET)
_PREDICT = ("/predict", "/rawPredict", ":predict", ":rawPredict")
_METHOD_ARN_PARTS = 4  # api-id/stage/METHOD/path…


def api_arn(method_arn: str) -> str:
    """Return what a called method's ARN and all others of its stage begin with: `arn:…:API/STAGE/`."""
    parts = method_arn.split("/", _METHOD_ARN_PARTS - 1)
    if len(parts) < _METHOD_ARN_PARTS - 1 or not method_arn.startswith("arn:") or "*" in "".join(parts[:2]):
        raise Rejected(f"{method_arn[:160]!r} is no ARN of an API's method", code="bad_arn")
    return "/".join(parts[:2]) + "/"


def resources(scopes: Sequence[str]) -> Iterator[str]:
    """Yield METHOD/path patterns of all that a key with these scopes may call."""
    if ADMIN in scopes:
        yield "*"
        return
    yield from _ANY_KEY
    if DEPLOY in scopes:
        yield from _DEPLOY
    elif uploads(scopes):
        yield from _UPLOAD
    calling = {scope.removeprefix(kind) for kind in (PREDICT, DARK) for scope in scopes if scope.startswith(kind)}
    for name in sorted(calling):
        yield from (f"POST/v1/endpoints/{name}{verb}" for verb in _PREDICT)


def policy_of(key_id: str, scopes: Sequence[str], method_arn: str) -> dict[str, Any]:
    """Return an authorizer's answer: the policy, and who calls for the routes to read."""
    prefix = api_arn(method_arn)
    allowed = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": [prefix + resource for resource in resources(scopes)],
    }
    return {
        "principalId": key_id,
        "policyDocument": {"Version": "2012-10-17", "Statement": [allowed]},
        "context": {"key_id": key_id, "scopes": " ".join(scopes)},
    }
