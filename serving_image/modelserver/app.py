"""Where a request meets a contract: routes, readiness, and the headers that every answer carries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from modelserver.contracts import (
    Call,
    ControlRoute,
    HealthRoute,
    PredictRoute,
    Standing,
    kserve_v1,
    oci,
    open_inference,
    sagemaker,
    torchserve,
    vertex,
)
from modelserver.engine import Engine, Job
from modelserver.errors import RequestError, bad_request, model_failed
from modelserver.formats import Model
from modelserver.http import Cancel
from modelserver.log import emit
from modelserver.messages import DIGEST, NONFINITE, Request, Response, error_response, json_response
from modelserver.metrics import CONTENT_TYPE, ServingMetrics
from modelserver.outcomes import RAISED, Outcome
from modelserver.rows import Prediction, Rows
from modelserver.settings import Settings
from modelserver.siblings import Siblings

# Of two that have a path the later one answers. What the environment names may be a path of TorchServe's or
# SageMaker's, and then means instances; a path of V1 or V2 means just that.
CONTRACTS = (sagemaker, torchserve, vertex, oci, kserve_v1, open_inference)
METRICS = "/metrics"
GETS = ("GET", "HEAD")
Reply = Callable[[Response], None]


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is loaded and warm."""

    model: Model
    engine: Engine
    digest: str
    warmup: str

    def as_json(self) -> dict[str, Any]:
        schema = self.model.schema
        return {
            "digest": self.digest,
            "device": self.model.device,
            "format": self.model.format,
            "schema": schema.as_json() if schema else None,
            "warmup": self.warmup,
        }


class App:
    """Answers requests; `serve` and `drain` move it from loading to ready to draining.

    Each request keeps the version that was served when it was parsed: that one answers it and is named in its answer.
    """

    def __init__(self, settings: Settings, metrics: ServingMetrics, siblings: Siblings | None = None) -> None:
        self._metrics = metrics
        self._siblings = siblings
        self._gathering: set[asyncio.Task[None]] = set()
        self._served: Served | None = None
        self.is_draining = False
        self.open_requests = 0
        routes = [route for contract in CONTRACTS for route in contract.routes(settings)]
        self._predict = {route.path: route for route in routes if isinstance(route, PredictRoute)}
        self._health = {route.path for route in routes if isinstance(route, HealthRoute)}
        self._said = {route.path: route.answer for route in routes if isinstance(route, ControlRoute)}
        self._settings = settings

    def serve(self, served: Served) -> Served | None:
        """Answer with this version from now on; return the one that did until now."""
        before, self._served = self._served, served
        self._metrics.reported = getattr(served.model, "reported", None)
        return before

    @property
    def seen(self) -> Rows | None:
        """A request that the version now served has answered."""
        return self._served.engine.answered if self._served else None

    def drain(self) -> None:
        self.is_draining = True

    @property
    def state(self) -> str:
        if self.is_draining:
            return "draining"
        return "ready" if self._served else "loading"

    def handle(self, request: Request, reply: Reply) -> Cancel | None:
        """Answer at once, or give back how to cancel what was queued."""
        route = self._predict.get(request.path)
        if route is None or request.method not in route.methods:
            self._answer_control(request, reply)
            return None
        if route.is_probe(request):
            reply(route.finish(request, self._health_response()))
            return None
        return self._predicted(route, request, reply)

    def _answer_control(self, request: Request, reply: Reply) -> None:
        if self._siblings is None or request.path != METRICS or request.method not in GETS:
            reply(self._control(request))
            return
        task = asyncio.ensure_future(self._gather(self._siblings, reply))
        self._gathering.add(task)
        task.add_done_callback(self._gathering.discard)

    async def _gather(self, siblings: Siblings, reply: Reply) -> None:
        reply(Response(200, await siblings.joined(self.own_metrics()), CONTENT_TYPE))

    def own_metrics(self) -> bytes:
        """What this process counted."""
        self._metrics.waiting = self._served.engine.waiting if self._served else 0
        self._metrics.running = self._served.engine.running if self._served else 0
        return self._metrics.text()

    def _control(self, request: Request) -> Response:
        is_get = request.method in GETS
        if request.path in self._health and is_get:
            return self._health_response()
        if request.path == METRICS and is_get:
            return Response(200, self.own_metrics(), CONTENT_TYPE)
        if request.path in self._said and is_get:
            return self._said[request.path](self._standing())
        return open_inference.with_plain_error(request, self._refused(request))

    def _refused(self, request: Request) -> Response:
        """Say which method a path takes, or what is not there."""
        if allowed := self._allowed(request.path):
            message = f"{request.path} takes {allowed}, not {request.method}"
            return error_response(RequestError(405, "wrong_method", message), {"allow": allowed})
        error = kserve_v1.absent(self._settings, request.path) or open_inference.absent(self._settings, request.path)
        message = f"{request.path} is no route of this server"
        return error_response(error or RequestError(404, "unknown_path", message))

    def _allowed(self, path: str) -> str:
        if path in self._predict:
            return ", ".join(self._predict[path].methods)
        return "GET" if path in self._health or path in self._said or path == METRICS else ""

    def _standing(self) -> Standing:
        served = self._served
        return Standing(self.state, served.model, served.digest) if served else Standing(self.state)

    def _health_response(self) -> Response:
        status = 200 if self.state == "ready" else 503
        if self._served is None:
            return json_response(status, {"status": self.state})
        document = {"status": self.state, **self._served.as_json()}
        return json_response(status, document, {DIGEST: self._served.digest})

    def _predicted(self, route: PredictRoute, request: Request, reply: Reply) -> Cancel | None:
        started = perf_counter()
        metrics = self._metrics
        metrics.read.add(request.read_s)
        self.open_requests += 1
        served = self._served

        def finish(response: Response, nonfinite: int = 0) -> None:
            self.open_requests -= 1
            encoded = perf_counter()
            reply(route.finish(request, response))
            now = perf_counter()
            metrics.write.add(now - encoded)
            metrics.answered(response.status, now - started, nonfinite)

        if served is None:
            finish(error_response(RequestError(503, "not_ready", "the model is still loading", retry_after=1)))
            return None
        try:
            call = parsed(route, served.model, request)
            metrics.parse.add(perf_counter() - started)
            return self._queued(served, call, finish)
        except RequestError as error:
            finish(error_response(error, {DIGEST: served.digest}))
            return None

    def _queued(self, served: Served, call: Call, finish: Callable[[Response, int], None]) -> Cancel:
        def done(outcome: Outcome) -> None:
            started = perf_counter()
            response, nonfinite = answered(served.digest, call, outcome)
            self._metrics.encode.add(perf_counter() - started)
            finish(response, nonfinite)

        job = Job(call.rows, done)
        served.engine.submit(job)

        def cancel() -> None:
            self.open_requests -= 1
            served.engine.cancel(job)

        return cancel


