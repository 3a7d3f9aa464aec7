"""A fleet on the fake of SageMaker, with a clock that tests set."""

from dataclasses import dataclass, replace
from functools import cache

import boto3
from botocore.config import Config

from chalicelib.adapters.sagemaker import SageMakerFleet
from chalicelib.adapters.sagemaker_clients import Clients
from chalicelib.adapters.sagemaker_names import deployment_name
from chalicelib.adapters.sagemaker_requests import Hosting
from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.refs import VersionRef
from tests.fakes_pipeline import FakeClock
from tests.fakes_sagemaker import SERVICES, FakeSageMaker
from tests.fakes_sagemaker_runtime import ServingImage

HOSTING = Hosting(
    stack="0123abcd",
    store="store",
    role="arn:aws:iam::123456789012:role/models",
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/serving:1",
    instance_type="ml.m5.large",
)


def deployment(version: str = "v1", **resources) -> Deployment:
    ref = VersionRef("digits", version)
    return Deployment(
        f"{version}-0123", "digits", ref, f"sha256:{version}", f"digits/{version}/x/", Resources(**resources)
    )


@dataclass
class World:
    aws: FakeSageMaker
    clock: FakeClock
    clients: Clients
    fleet: SageMakerFleet

    def fleet_of(self, **changes) -> SageMakerFleet:
        return replace(self.fleet, hosting=replace(self.fleet.hosting, **changes))

    def name(self, asked: Deployment) -> str:
        return deployment_name(self.fleet.hosting.stack, asked.id)

    def started(self, asked: Deployment, state: FleetState = FleetState.READY) -> Running:
        """Ask for it as a rollout does, until it has had the time that it takes."""
        for _ in range(20):
            if self.fleet.observe(asked.id).state is FleetState.ABSENT:
                self.fleet.ensure(asked)
            if self.fleet.observe(asked.id).state is state:
                break
            self.clock.tick(seconds=60)
        seen = self.fleet.observe(asked.id)
        assert seen.state is state, seen
        return seen

    def stopped(self, asked: Deployment) -> None:
        for _ in range(20):
            self.fleet.stop(asked.id)
            if asked.id not in self.fleet.deployments():
                return
            self.clock.tick(seconds=60)
        raise AssertionError(f"{asked.id} is still there")

    def done(self, *operations: str) -> list[str]:
        """Return the calls so far that change something, or those of some operations."""
        found = [operation for operation, _ in self.aws.calls]
        reads = ("Describe", "List", "Invoke")
        return [o for o in found if o in operations] if operations else [o for o in found if not o.startswith(reads)]


class _Relay:
    """Answers by the fake of the test that runs: clients are made once, which takes longer than a test."""

    current: FakeSageMaker

    def __call__(self, request, **said):
        return self.current(request, **said)


_RELAY = _Relay()


@cache
def _clients(attempts: int) -> Clients:
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    for service in SERVICES:
        session.events.register_first(f"before-send.{service}", _RELAY)
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    names = ("sagemaker", "sagemaker-runtime", "application-autoscaling")
    return Clients(*(session.client(name, config=config) for name in names))


def world(*, attempts: int = 1, page: int = 2) -> World:
    """Nothing is retried by the clients, unless `attempts` says so: tests see each failure."""
    clock = FakeClock()
    aws = FakeSageMaker(clock, ServingImage(lambda uri: f"sha256:{uri.split('/')[4]}"), page=page)
    aws.active, _RELAY.current = True, aws
    clients = _clients(attempts)
    return World(aws, clock, clients, SageMakerFleet(HOSTING, clients))
