"""An endpoint with deployments that answer as a test says, called as API Gateway calls: base64 in, base64 out."""

import base64
import json
from dataclasses import dataclass, field, replace

from chalice import Chalice
from chalice.local import LambdaEventConverter, RouteMatcher

from chalicelib import api, predict_api
from chalicelib.domain.deployment import Deployment, Endpoint, Resources
from chalicelib.domain.invocation import Reply
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Plan, Rollout
from chalicelib.domain.split import Split
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.predict import Predictor, World
from chalicelib.pipeline.records import Records, Stored
from tests.fakes_pipeline import FakeInvoker, fake_ports

JSON = "application/json"


def reply(body=b'{"predictions": [1]}', status=200, content_type=JSON, **attributes) -> Reply:
    return Reply(status, body, content_type, {"digest": "sha256:v1", "nonfinite": "0", **attributes})


@dataclass
class Counted:
    """What was counted, as (deployment, status, nonfinite)."""

    seen: list[tuple[str, int, bool]] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    marks: list[tuple[str, str]] = field(default_factory=list)
    unjudged: list[tuple[str, int]] = field(default_factory=list)

    def tally(self, deployment_id: str, requests: int) -> None:
        self.unjudged.append((deployment_id, requests))

    def mark(self, deployment_id: str, names) -> None:
        self.marks += [(deployment_id, name) for name in names]

    def count(self, deployment_id: str, *, status: int, milliseconds: float, nonfinite: bool) -> None:
        self.seen.append((deployment_id, status, nonfinite))
        self.milliseconds.append(milliseconds)


@dataclass
class Answered:
    """A Lambda function's answer as API Gateway passes it on."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self):
        return json.loads(self.content)

    @property
    def code(self) -> str:
        return self.body["error"]["code"]


class PredictWorld:
    """`digits` served by v1; a test may put a canary v2 beside it, and moves time itself."""

    def __init__(self, *, rate: float = 0.0) -> None:
        self.ports: Ports = fake_ports()
        self.invoker = FakeInvoker({"v1": reply(), "v2": reply(digest="sha256:v2")})
        self.counted = Counted()
        self.woken: list[str] = []
        self.sent: list = []
        self.sends = True
        self.now = 1000.0
        self.chance = 0.0  # below the canary's weight: the canary
        self.rate = rate
        self.set_split({"v1": 100})
        self.restart()

    def restart(self) -> None:
        """Begin anew as another instance of the function."""
        self.predictor = Predictor(
            World(
                registry=self.ports.registry,
                invoker=self.invoker,
                count=self.counted.count,
                mark=self.counted.mark,
                tally=self.counted.tally,
                send=self.send,
                look_again=self.woken.append,
                seconds=lambda: self.now,
                chance=lambda: self.chance,
                rate=self.rate,
            )
        )

    def send(self, copy) -> bool:
        self.sent.append(copy)
        return self.sends

    def set_split(self, weights: dict[str, int], name: str = "digits", **changes) -> None:
        records = Records(self.ports.registry)
        stored = records.endpoint(name) or Stored(name, Endpoint(name, "digits"))
        deployments = {id_: deployment(id_, name) for id_ in weights}
        value = replace(stored.value, split=Split(weights, "r1"), deployments=deployments, **changes)
        self.ports.registry.commit([replace(stored, value=value).write])

    def open_rollout(self, weight: int = 50, phase: Phase = Phase.STEPPING) -> None:
        """Give v2 a part of the traffic as the canary of an open rollout."""
        canary = deployment("v2", "digits")
        now = self.ports.clock()
        rollout = Rollout(
            id="r1", endpoint="digits", ref=canary.ref, canary=canary, stable="v1", plan=Plan(), phase=phase, opened=now
        )
        stored = Records(self.ports.registry).get(Rollout, "r1") or Stored("r1", rollout)
        self.ports.registry.commit([replace(stored, value=rollout).write])
        self.set_split({"v1": 100 - weight, "v2": weight}, rollout="r1")


def deployment(id_: str, endpoint: str) -> Deployment:
    return Deployment(id_, endpoint, VersionRef("digits", id_), f"sha256:{id_}", f"sealed/{id_}/", Resources())


@dataclass
class GatewayCaller:
    """A caller behind API Gateway whose key has these scopes."""

    world: PredictWorld
    scopes: str = "predict:digits"
    key_id: str = "k1"
    app: Chalice = field(default_factory=lambda: Chalice("control-api"))

    def __post_init__(self) -> None:
        if not self.app.routes:  # else callers share an app
            self.app.register_blueprint(api.routes)
            self.app.register_blueprint(predict_api.routes)
        api.bind(lambda: self.world.ports)
        predict_api.bind(predictor=lambda: self.world.predictor, ports=lambda: self.world.ports)

    def event(self, method, path, body=b"", headers=None):
        """Return the event of a REST API that takes every type as binary."""
        converter = LambdaEventConverter(RouteMatcher(list(self.app.routes)))
        event = converter.create_lambda_event(method, path, headers or {}, b"")
        event["body"] = base64.b64encode(body).decode() if body else None
        event["isBase64Encoded"] = bool(body)
        event["requestContext"]["authorizer"] = {"key_id": self.key_id, "scopes": self.scopes}
        event["requestContext"]["requestId"] = "from-gateway"
        return event

    def call(self, method, path, body=b"", **headers) -> Answered:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.app(self.event(method, path, sent, {n.replace("_", "-"): v for n, v in headers.items()}), None)
        content = answer["body"] or ""
        whole = base64.b64decode(content) if answer.get("isBase64Encoded") else content.encode()
        return Answered(answer["statusCode"], {n.lower(): v for n, v in answer["headers"].items()}, whole)

    def predict(self, body=None, *, name="digits", **headers) -> Answered:
        sent = {"instances": [[1]]} if body is None else body
        return self.call("POST", f"/v1/endpoints/{name}/predict", sent, **{"content_type": JSON, **headers})
