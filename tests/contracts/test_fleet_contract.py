"""One suite for every fleet: in memory, SageMaker (on the strict fake) and processes of this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.domain.deployment import Deployment, FleetState, Running
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests import fakes_sagemaker_world
from tests.fakes import FakeBucket
from tests.fakes_pipeline import FakeFleet
from tests.fakes_sagemaker import NO_PING, Fate
from tests.fakes_sagemaker_world import deployment
from tests.local.fleet_support import COMMAND, LIVENESS_S, stored, until, write_server

GOOD, BAD, OTHER = "good", "bad", "other"


@dataclass
class World:
    """A fleet, what it can run, and how to wait for it."""

    fleet: Any
    deployments: dict[str, Deployment]
    pass_time: Callable[[], None] = lambda: None

    def start(self, name: str) -> Deployment:
        self.fleet.ensure(self.deployments[name])
        return self.deployments[name]

    def await_state(self, name: str, state: FleetState) -> Running:
        """Wait for a state, asking again for what isn't there yet, as a rollout does."""
        id_ = self.deployments[name].id

        def reached() -> bool:
            if self.fleet.observe(id_).state is FleetState.ABSENT:
                self.start(name)
            self.pass_time()
            return self.fleet.observe(id_).state is state

        until(reached, f"{name} to be {state}", LIVENESS_S)
        return self.fleet.observe(id_)

    def stop(self, name: str) -> None:
        """Stop it, again and again as the sweep does, until nothing of it is left."""

        def gone() -> bool:
            self.fleet.stop(self.deployments[name].id)
            self.pass_time()
            return self.deployments[name].id not in self.fleet.deployments()

        until(gone, f"{name} to be gone", LIVENESS_S)


@pytest.fixture
def memory():
    fleet = FakeFleet(becomes={BAD: Running(FleetState.FAILED, reason="out of luck")})
    return World(fleet, {name: deployment(name) for name in (GOOD, BAD, OTHER)})


@pytest.fixture
def sagemaker():
    at = fakes_sagemaker_world.world()
    at.aws.fate = lambda config: NO_PING if "-bad-" in config["EndpointConfigName"] else Fate()
    return World(at.fleet, {name: deployment(name) for name in (GOOD, BAD, OTHER)}, lambda: at.clock.tick(seconds=60))


@pytest.fixture
def local(tmp_path):
    store = FakeBucket()
    acts = {GOOD: "", BAD: "raise RuntimeError('out of luck')", OTHER: ""}
    found = {name: stored(store, act, name=name) for name, act in acts.items()}
    server = write_server(tmp_path)
    with LocalFleet(store, Home(tmp_path / "home"), server=COMMAND, server_path=server, drain_s=1.0) as fleet:
        yield World(fleet, found)


@pytest.fixture(params=["memory", "sagemaker", "local"])
def world(request):
    return request.getfixturevalue(request.param)


def test_what_was_never_asked_for_is_absent(world):
    assert world.fleet.observe("nothing-0").state is FleetState.ABSENT
    assert world.fleet.deployments() == []


def test_it_is_starting_until_it_is_ready_with_the_digest_that_it_loaded(world):
    world.start(GOOD)
    early = world.fleet.observe(world.deployments[GOOD].id).state
    assert early in {FleetState.ABSENT, FleetState.STARTING, FleetState.READY}
    seen = world.await_state(GOOD, FleetState.READY)
    assert (seen.ready, seen.restarts) == (1, 0)
    assert seen.digest.startswith("sha256:")


def test_nothing_is_lacking_for_what_fits(world):
    assert world.fleet.lacks(world.deployments[GOOD]) == ""
    world.start(GOOD)
    world.await_state(GOOD, FleetState.READY)
    assert world.fleet.lacks(world.deployments[OTHER]) == ""


def test_asking_twice_starts_nothing_twice(world):
    for _ in range(3):
        world.start(GOOD)
    world.await_state(GOOD, FleetState.READY)
    world.start(GOOD)
    assert world.fleet.deployments() == [world.deployments[GOOD].id]
    assert world.fleet.observe(world.deployments[GOOD].id).ready == 1


def test_a_failed_start_says_why_and_is_started_anew_only_after_a_stop(world):
    world.start(BAD)
    failed = world.await_state(BAD, FleetState.FAILED)
    assert failed.reason
    world.start(BAD)
    assert world.fleet.observe(world.deployments[BAD].id).state is FleetState.FAILED
    world.stop(BAD)
    world.start(BAD)
    world.await_state(BAD, FleetState.FAILED)


def test_stopping_ends_it_and_stopping_what_does_not_run_does_nothing(world):
    world.start(GOOD)
    world.await_state(GOOD, FleetState.READY)
    world.stop(GOOD)
    assert world.fleet.observe(world.deployments[GOOD].id).state is FleetState.ABSENT
    world.fleet.stop(world.deployments[GOOD].id)
    world.fleet.stop("nothing-0")
    assert world.fleet.deployments() == []


def test_all_that_is_there_is_listed_failed_ones_too(world):
    for name in (GOOD, BAD, OTHER):
        world.start(name)
    world.await_state(BAD, FleetState.FAILED)
    world.await_state(GOOD, FleetState.READY)
    assert world.fleet.deployments() == sorted(world.deployments[name].id for name in (GOOD, BAD, OTHER))


def test_one_is_stopped_without_the_others(world):
    for name in (GOOD, OTHER):
        world.start(name)
        world.await_state(name, FleetState.READY)
    world.stop(GOOD)
    assert world.fleet.observe(world.deployments[OTHER].id).state is FleetState.READY
    assert world.fleet.deployments() == [world.deployments[OTHER].id]
