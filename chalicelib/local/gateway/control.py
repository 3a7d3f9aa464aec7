"""The control API on one machine: the same Chalice routes as on AWS, answered through Chalice's own gateway code.

The key was checked before; the calls of hooks have none, and prove themselves. Who calls is put where the AWS
authorizer puts it, `context["authorizer"]` of the request, which no header of a client can reach.
"""

import base64
from http import HTTPStatus
from typing import Any, cast

from chalice.config import Config
from chalice.local import ForbiddenError, LambdaEventConverter, LocalChalice, LocalGateway

from chalicelib.local.gateway.hooks import is_hook_call
from chalicelib.local.gateway.messages import JSON, Request, Response, error
from chalicelib.pipeline.keys import Denied
from chalicelib.pipeline.records import ApiKey


class ControlPlane:
    """Answers requests with the routes of a Chalice app; any number of threads may call it.

    It has to be a LocalChalice, whose `current_request` belongs to a thread: a plain Chalice mixes callers up.
    """

    def __init__(self, app: LocalChalice) -> None:
        if not isinstance(app, LocalChalice):
            raise TypeError("the control API needs a chalice.local.LocalChalice: a Chalice mixes up its callers")
        self._app = app
        self._config = Config.create(chalice_app=app)

    def answer(self, request: Request) -> Response:
        """Return what the routes answer to a caller whose key was checked, or to the call of a hook."""
        if request.caller is None and not is_hook_call(request):
            raise Denied("the control API needs a key", code="unauthenticated")
        gateway = LocalGateway(self._app, self._config)
        if request.caller:
            gateway.event_converter = _CallerAdded(gateway.event_converter, request.caller)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        headers.pop("authorization", None)  # checked, and no route's business
        method = "GET" if request.method == "HEAD" else request.method
        try:
            answered = gateway.handle_request(method, request.target, headers, request.body)
        except ForbiddenError:  # what Chalice says of a path that no route has
            return error(404, "not_found", f"nothing is at {request.path}; GET /openapi.json lists what there is")
        return _response(answered)


class _CallerAdded(LambdaEventConverter):
    """Makes the event that a Lambda would get, with the caller as an authorizer would describe them."""

    def __init__(self, plain: LambdaEventConverter, caller: ApiKey) -> None:
        self._plain = plain
        self._caller = caller

    def create_lambda_event(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Any:
        event = self._plain.create_lambda_event(method=method, path=path, headers=headers, body=body)
        event["requestContext"]["authorizer"] = {
            "key_id": self._caller.id,
            "scopes": " ".join(self._caller.scopes),
            "principalId": self._caller.id,
        }
        return event


def _response(answered: dict[str, Any]) -> Response:
    body = answered["body"]
    if answered.get("isBase64Encoded"):
        body = base64.b64decode(body)
    encoded = body if isinstance(body, bytes) else (body or "").encode()
    status = HTTPStatus(cast("int", answered["statusCode"]))
    return Response(status, encoded, _headers(answered))


def _headers(answered: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    multi = answered.get("multiValueHeaders") or {}
    pairs = [*answered["headers"].items(), *((name, value) for name, values in multi.items() for value in values)]
    headers = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs]
    return headers if any(name == JSON[0] for name, _ in headers) else [JSON, *headers]
