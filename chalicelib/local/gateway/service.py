"""What the gateway answers: predictions, its own metrics, and through the control plane everything else."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import lru_cache, partial
from urllib.parse import unquote

from chalicelib.domain import served_by
from chalicelib.domain.aliases import addressed
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.scopes import ADMIN, dark_scope, predict_scope
from chalicelib.local.gateway.bodies import NATIVE, as_meant, route_of
from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.counters import Counters
from chalicelib.local.gateway.exposition import exposition_of
from chalicelib.local.gateway.hooks import HookDoor, is_hook_call
from chalicelib.local.gateway.messages import Request, Response, error, refusal
from chalicelib.local.gateway.predict import Forward, Predictor, message_of
from chalicelib.local.gateway.routes import Routes
from chalicelib.pipeline.keys import authenticate, require
from chalicelib.pipeline.records import ApiKey

KEY = served_by.STICKY_KEY.lower().encode()
ALIAS = served_by.ALIAS.lower().encode()
VERSION = served_by.VERSION.lower().encode()
ENDPOINT = served_by.ENDPOINT.lower().encode()
REQUEST_ID = served_by.REQUEST_ID.lower().encode()
_PREDICT = re.compile(r"/v1/endpoints/([^/]+)(?:/(predict|rawPredict)|:(predict|rawPredict))")
_SANE_ID = re.compile(rb"[!-~]{1,128}")
_METRICS = ("", False)
MOST_CALLERS = 1024  # that are known at a time
StoreEvent = Callable[[dict[str, str], bytes], int]


class GatewayService:
    """The public service. Every route needs a key, also those that don't exist; only the calls of hooks have none."""

    def __init__(
        self, *, routes: Routes, predictor: Predictor, counters: Counters, control: ControlPlane | None, pool: Executor
    ) -> None:
        self._routes = routes
        self._predictor = predictor
        self._counters = counters
        self._control = control
        self._pool = pool
        self._hooks = HookDoor()
        self._keys: Mapping[str, ApiKey] = {}  # that _callers were checked against
        self._callers: dict[bytes, ApiKey] = {}  # by what they say in Authorization
        self._ids = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1))

    def admit(self, request: Request) -> Response | None:
        """Check the key before the body is read; return the refusal of a caller without a valid one."""
        if is_hook_call(request):
            return self._hooks.admit(request)
        if self._keys is not self._routes.keys:  # a key was made or revoked: everyone is looked at anew
            self._keys, self._callers = self._routes.keys, {}
        bearer = request.fields.get(b"authorization", b"")
        try:
            request.caller = self._callers.get(bearer) or self._meet(bearer)
        except Rejected as rejected:
            return refusal(rejected)
        return None

    def _meet(self, bearer: bytes) -> ApiKey:
        """Check a caller's key, and know it from now on; raises Denied."""
        if len(self._callers) >= MOST_CALLERS:
            self._callers.clear()
        caller = self._callers[bearer] = authenticate(bearer.decode("latin-1"), self._keys.get)
        return caller

    async def answer(self, request: Request) -> Response:
        try:
            called = _called(request.target)
            if called is None:
                return await self._ask_control(request)
            if called is _METRICS:
                return self._metrics(request)
            if request.method == "GET":
                return await self._who(request, called[0])
            forward = self._forward(request, *called)
            if isinstance(forward, Response):
                return forward
            return await self._predictor.predict(forward, request.get(KEY))
        except Rejected as rejected:
            return refusal(rejected)

    async def _who(self, request: Request, name: str) -> Response:
        """Say who would answer a prediction; no model is asked for one, and nothing is counted."""
        endpoint, asked = self._addressed(request, name)
        if not (asked or endpoint.split.weights):
            return _not_serving(endpoint)
        return await self._predictor.who(endpoint, request.get(KEY), asked)

    def _addressed(self, request: Request, name: str) -> tuple[Endpoint, str]:
        """Return the endpoint, and the deployment that the caller asks for by name; raises Rejected."""
        assert request.caller  # noqa: S101  # admitted
        alias, version = request.get(ALIAS), request.get(VERSION)
        require(request.caller, dark_scope(name) if version else predict_scope(name))
        endpoint = self._endpoint(name)
        return endpoint, addressed(endpoint, alias=alias, version=version)

    def _endpoint(self, name: str) -> Endpoint:
        if endpoint := self._routes.endpoint(name):
            return endpoint
        raise NotFound(f"no endpoint is called {name!r}; GET /v1/endpoints lists those there are")

    def _forward(self, request: Request, name: str, raw: bool) -> Forward | Response:  # noqa: FBT001
        """Return what is to be sent to a replica, or why nothing is."""
        endpoint, asked = self._addressed(request, name)
        if request.method != "POST":
            return _not_allowed(request, b"GET, POST")
        if not (asked or endpoint.split.weights):
            return _not_serving(endpoint)
        request = request if raw else as_meant(request)
        route = NATIVE if raw else route_of(request)
        id_ = self._id_of(request)
        names = b"%s: %s\r\n%s: %s\r\n" % (ENDPOINT, name.encode(), REQUEST_ID, id_)
        sent = message_of(request, route, id_)
        return Forward(endpoint, sent, names, joins_body=route != NATIVE, request=request, asked=asked)

    def _metrics(self, request: Request) -> Response:
        assert request.caller  # noqa: S101  # admitted
        require(request.caller, ADMIN)
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request, b"GET, HEAD")
        body = exposition_of(self._counters.totals())
        return Response(200, body, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))

    async def _ask_control(self, request: Request) -> Response:
        if self._control is None:
            return error(404, "not_found", f"nothing is at {request.path}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(self._control.answer, request))

    def _id_of(self, request: Request) -> bytes:
        given = request.fields.get(b"x-request-id", b"")
        return given if given and _SANE_ID.fullmatch(given) else next(self._ids).encode()


class StoreEvents:
    """The loopback service that the store's webhook calls."""

    PATH = "/internal/store-events"

    def __init__(self, on_store_event: StoreEvent, pool: Executor) -> None:
        self._on_store_event = on_store_event
        self._pool = pool

    def admit(self, request: Request) -> Response | None:
        return None if request.path == self.PATH else error(404, "not_found", f"nothing is at {request.path}")

    async def answer(self, request: Request) -> Response:
        if request.method != "POST":  # MinIO asks with HEAD whether anybody listens
            return Response(200) if request.method == "HEAD" else _not_allowed(request, b"POST")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        call = partial(self._on_store_event, headers, request.body)
        return Response(await asyncio.get_running_loop().run_in_executor(self._pool, call))


@lru_cache(maxsize=1024)
def _called(target: str) -> tuple[str, bool] | None:
    """Return which endpoint a target names and whether its body is left alone, _METRICS, or None for all else."""
    path = unquote(target.partition("?")[0])
    if path == "/metrics":
        return _METRICS
    called = _PREDICT.fullmatch(path)
    return (called[1], (called[2] or called[3]) == "rawPredict") if called else None


def _not_serving(endpoint: Endpoint) -> Response:
    awaited = f"its first rollout {endpoint.rollout}" if endpoint.rollout else "a version to be dropped"
    message = f"endpoint {endpoint.name!r} serves nothing yet; awaited: {awaited}"
    return error(503, "not_serving_yet", message, (b"retry-after", b"5"))


def _not_allowed(request: Request, allowed: bytes) -> Response:
    message = f"{request.method} isn't possible at {request.path}; use {allowed.decode()}"
    return error(405, "method_not_allowed", message, (b"allow", allowed))
