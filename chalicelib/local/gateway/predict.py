"""Predict: choose a deployment by the split, forward, count, and say who answered.

A prediction is safe to repeat, so a request that a replica doesn't answer is tried elsewhere: a canary's on stable, at
once; a stable one's on another replica or the same one restarted, for a moment. Each failed try is counted against
the deployment that failed, whether or not the caller notices.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.split import choose
from chalicelib.local.fleet.ping import SILENCE, TIMEOUT_S, read_body
from chalicelib.local.fleet.ping import Answer as Ping
from chalicelib.local.gateway.answers import NONFINITE, Stamps, stamped
from chalicelib.local.gateway.counters import Counters
from chalicelib.local.gateway.messages import Request, Response, error
from chalicelib.local.gateway.sampling import Sampler
from chalicelib.local.gateway.shadowing import Shadows
from chalicelib.local.gateway.upstream import Answer, Broken, Replica, Replicas, TimedOut

NO_ANSWER = 502
TOO_LATE = 504
WAIT = 2.0  # seconds, for a restarted replica of the last deployment that can answer
PAUSE = 0.05  # seconds between looks
MAX_SENT = 2  # tries on stable: a request that breaks replicas isn't sent on and on
PATIENCE = 1.0  # seconds after which a caller who gives up counts as a slow answer
# Ours to set, a connection's own, or a secret that model code must not see.
_OURS = frozenset((
    b"host", b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"expect", b"te", b"trailer",
    b"upgrade", b"authorization", b"proxy-authorization", b"cookie", b"x-request-id",
    b"x-amzn-sagemaker-custom-attributes",
))  # fmt: skip
_ERROR = 500
_OK = 200
_PING = (b"GET /ping HTTP/1.1\r\nhost: replica\r\n\r\n",)


@dataclass(slots=True)
class Forward:
    """A request as replicas get it, and what it is about."""

    endpoint: Endpoint
    message: Sequence[bytes]
    names: bytes  # of the request and the endpoint: header lines of the answer
    joins_body: bool  # who answered is said in the body, too
    request: Request
    asked: str = ""  # the deployment that the caller asks for by name; "": the split decides


class Predictor:
    """Forwards predict requests of all endpoints; lives on the gateway's loop."""

    def __init__(
        self,
        *,
        sockets: Callable[[str], Sequence[Path]],
        counters: Counters,
        on_trouble: Callable[[str, str], None],
        timeout: float,
        sampler: Sampler,
        shadows: Shadows,
    ) -> None:
        self._sockets = sockets
        self._counters = counters
        self._on_trouble = on_trouble
        self._timeout = timeout
        self._sampler = sampler
        self._shadows = shadows
        self._stamps: dict[str, Stamps] = {}  # by endpoint
        self.replicas = Replicas()

    async def predict(self, forward: Forward, key: str) -> Response:
        """Return the answer of the deployment that the split gives this request to, or of the one that stands in.

        Nobody stands in for one that was asked for by name, and that is no sample of the traffic: the judge doesn't see
        it.
        """
        if forward.asked:
            return await self._insist(forward, forward.asked)
        chosen, stand_in = choose(forward.endpoint.split, key, random.random())  # noqa: S311
        if not stand_in:
            return await self._insist(forward, chosen)
        return await self._try(forward, chosen) or await self._insist(forward, stand_in)

    async def who(self, endpoint: Endpoint, key: str, asked: str = "") -> Response:
        """Say who would answer: chosen as for a prediction, and a replica says its digest. Nobody counts."""
        chosen = asked or choose(endpoint.split, key, random.random())[0]  # noqa: S311
        said = await self._ping(self._pick(chosen, ()))
        if not said.ready:
            message = f"no replica of {chosen} says that it is ready; try again"
            return error(503, "no_answer", message, (b"retry-after", b"1"))
        ref = endpoint.deployments[chosen].ref
        served = {"model_id": ref.model_id, "version_id": ref.version_id, "deployment": chosen, "digest": said.digest}
        return Response(200, json.dumps({"endpoint": endpoint.name, **served}).encode())

    @staticmethod
    async def _ping(replica: Replica | None) -> Ping:
        try:
            answer = await replica.call(_PING, TIMEOUT_S) if replica else None
        except (Broken, TimedOut):
            return SILENCE
        return read_body(answer.body) if answer and answer.status == _OK else SILENCE

    async def _try(self, forward: Forward, deployment: str) -> Response | None:
        """Return a canary's answer; None when it gave none, which is counted."""
        replica = self._pick(deployment, ())
        if replica:
            try:
                return await self._call(forward, deployment, replica)
            except Broken:
                pass
        self._count(forward, deployment, NO_ANSWER)
        return None

    async def _insist(self, forward: Forward, deployment: str) -> Response:
        """Return the answer of the last deployment that can give one, waiting a moment for a replica."""
        until = perf_counter() + WAIT
        failed: list[Path] = []
        sent = 0
        why = "no replica is ready"
        while sent < MAX_SENT and perf_counter() < until:
            replica = self._pick(deployment, failed)
            if replica is None or replica.socket in failed:
                await asyncio.sleep(PAUSE)
            if replica is None:
                continue
            try:
                return await self._call(forward, deployment, replica)
            except Broken as problem:
                failed.append(replica.socket)
                why = str(problem)
                if problem.was_sent:
                    sent += 1
                    self._count(forward, deployment, NO_ANSWER)
        if not sent:
            self._count(forward, deployment, NO_ANSWER)
        return _unanswered(deployment, why, forward)

    def _pick(self, deployment: str, failed: Sequence[Path]) -> Replica | None:
        """Return the least busy ready replica, if possible one that hasn't failed this request."""
        sockets = self._sockets(deployment)
        if failed:
            sockets = [socket for socket in sockets if socket not in failed] or sockets
        return self.replicas.least_busy(sockets) if sockets else None

    async def _call(self, forward: Forward, deployment: str, replica: Replica) -> Response:
        """Return a replica's answer, counted; raises Broken, which the caller counts."""
        started = perf_counter()
        try:
            answer = await replica.call(forward.message, self._timeout)
        except TimedOut:
            self._count(forward, deployment, TOO_LATE)
            return _late(deployment, self._timeout, forward)
        except asyncio.CancelledError:  # the caller left
            if (waited := perf_counter() - started) > PATIENCE:
                self._count(forward, deployment, 200, waited * 1000)
            raise
        return self._receive(forward, deployment, answer, (perf_counter() - started) * 1000)

    def _receive(self, forward: Forward, deployment: str, answer: Answer, milliseconds: float) -> Response:
        nonfinite = answer.fields.get(NONFINITE, b"0") != b"0"
        self._count(forward, deployment, answer.status, milliseconds, nonfinite=nonfinite)
        if not forward.asked:
            self._look_at(forward, deployment, answer)
        stamp = self._stamps_of(forward.endpoint).of(answer.fields, deployment)
        return stamped(answer, stamp, forward.names, joins_body=forward.joins_body)

    def _look_at(self, forward: Forward, deployment: str, answer: Answer) -> None:
        """Have answers compared while a rollout is open; nobody waits for it."""
        shadow = forward.endpoint.shadow
        if shadow or len(forward.endpoint.split.weights) > 1:
            self._sampler.offer(deployment, answer)
        if shadow:
            self._shadows.offer(forward.endpoint, forward.request, answer, instances=forward.joins_body)

    def _stamps_of(self, endpoint: Endpoint) -> Stamps:
        stamps = self._stamps.get(endpoint.name)
        if stamps is None or stamps.endpoint is not endpoint:  # it was changed meanwhile
            stamps = self._stamps[endpoint.name] = Stamps(endpoint)
        return stamps

    def _count(
        self, forward: Forward, deployment: str, status: int, milliseconds: float = 0.0, *, nonfinite: bool = False
    ) -> None:
        judged = not forward.asked
        self._counters.count(
            forward.endpoint.name, deployment, status, milliseconds, nonfinite=nonfinite, judged=judged
        )
        if judged and (status >= _ERROR or nonfinite):
            self._on_trouble(forward.endpoint.name, deployment)


def message_of(request: Request, route: bytes, request_id: bytes) -> Sequence[bytes]:
    """Return what a replica gets: the caller's headers, but for the connection's own and secrets, and the body."""
    lines = [b"POST %s HTTP/1.1\r\nhost: replica\r\nx-request-id: %s\r\n" % (route, request_id)]
    lines += [b"%s: %s\r\n" % pair for pair in request.headers if pair[0] not in _OURS]
    lines.append(b"content-length: %d\r\n\r\n" % len(request.body))
    return b"".join(lines), request.body


def _unanswered(deployment: str, why: str, forward: Forward) -> Response:
    message = f"deployment {deployment} gave no answer: {why}; try again"
    return replace(error(503, "no_answer", message, (b"retry-after", b"1")), lines=forward.names)


def _late(deployment: str, timeout: float, forward: Forward) -> Response:
    message = f"deployment {deployment} did not answer within {timeout:g} s"
    return replace(error(504, "timed_out", message), lines=forward.names)
