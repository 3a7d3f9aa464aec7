"""A world for stacks: SageMaker's fake with containers that answer as models do, and callers of the API."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3

from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.adapters.s3 import S3Bucket
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import SealedFile, Version, file_digest, version_digest
from chalicelib.pipeline.keys import make_key
from chalicelib.pipeline.records import Records
from tests.aws.stack import REGION, Stack
from tests.fakes_sagemaker import FakeSageMaker
from tests.fakes_sagemaker_hosting import Served
from tests.fakes_sagemaker_runtime import Answer, Invocation, ServingImage


@dataclass
class World:
    """`sick` holds MODEL/VERSION of models that answer every request with an error, `odd` of those that answer ones."""

    aws: FakeSageMaker
    sick: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    stacks: list[Stack] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)  # the status of each endpoint, by ARN, that an event told last

    def stack(self, parameters: Mapping[str, str] | None = None, **more: Any) -> Stack:
        made = Stack.create(parameters, **more)
        made.meanwhile.append(lambda: self._tell_changes(made))
        self.stacks.append(made)
        return made

    def _tell_changes(self, stack: Stack) -> None:
        """Send an event for each endpoint whose status changed, as SageMaker does, to the account's default bus."""
        seen = {endpoint.arn: endpoint for endpoint in self.aws.hosting.endpoints()}
        for arn, endpoint in seen.items():
            if self._told.get(arn) != endpoint.status:
                self._told[arn] = endpoint.status
                _put_event(stack, endpoint, self.aws.hosting.tags[arn])
        for arn in set(self._told) - set(seen):
            del self._told[arn]  # SageMaker says nothing of what is gone

    def now(self) -> datetime:
        return max((stack.now for stack in self.stacks), default=datetime.now(UTC))

    def container(self, asked: Invocation) -> Answer:
        """Answer as our image does; a sick model's own code fails, its probe doesn't."""
        key = urlsplit(asked.model_uri).path.strip("/")
        is_probe = "modeldrop-probe" in asked.attributes.split(";")
        if not is_probe and "/".join(key.split("/")[:2]) in self.sick:
            return Answer(b'{"error": {"code": "model_failed", "message": "boom"}}', status=500)
        answer = ServingImage(self._loaded)(asked)
        if not is_probe and "/".join(key.split("/")[:2]) in self.odd:
            return replace(answer, body=answer.body.replace(b"0.0", b"1.0"))
        return answer

    def _loaded(self, uri: str) -> str:
        """Return the digest of what lies under a URI, computed once: a replica loads its files when it starts."""
        if uri not in self._digests:
            self._digests[uri] = _digest_in_s3(uri)
        return self._digests[uri]


def moto_config() -> dict[str, Any]:
    """Return what keeps moto from answering, and counting, what the fake answers: botocore asks every handler."""
    services = ["sagemaker", "sagemakerruntime", "applicationautoscaling"]
    return {"core": {"passthrough": {"services": services}}}


@contextmanager
def in_the_fake() -> Iterator[World]:
    """Give a world whose SageMaker is the fake, for as long as it is wanted."""
    fake = FakeSageMaker(lambda: datetime.now(UTC), lambda _: Answer(b""), region=REGION)
    world = World(fake)
    fake.clock, fake.container = world.now, world.container
    fake.hosting.clock = fake.packages.clock = world.now
    with fake.installed():
        yield world


def _put_event(stack: Stack, endpoint: Served, tags: Mapping[str, str]) -> None:
    detail = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config,
        "EndpointStatus": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", endpoint.status).upper(),
        "Tags": dict(tags),
    }
    entry = {"Source": "aws.sagemaker", "DetailType": "SageMaker Endpoint State Change", "Detail": json.dumps(detail)}
    answer = stack.client("events").put_events(Entries=[entry])
    assert not answer["FailedEntryCount"], answer


def _digest_in_s3(uri: str) -> str:
    """Return the digest of the version whose files lie under a URI, as a replica computes it of what it loaded."""
    bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.lstrip("/")
    store = S3Bucket(boto3.client("s3", region_name=REGION), bucket)
    files = [(item, store.read(item, 0, item.size)) for item in store.list(prefix)]
    return version_digest(
        SealedFile(item.key.removeprefix(prefix), item.size, file_digest([hashlib.sha256(body).digest()]))
        for item, body in files
    )


# --- what a stack knows ---------------------------------------------------------------------------------------------
def registry_of(stack: Stack) -> DynamoRegistry:
    store = S3Bucket(stack.client("s3"), stack.store)
    return DynamoRegistry(stack.client("dynamodb"), stack.physical("Table"), store, lambda: stack.now)


def records_of(stack: Stack) -> Records:
    return Records(registry_of(stack))


def rollouts(stack: Stack) -> list[Rollout]:
    return sorted((r.value for r in records_of(stack).list(Rollout)), key=lambda r: r.opened)


def versions(stack: Stack) -> dict[str, Version]:
    return {str(v.value.ref): v.value for v in records_of(stack).list(Version)}


def endpoint(stack: Stack, name: str) -> Endpoint | None:
    found = records_of(stack).endpoint(name)
    return found.value if found else None


def api_key(stack: Stack, *scopes: str) -> str:
    return make_key(registry_of(stack), lambda: stack.now, name="a test", scopes=scopes)[1]