def parsed(route: PredictRoute, model: Model, request: Request) -> Call:
    """Make rows of a request; what is nested past Python's own limit is the client's mistake."""
    try:
        return route.parse(model, request)
    except RecursionError:
        raise bad_request("nested_too_deep", "the body's lists or objects are nested too deep", "body") from None
    except RequestError:
        raise
    except Exception as error:  # the boundary of the loop: no client waits in vain
        emit("internal_error", path=request.path, error=f"{type(error).__name__}: {error}")
        raise RequestError(500, "internal_error", "the server could not read this request") from error


def answered(digest: str, call: Call, outcome: Outcome) -> tuple[Response, int]:
    """Encode an outcome; every answer says which bytes gave it, and how many numbers were not finite."""
    headers = {DIGEST: digest}
    if isinstance(outcome, RequestError):
        return error_response(outcome, headers), 0
    try:
        answer = call.encode(outcome)
    except RAISED as error:
        # Encoding asks the model's own objects for their values: those may raise anything.
        return error_response(model_failed(error), headers), 0
    if outcome.headers:
        headers |= _own_headers(outcome)
    if answer.encoded.nonfinite:
        headers[NONFINITE] = str(answer.encoded.nonfinite)
    headers |= answer.headers
    return Response(outcome.status, answer.encoded.body, answer.content_type, headers), answer.encoded.nonfinite


def _own_headers(prediction: Prediction) -> dict[str, str]:
    """What a handler set, without what is ours to say and without line breaks."""
    ours = ("content-type", "content-length", "connection", "transfer-encoding", DIGEST.lower(), NONFINITE.lower())
    return {
        name: " ".join(str(value).split())
        for name, value in prediction.headers.items()
        if name.lower() not in ours and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    }
