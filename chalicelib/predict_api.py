"""The routes that only AWS answers through Chalice: predictions, and the rate that an operator gives an endpoint.

On one machine the gateway answers predictions itself. API Gateway has to take every type as binary (`*/*`); then
requests come in base64, and answers go out so, which `RawResponse` does whatever Chalice's `binary_types` say.
"""

import base64
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chalice.app import Chalice, Response
from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.errors import Rejected
from chalicelib.domain.invocation import Unanswered
from chalicelib.domain.predict_body import BadBody
from chalicelib.domain.scopes import allows, dark_scope, predict_scope
from chalicelib.domain.served_by import ALIAS, DEPLOYMENT, ENDPOINT, STICKY_KEY, VERSION
from chalicelib.openapi import Operation
from chalicelib.pipeline import manage
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.predict import Answer, Predictor, Request, names
from chalicelib.routing import Forbidden, Json, Routes, error_response, scopes_of

if TYPE_CHECKING:
    from aws_lambda_powertools import Metrics

_STATUSES = {
    "not_found": 404, "forbidden": 403, "body_too_large": 413, "rate_exceeded": 429, "answer_too_large": 502,
    "no_answer": 503, "not_serving_yet": 503, "busy": 503, "timed_out": 504,
}  # fmt: skip
_OF_ENDPOINTS = {429, 502, 503, 504}  # what is said of an endpoint that is there
_ERROR = 500
_VERBS = {"predict": False, "rawPredict": True}  # and whether the body is left alone
_SANE_ID = re.compile(r"[!-~]{1,128}")
_SEGMENT = re.compile(r"(.*):(\w*)")


class RawResponse(Response):
    """Bytes of any type: Chalice's own way lists each type, and refuses callers that send no Accept."""

    def to_dict(self, binary_types: Sequence[str] | None = None) -> dict[str, Any]:
        del binary_types
        text = {"body": base64.b64encode(self.body).decode(), "isBase64Encoded": True}
        return {**Response("", self.headers, self.status_code).to_dict(), **text}


class _RawRoutes(Routes):
    def register(self, app: Chalice, options: dict[str, Any]) -> None:
        """Put the routes on an app, whose own idea of binary types would get between a model and its caller."""
        super().register(app, options)
        app.api.binary_types = []


routes = _RawRoutes("chalicelib.predict_api")


class _Bound:
    """What the routes work on; set once at start."""

    predictor: Callable[[], Predictor]
    ports: Callable[[], Ports]


def bind(*, predictor: Callable[[], Predictor], ports: Callable[[], Ports]) -> None:
    """Say where the routes get what they need; they ask at each request."""
    _Bound.predictor = staticmethod(predictor)
    _Bound.ports = staticmethod(ports)


# --- predictions -------------------------------------------------------------------------------------------------
_CALL: dict[str, Any] = {"scope": "predict", "answer": "Prediction", "any_body": True}


@routes.add_plain("POST", "/v1/endpoints/{name}/predict", "Call an endpoint.", **_CALL)
def predict(name: str) -> Response:
    return _answered(unquote(name), raw=False)


@routes.add_plain("POST", "/v1/endpoints/{name}/rawPredict", "Call an endpoint, bytes unchanged both ways.", **_CALL)
def raw_predict(name: str) -> Response:
    return _answered(unquote(name), raw=True)


@routes.add_plain("POST", "/v1/endpoints/{name}", "Call an endpoint as NAME:predict or NAME:rawPredict.", **_CALL)
def call_verb(name: str) -> Response:
    found = _SEGMENT.fullmatch(unquote(name))
    if found is None or found[2] not in _VERBS:
        there = f"POST {_path_of(name)}:predict or :rawPredict"
        return error_response(404, "not_found", f"nothing is at POST {_path_of(name)}; there is {there}")
    return _answered(found[1], raw=_VERBS[found[2]])


