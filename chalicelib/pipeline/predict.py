"""Predict where calls go through a cloud's own invocation: choose by the split, invoke, count, say who answered.

From evidence to no more traffic: the failed request's instance counts it and sends `advance:ENDPOINT` at once (at most
one a second), a queue hands that to the rollout, which takes the canary out of the split in one write, and every
instance reads the split anew after at most 2 s. So: up to 1 s of that pause, the time of a queue and of one function,
and 2 s; what is on its way to the canary then still ends there, and goes to stable if it gets no answer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Protocol

from chalicelib.domain import custom_attributes, rates
from chalicelib.domain.aliases import addressed
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.invocation import BUDGET, BYTES, Call, NoAnswer, Reply, TimedOut, TooLarge, Unanswered
from chalicelib.domain.predict_body import is_json, meant_type, speaks_instances
from chalicelib.domain.served_by import ENDPOINT, NONFINITE, REQUEST_ID, join, stamp_of
from chalicelib.domain.shadow import DROPPED, LARGE, Copy
from chalicelib.domain.split import WHOLE, choose
from chalicelib.domain.structure import marks_of
from chalicelib.pipeline.ports import Invoker, Registry
from chalicelib.pipeline.records import Records

TOTAL = 26.0  # seconds from a request to the end of its last try: API Gateway gives up after 29
LEAST = 1.0  # seconds that a stand-in needs to be worth asking
SPLIT_TTL = 2.0  # seconds
LOOK_AGAIN_PAUSE = 1.0  # seconds
TALLY_PAUSE = 10.0  # seconds between two writes of what nobody judges
SAMPLE_PAUSE = 1.0  # seconds between two answers of a deployment that an instance of the function looks at
MAX_BODY = 4_500_000  # bytes each way: base64 makes 6 MB of them, which is what a Lambda function takes and gives
MAX_HEADER = 1024  # characters of a type that is passed on
NO_ANSWER = 502
TOO_LATE = 504
_ERROR = 500


# --- what is needed of the world ---------------------------------------------------------------------------------
class Count(Protocol):
    def __call__(self, deployment_id: str, *, status: int, milliseconds: float, nonfinite: bool) -> None:
        """Add one request; `status` 502 or 504 stands for no answer. Never raises: a lost count fails nobody."""
        ...


class Mark(Protocol):
    def __call__(self, deployment_id: str, names: Sequence[str]) -> None:
        """Count what was seen of an answer, by name. Never raises: a lost mark fails nobody."""
        ...


class Tally(Protocol):
    def __call__(self, deployment_id: str, requests: int) -> None:
        """Add requests that nobody judges, for the rate. Never raises: a lost tally fails nobody."""
        ...


class Send(Protocol):
    def __call__(self, copy: Copy) -> bool:
        """Send a copy of a request to whoever asks its shadow, and tell whether that went well and was quick enough."""
        ...


class LookAgain(Protocol):
    def __call__(self, endpoint: str) -> None:
        """Wake the endpoint's rollout. Never raises: its timer comes anyway."""
        ...


@dataclass(frozen=True)
class World:
    """What predict works with: steady seconds, chance in [0, 1), and the rate of endpoints without one of their own."""

    registry: Registry
    invoker: Invoker
    count: Count
    mark: Mark
    tally: Tally
    send: Send
    look_again: LookAgain
    seconds: Callable[[], float]
    chance: Callable[[], float]
    rate: float = 0.0  # requests a second; 0: any


# --- what comes in and goes out ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Request:
    endpoint: str
    body: bytes
    request_id: str
    content_type: str = ""
    accept: str = ""
    key: str = ""  # sticky: the same value stays with one version
    alias: str = ""  # who is to answer, by one of these two; "": the split decides
    version: str = ""
    raw: bool = False  # bytes in and out: nothing is looked at or joined


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


class NotServing(Unanswered):
    """The endpoint has no deployment yet."""

    code = "not_serving_yet"
    retry_after = 5.0


class RateExceeded(Unanswered):
    """More requests a second than the operator lets through to the endpoint."""

    code = "rate_exceeded"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# --- gather ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Route:
    """An endpoint as it was read; `canary` is the deployment under trial, "" while no rollout is open."""

    endpoint: Endpoint
    canary: str
    read: float


