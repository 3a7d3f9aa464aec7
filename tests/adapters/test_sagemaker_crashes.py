"""The process dies at any call to AWS, before it or after it: what comes next goes on as if nothing had been."""

from contextlib import suppress
from dataclasses import dataclass

import pytest

from chalicelib.domain.deployment import Capacity, FleetState
from tests.fakes_sagemaker import Killed
from tests.fakes_sagemaker_hosting import CONFIG, ENDPOINT, MODEL
from tests.fakes_sagemaker_world import World, deployment, world

ASKED = deployment(replicas=1, max_replicas=3)
LAST = 3
GROWN = Capacity(at_least=2, may_scale_in=False)


@dataclass
class Life:
    """A deployment's life by wake-ups: it is started, it grows, it may shrink again, it is stopped."""

    at: World
    goal: int = 0

    def wake(self) -> None:
        seen = self.at.fleet.observe(ASKED.id)
        match self.goal:
            case 0 if seen.state is FleetState.ABSENT:
                self.at.fleet.ensure(ASKED)
            case 0:
                self.goal += seen.digest == "sha256:v1"
            case 1:
                self.at.fleet.ensure(ASKED, GROWN)
                self.goal += seen.ready == 2
            case 2:
                self.at.fleet.ensure(ASKED)
                self.goal += 1
            case _:
                self.at.fleet.stop(ASKED.id)
                self.goal += not any(self.at.aws.hosting.things.values())

    def live(self) -> list[tuple]:
        """Live it to its end; return all that AWS had at each stage's end."""
        seen = []
        for _ in range(40):
            stage = self.goal
            with suppress(Killed):
                self.wake()
            if self.goal > stage:
                seen.append(state(self.at))
            if self.goal > LAST:
                return seen
            self.at.clock.tick(seconds=120)
        raise AssertionError(f"stuck at {self.goal}: {self.at.aws.calls[-5:]}")


def state(at: World) -> tuple:
    """Return all that AWS has."""
    things = at.aws.hosting.things
    endpoints = [(e.name, e.config, e.status, e.current, e.desired) for e in at.aws.hosting.endpoints()]
    names = [sorted(things[kind]) for kind in (MODEL, CONFIG, ENDPOINT)]
    targets = {key: (t["MinCapacity"], t["SuspendedState"]) for key, t in at.aws.scaling.targets.items()}
    return names, endpoints, dict(at.aws.hosting.tags), targets, sorted(at.aws.scaling.policies)


@pytest.fixture(scope="module")
def undisturbed():
    at = world(page=50)
    return Life(at).live(), [operation for operation, _ in at.aws.calls]


def lives(at: World, expected: list[tuple]) -> None:
    assert Life(at).live() == expected, f"killed at {at.aws.calls[at.aws.kill[0] - 1]}"
    made = [asked["EndpointName"] for operation, asked in at.aws.calls if operation == "CreateEndpoint"]
    assert set(made) == {at.name(ASKED)}


def test_wherever_it_dies_before_a_call_every_stage_ends_as_if_it_had_not(undisturbed):
    expected, calls = undisturbed
    assert len(calls) > 30
    for number in range(1, len(calls) + 1):
        at = world(page=50)
        at.aws.kill = (number, False)
        lives(at, expected)


def test_wherever_it_dies_after_a_change_every_stage_ends_as_if_it_had_not(undisturbed):
    """After a read it is as before the next call."""
    expected, calls = undisturbed
    changes = [n for n, call in enumerate(calls, start=1) if not call.startswith(("Describe", "List", "Invoke"))]
    assert len(changes) > 10
    for number in changes:
        at = world(page=50)
        at.aws.kill = (number, True)
        lives(at, expected)