def _answered(endpoint: str, *, raw: bool) -> Response:
    """Return the endpoint's prediction, or what kept it, in the one form that all errors have."""
    request = _request(endpoint, raw=raw)
    try:
        _check_scope(dark_scope(endpoint) if request.version else predict_scope(endpoint))
        return _raw(_Bound.predictor().predict(request))
    except Unanswered as problem:
        if isinstance(problem.__cause__, Exception):
            routes.log.warning("no prediction: %s", problem, exc_info=problem.__cause__)
        again = {"Retry-After": str(math.ceil(problem.retry_after))} if problem.retry_after else {}
        return _refused(problem.code, str(problem), request, again)
    except Rejected as problem:
        return _refused(problem.code, str(problem), request, {}, problem.where if isinstance(problem, BadBody) else "")


def _request(endpoint: str, *, raw: bool) -> Request:
    asked = routes.current_request
    body = asked.raw_body
    return Request(
        endpoint=endpoint,
        body=body if isinstance(body, bytes) else body.encode(),
        request_id=_id_of(asked.headers.get("x-request-id", ""), asked.context.get("requestId", "")),
        content_type=asked.headers.get("content-type", ""),
        accept=asked.headers.get("accept", ""),
        key=asked.headers.get(STICKY_KEY.lower(), ""),
        alias=asked.headers.get(ALIAS.lower(), ""),
        version=asked.headers.get(VERSION.lower(), ""),
        raw=raw,
    )


def _id_of(given: str, gateways: str) -> str:
    """Return the caller's own id of the request if it is a sane one, else API Gateway's."""
    return given if _SANE_ID.fullmatch(given) else gateways or secrets.token_hex(8)


def _check_scope(needed: str) -> None:
    """Hold the caller to the scope by itself: the authorizer's policy may be of a minute ago, and says patterns."""
    if not allows(scopes_of(routes.current_request), needed):
        raise Forbidden((needed,))


def _raw(answer: Answer) -> Response:
    return RawResponse(answer.body, dict(answer.headers), answer.status)


def _refused(code: str, message: str, request: Request, headers: dict[str, str], where: str = "") -> Response:
    response = error_response(_STATUSES.get(code, 400), code, message, where)
    response.headers = {**headers, **names(request)}
    return response


def _path_of(name: str) -> str:
    return f"/v1/endpoints/{unquote(name).partition(':')[0]}"


def measure(answer: Mapping[str, Any], metrics: "Metrics") -> None:
    """Count a function's answer, by endpoint where it is about one that is there: made-up names are no dimension."""
    status, headers = answer["statusCode"], answer["headers"]
    if DEPLOYMENT in headers or (ENDPOINT in headers and status in _OF_ENDPOINTS):
        metrics.add_dimension(name="endpoint", value=headers[ENDPOINT])
    metrics.add_metric(name="Requests", unit="Count", value=1)
    metrics.add_metric(name="Failures", unit="Count", value=int(status >= _ERROR))


# --- the operator's rate -----------------------------------------------------------------------------------------
class SetRate(BaseModel):
    """Predictions a second; null leaves it to the platform. Each function instance counts for itself."""

    model_config = ConfigDict(extra="forbid")
    per_second: float | None = Field(gt=0, le=100_000, allow_inf_nan=False)


@routes.add(
    "PUT",
    "/v1/endpoints/{name}/rate",
    "Say how many predictions a second an endpoint takes (about: each function instance counts for itself).",
    scope="admin",
    body=SetRate,
    answer="Endpoint",
)
def set_rate(name: str, body: SetRate) -> Json:
    return manage.set_rate(name, body.per_second, _Bound.ports())


# As the document says them: `NAME:predict` is one segment to API Gateway, and two things to people.
OPERATIONS: Sequence[Operation] = (
    *(route.operation for route in routes.table if route.operation.path != "/v1/endpoints/{name}"),
    Operation("POST", "/v1/endpoints/{name}:predict", "predict_verb", "Call an endpoint.", **_CALL),
    Operation("POST", "/v1/endpoints/{name}:rawPredict", "raw_predict_verb", "As rawPredict.", **_CALL),
)