class Routes:
    """The endpoints that were asked for, each read anew after SPLIT_TTL."""

    def __init__(self, registry: Registry, seconds: Callable[[], float]) -> None:
        self._records = Records(registry)
        self._seconds = seconds
        self._known: dict[str, Route] = {}

    def find(self, name: str) -> Route:
        """Return the route of an endpoint, at most SPLIT_TTL old. Raises NotFound."""
        now = self._seconds()  # before reading: the age counts from there
        route = self._known.get(name)
        if route is None or not 0 <= now - route.read < SPLIT_TTL:
            route = self._known[name] = self._read(name, now)
        return route

    def _read(self, name: str, now: float) -> Route:
        self._known.pop(name, None)
        stored = self._records.endpoint(name)
        if stored is None:
            raise NotFound(f"no endpoint is called {name!r}; GET /v1/endpoints lists those there are")
        rollout = self._records.open_rollout(stored.value)
        return Route(stored.value, rollout.value.canary.id if rollout else "", now)


# --- decide ------------------------------------------------------------------------------------------------------
def call_of(request: Request) -> Call:
    """Return what a deployment gets of a request. Raises Rejected: too large, or no JSON where JSON was said."""
    if len(request.body) > MAX_BODY:
        raise Rejected(
            f"the body has {len(request.body)} bytes and at most {MAX_BODY} pass; send fewer instances a request",
            code="body_too_large",
        )
    _check_header("Content-Type", request.content_type)
    _check_header("Accept", request.accept)
    trace = {custom_attributes.TRACE: request.request_id}
    if request.raw:
        return Call(request.body, request.content_type, request.accept, trace)
    content_type = meant_type(request.content_type, request.body)
    meant = {custom_attributes.CONTRACT: custom_attributes.INSTANCES}
    attributes = trace | (meant if speaks_instances(content_type, request.body) else {})
    return Call(request.body, content_type, request.accept, attributes)


def answer_of(request: Request, call: Call, route: Route, deployment: str, reply: Reply) -> Answer:
    """Return the caller's answer: the deployment's, with who gave it in the headers and, for instances, the body."""
    said = {name: text for name, text in reply.attributes.items() if text.isascii() and text.isprintable()}
    stamp = stamp_of(said, deployment, route.endpoint.deployments.get(deployment))
    joins = custom_attributes.CONTRACT in call.attributes and is_json(reply.content_type)
    counted = {NONFINITE: str(nonfinite(reply))} if nonfinite(reply) else {}
    again = {"Retry-After": "1"} if reply.status == HTTPStatus.SERVICE_UNAVAILABLE else {}  # lost on its way to us
    own = {"Content-Type": reply.content_type or BYTES, **counted, **again, **stamp.headers, **names(request)}
    return Answer(reply.status, join(reply.body, stamp.member) if joins else reply.body, own)


def names(request: Request) -> dict[str, str]:
    """Return the headers that every answer to a request has, refusals too."""
    return {ENDPOINT: request.endpoint, REQUEST_ID: request.request_id}


def nonfinite(reply: Reply) -> int:
    """Return how many numbers of the answer were not finite, as far as the deployment says."""
    said = reply.attributes.get(custom_attributes.NONFINITE, "")
    return int(said) if said.isascii() and said.isdecimal() else 0


