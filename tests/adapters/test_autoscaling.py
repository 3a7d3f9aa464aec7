"""How many instances a deployment has: what a rollout needs of it, and what its traffic makes of it."""

import pytest

from chalicelib.domain.deployment import Capacity
from tests.fakes_sagemaker import Fate
from tests.fakes_sagemaker_world import deployment, world

SCALES = {"replicas": 1, "max_replicas": 3}


@pytest.fixture
def at():
    return world()


def target(at, asked) -> dict | None:
    return at.aws.scaling.targets.get(f"endpoint/{at.name(asked)}/variant/main")


def room(at, asked) -> tuple[int, int, bool]:
    found = target(at, asked)
    return found["MinCapacity"], found["MaxCapacity"], found["SuspendedState"]["DynamicScalingInSuspended"]


def test_one_that_does_not_scale_is_never_registered(at):
    asked = deployment(replicas=2)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=4, may_scale_in=False))
    assert target(at, asked) is None
    assert at.fleet.observe(asked.id).most == 0
    assert at.done("UpdateEndpointWeightsAndCapacities") == []


def test_one_that_scales_is_registered_once_it_is_in_service(at):
    asked = deployment(**SCALES)
    at.started(asked)
    assert at.fleet.observe(asked.id).most == 3
    at.fleet.ensure(asked)
    assert room(at, asked) == (1, 3, False)
    (policy,) = at.aws.scaling.policies.values()
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 600
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }


def test_what_is_as_it_should_be_is_not_written_again(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=2))
    at.clock.tick(seconds=120)
    before = at.done()
    at.fleet.ensure(asked, Capacity(at_least=2))
    assert at.done() == before


@pytest.mark.parametrize("at_once", [False, True])
def test_room_that_a_step_needs_is_asked_for_and_comes_in_a_while(at, at_once):
    """Whether or not a raised least changes the number of instances by itself."""
    at.aws.scaling.acts_at_once = at_once
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=2, may_scale_in=False))
    seen = at.fleet.observe(asked.id)
    assert (seen.state, seen.ready) == ("ready", 1)  # it serves while it grows
    at.clock.tick(seconds=120)
    assert at.fleet.observe(asked.id).ready == 2
    assert room(at, asked) == (2, 3, True)


def test_room_ends_at_the_deployments_own_bound(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=9))
    at.clock.tick(seconds=120)
    assert at.fleet.observe(asked.id).ready == 3


def test_one_that_could_not_grow_is_asked_again(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.aws.hosting.update = Fate(seconds=60, ends="Failed")
    at.fleet.ensure(asked, Capacity(at_least=2))
    at.clock.tick(seconds=60)
    assert at.fleet.observe(asked.id).ready == 1
    at.aws.hosting.update = Fate(seconds=60)
    at.fleet.ensure(asked, Capacity(at_least=2))
    at.clock.tick(seconds=60)
    assert at.fleet.observe(asked.id).ready == 2


def test_while_traffic_may_come_back_it_does_not_scale_in_and_its_least_is_kept(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=2))
    at.clock.tick(seconds=120)
    at.fleet.ensure(asked, Capacity(may_scale_in=False))
    assert room(at, asked) == (2, 3, True)
    at.fleet.ensure(asked, Capacity())
    assert room(at, asked) == (1, 3, False)


def test_what_autoscaling_added_is_left_to_it(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked)
    at.aws.hosting.resize(at.aws.hosting.endpoint(at.name(asked)), 3)
    at.clock.tick(seconds=120)
    at.fleet.ensure(asked)
    assert at.fleet.observe(asked.id).ready == 3


def test_an_endpoint_that_is_changing_is_left_for_later(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked, Capacity(at_least=2))
    at.fleet.ensure(asked, Capacity(at_least=3))
    at.clock.tick(seconds=120)
    at.fleet.ensure(asked, Capacity(at_least=3))
    at.clock.tick(seconds=120)
    assert at.fleet.observe(asked.id).ready == 3


def test_instances_that_someone_took_away_are_given_back(at):
    asked = deployment(replicas=2)
    at.started(asked)
    at.aws.hosting.resize(at.aws.hosting.endpoint(at.name(asked)), 1)
    at.clock.tick(seconds=120)
    at.fleet.ensure(asked)
    at.clock.tick(seconds=120)
    assert at.fleet.observe(asked.id).ready == 2


def test_a_stopped_one_leaves_no_scaling_behind(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked)
    at.stopped(asked)
    assert at.aws.scaling.targets == {}
    assert at.aws.scaling.policies == {}


def test_another_aim_of_the_operators_reaches_what_runs(at):
    asked = deployment(**SCALES)
    at.started(asked)
    at.fleet.ensure(asked)
    at.fleet_of(requests_per_instance=50.0).ensure(asked)
    (policy,) = at.aws.scaling.policies.values()
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50
