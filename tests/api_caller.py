"""Calls the control API as API Gateway does: a REST event for a Lambda handler, the caller put in by an authorizer."""

import json
from dataclasses import dataclass, field

from chalice import Chalice
from chalice.local import LambdaEventConverter, RouteMatcher

from chalicelib import api
from chalicelib.domain.deployment import Resources, deployment_of
from chalicelib.domain.findings import ArtifactFormat, Finding, Report, Verdict
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.version import SealedFile, Version
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Drop, Records, Stored


@dataclass
class Answered:
    status: int
    body: object

    @property
    def error(self) -> dict:
        return self.body["error"]


@dataclass
class Caller:
    """`ports` behind the routes, and one whose key has these scopes."""

    ports: Ports
    scopes: str = "admin"
    app: Chalice = field(default_factory=lambda: Chalice("control-api"))

    def __post_init__(self) -> None:
        self.app.register_blueprint(api.routes)
        api.bind(lambda: self.ports)

    def call(self, method: str, path: str, body=None, headers=None) -> Answered:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        converter = LambdaEventConverter(RouteMatcher(list(self.app.routes)))
        event = converter.create_lambda_event(method, path, headers or {}, sent)
        event["requestContext"]["authorizer"] = {"key_id": "k1", "scopes": self.scopes}
        answer = self.app(event, None)
        return Answered(answer["statusCode"], json.loads(answer["body"]))

    def get(self, path: str) -> Answered:
        return self.call("GET", path)

    def post(self, path: str, body=None) -> Answered:
        return self.call("POST", path, body)


def uploading(ports: Ports, prefix: str, *missing: str) -> None:
    """Keep an upload that isn't whole."""
    report = Report(prefix, Verdict.INCOMPLETE, ArtifactFormat.SAVED_MODEL, missing=missing)
    drop = Drop(prefix, "uploading", report, "f", ports.clock())
    ports.registry.commit([Stored(prefix, drop).write])


def rejected(ports: Ports, prefix: str) -> None:
    """Keep an upload that was refused."""
    finding = Finding("no_serve_tag", "saved_model.pb", "no 'serve' tag", "re-export with model.export()")
    report = Report(prefix, Verdict.REJECT, ArtifactFormat.SAVED_MODEL, findings=(finding,))
    ports.registry.commit([Stored(prefix, Drop(prefix, "rejected", report, "f", ports.clock())).write])


def registered(ports: Ports, name: str) -> Version:
    """Keep a registered version and its upload."""
    ref = VersionRef.parse(name)
    version = Version(
        ref,
        ArtifactFormat.TORCH_ARCHIVE,
        f"sha256:{name}",
        f"sealed/{name}/",
        (SealedFile("model.mar", 10, "ab"),),
        "f",
        ports.clock(),
    )
    report = Report(ref.prefix, Verdict.ACCEPT, ArtifactFormat.TORCH_ARCHIVE, digest=version.digest)
    drop = Drop(ref.prefix, "registered", report, "f", ports.clock())
    ports.registry.commit([Stored(name, version).write, Stored(ref.prefix, drop).write])
    return version


def rolling(ports: Ports, name: str) -> str:
    """Keep a registered version and its open rollout, its deployment ready; return the rollout's id."""
    version = registered(ports, name)
    rollout = open_rollout(version.ref, ports)
    ports.fleet.ensure(deployment_of(version.ref.model_id, version, Resources()))
    return rollout


def stepping(ports: Ports, name: str) -> str:
    """Keep an open rollout whose canary has its first share of the traffic; return the rollout's id."""
    records = Records(ports.registry)
    rollout = records.get(Rollout, rolling(ports, name))
    ports.registry.commit([rollout.to(phase=Phase.STEPPING, step=0, step_since=ports.clock()).write])
    return rollout.id


def ended_as(ports: Ports, name: str, phase: Phase, reason: str) -> None:
    """Keep a rollout that has ended."""
    records = Records(ports.registry)
    rollout = records.get(Rollout, rolling(ports, name)).to(phase=phase, reason=reason)
    ports.registry.commit([rollout.write])