# --- the verb ----------------------------------------------------------------------------------------------------
class Predictor:
    """Answers the predict requests of one function instance: caches, buckets and pauses are its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes = Routes(world.registry, world.seconds)
        self._buckets: dict[str, rates.Bucket] = {}
        self._woken: dict[str, float] = {}
        self._sampled: dict[str, float] = {}
        self._unjudged: dict[str, tuple[float, int]] = {}  # by deployment: since when, and how many

    def predict(self, request: Request) -> Answer:
        """Return the answer of the deployment that the split gives this request to, or of the one that stands in.

        Nobody stands in for one that was asked for by name, and that is no sample of the traffic: the judge doesn't see
        it. Raises Rejected (`not_found`, `bad_request`, `body_too_large`) and Unanswered.
        """
        until = self._world.seconds() + TOTAL
        route = self._routes.find(request.endpoint)
        asked = addressed(route.endpoint, alias=request.alias, version=request.version)
        if not asked:
            _check_serving(route.endpoint)
        self._check_rate(route.endpoint)
        call = call_of(request)
        if asked:
            who, route = (asked, ""), replace(route, canary="")
        else:
            who = choose(route.endpoint.split, request.key, self._world.chance())
        deployment, reply = self._answered(route, call, who, until)
        if not asked:
            self._copy(route, request, call, reply)
        return answer_of(request, call, route, deployment, reply)

    def _copy(self, route: Route, request: Request, call: Call, reply: Reply) -> None:
        """Have a shadow asked what has just been answered, for the share of the requests that it wants."""
        to = route.endpoint.shadow
        if to is None or self._world.chance() * WHOLE >= to.how.share:
            return
        # Callers may say one id for many requests: what tells a message from its own repeat is ours.
        id_ = f"{request.request_id}#{int(self._world.chance() * 2**32):08x}"
        copy = Copy(id_, route.endpoint.name, to, call, reply)
        if copy.is_large:
            self._world.mark(to.deployment, [LARGE])
        elif not self._world.send(copy):
            self._world.mark(to.deployment, [DROPPED])

    def _answered(self, route: Route, call: Call, who: tuple[str, str], until: float) -> tuple[str, Reply]:
        chosen, stand_in = who
        try:
            return chosen, self._ask(route, call, chosen, until)
        except TimedOut:
            raise
        except NoAnswer:
            if not stand_in or until - self._world.seconds() < LEAST:
                raise
        # Outside of the handler: what stable says isn't a failure while handling the canary's.
        return stand_in, self._ask(route, call, stand_in, until)

    def _ask(self, route: Route, call: Call, deployment: str, until: float) -> Reply:
        """Return one deployment's answer, counted."""
        started = self._world.seconds()
        seconds = min(BUDGET, until - started)
        try:
            reply = _passable(deployment, self._world.invoker.invoke(deployment, call, seconds))
        except NoAnswer as problem:
            self._count(route, deployment, TOO_LATE if isinstance(problem, TimedOut) else NO_ANSWER)
            raise
        milliseconds = (self._world.seconds() - started) * 1000
        self._count(route, deployment, reply.status, milliseconds, nonfinite=nonfinite(reply) > 0)
        self._sample(route, deployment, reply)
        return reply

    def _sample(self, route: Route, deployment: str, reply: Reply) -> None:
        """Have the judge see what an answer is built of, of few enough that nobody notices."""
        now = self._world.seconds()
        if not route.canary or now - self._sampled.get(deployment, -math.inf) < SAMPLE_PAUSE:
            return
        self._sampled[deployment] = now
        if marks := marks_of(reply.status, reply.content_type, reply.body):
            self._world.mark(deployment, marks)

    def _count(
        self, route: Route, deployment: str, status: int, milliseconds: float = 0.0, *, nonfinite: bool = False
    ) -> None:
        """Count for the judge of an open rollout; a canary's failure is worth a look at once."""
        if not route.canary:
            self._tally(deployment)
            return
        self._world.count(deployment, status=status, milliseconds=milliseconds, nonfinite=nonfinite)
        if deployment == route.canary and (status >= _ERROR or nonfinite):
            self._look_again(route.endpoint.name)

    def _tally(self, deployment: str) -> None:
        """Count for the rate that the next rollout is planned by: many requests in one write, a few may be lost."""
        now = self._world.seconds()
        since, requests = self._unjudged.get(deployment, (-math.inf, 0))
        if now - since >= TALLY_PAUSE:
            self._world.tally(deployment, requests + 1)
            since, requests = now, -1
        self._unjudged[deployment] = (since, requests + 1)

    def _look_again(self, endpoint: str) -> None:
        now = self._world.seconds()
        if now - self._woken.get(endpoint, -math.inf) >= LOOK_AGAIN_PAUSE:
            self._woken[endpoint] = now
            self._world.look_again(endpoint)

    def _check_rate(self, endpoint: Endpoint) -> None:
        rate = endpoint.rate or self._world.rate
        if not rate:
            return
        taken = rates.take(rate, self._buckets.get(endpoint.name), self._world.seconds())
        self._buckets[endpoint.name] = taken.bucket
        if not taken.allowed:
            message = f"endpoint {endpoint.name!r} takes {rate:g} requests a second; send fewer, or ask the operator"
            raise RateExceeded(message, taken.retry_after)


def _check_header(name: str, value: str) -> None:
    """Refuse what the cloud would refuse: it is no deployment's failure."""
    if len(value) > MAX_HEADER or not (value.isascii() and value.isprintable()):
        message = f"{name}: send at most {MAX_HEADER} printable ASCII characters"
        raise Rejected(message, code="bad_request")


def _check_serving(endpoint: Endpoint) -> None:
    if not endpoint.split.weights:
        awaited = f"its first rollout {endpoint.rollout}" if endpoint.rollout else "a version to be dropped"
        raise NotServing(f"endpoint {endpoint.name!r} serves nothing yet; awaited: {awaited}")


def _passable(deployment: str, reply: Reply) -> Reply:
    """Return a reply that fits through; raises TooLarge."""
    if len(reply.body) > MAX_BODY:
        message = f"deployment {deployment} answered {len(reply.body)} bytes and at most {MAX_BODY} pass"
        raise TooLarge(f"{message}; send fewer instances a request")
    return reply
