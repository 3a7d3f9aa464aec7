"""No room for the canary's instance type: the next one of the drop's list is tried, before any traffic is touched."""

from dataclasses import dataclass, field

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import Deployment, FleetState, Running
from chalicelib.domain.errors import Rejected
from chalicelib.domain.moves import LINGER
from chalicelib.domain.rollout import FallBack, Phase
from chalicelib.pipeline import views
from tests import fakes_sagemaker_world
from tests.fakes_pipeline import FakeFleet
from tests.fakes_sagemaker import NO_CAPACITY, Fate
from tests.rollout_world import V1, V2, deployment, drop, endpoint, go, live, rollout, world

BIG, MIDDLE, SMALL = "ml.g5.xlarge", "ml.g4dn.xlarge", "ml.m5.xlarge"
ALLOWED = Bounds(instance_types=(BIG, MIDDLE, SMALL), placements=("surge", "recreate"))
ANY = f"instance_types: [{BIG}, {MIDDLE}, {SMALL}]"
NONE_FREE = Running(FleetState.FAILED, reason="no instance of that type is free", by_fleet=True)


@dataclass
class Scarce(FakeFleet):
    """Has room for some instance types only, and a quota for some."""

    without: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)

    def ensure(self, wanted: Deployment, *room) -> None:
        if wanted.resources.instance_type in self.refuses:
            raise Rejected(f"the account's quota of {wanted.resources.instance_type} is used up", code="over_quota")
        super().ensure(wanted, *room)
        if wanted.resources.instance_type in self.without:
            self.running[wanted.id] = NONE_FREE


def scarce(**lacking):
    return world(bounds=ALLOWED, fleet=Scarce(**lacking))


def kinds(ports):
    return [t.kind for t in ports.registry.timeline(rollout=rollout(ports, V2).id)]


def type_of(ports, ref):
    return rollout(ports, ref).canary.resources.instance_type


@pytest.mark.parametrize("lacking", ["without", "refuses"])
def test_the_next_type_is_tried_and_stable_is_never_touched(lacking):
    ports = scarce(**{lacking: {BIG, MIDDLE}})
    stable = live(ports)
    drop(ports, V2, deploy=ANY)
    begun = deployment(ports, V2)
    for _ in range(6):
        assert endpoint(ports).split.weights.get(stable) in {100, 95}
        go(ports)
    assert type_of(ports, V2) == SMALL
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V2): 5}
    assert kinds(ports) == ["rollout.opened", "rollout.fell_back", "rollout.fell_back", "rollout.shifted"]
    ports.clock.tick(seconds=LINGER.total_seconds())
    go(ports)
    assert begun not in ports.fleet.running
    assert endpoint(ports).deployments.keys() == {stable, deployment(ports, V2)}


@pytest.mark.parametrize("lacking", ["without", "refuses"])
def test_where_there_is_room_for_none_of_them_the_rollout_fails_and_the_version_is_not_to_blame(lacking):
    ports = scarce(**{lacking: {BIG, MIDDLE, SMALL}})
    stable = live(ports)
    drop(ports, V2, deploy=ANY)
    go(ports, 8)
    assert rollout(ports, V2).phase is Phase.FAILED
    assert endpoint(ports).split.weights == {stable: 100}
    assert ports.registry.get("version", str(V2)).body["unservable"] == ""


def test_a_model_that_fails_by_its_own_doing_is_tried_once():
    ports = scarce()
    live(ports)
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="ValueError: bad weights")
    drop(ports, V2, deploy=ANY)
    go(ports, 4)
    assert (rollout(ports, V2).phase, type_of(ports, V2)) == (Phase.FAILED, BIG)


def test_each_type_has_its_own_time_to_start():
    ports = scarce(without={BIG})
    live(ports)
    drop(ports, V2, deploy=ANY)
    go(ports)
    ports.clock.tick(minutes=9)
    assert isinstance(go(ports), FallBack)
    ports.fleet.becomes["v2"] = Running(FleetState.STARTING)
    ports.clock.tick(minutes=9)
    go(ports, 2)
    assert rollout(ports, V2).phase is Phase.STARTING


def test_one_at_a_time_falls_back_too():
    ports = scarce(without={BIG})
    live(ports)
    drop(ports, V2, deploy=f"{ANY}\nplacement: recreate")
    go(ports, 6)
    assert (rollout(ports, V2).phase, type_of(ports, V2)) == (Phase.BAKING, MIDDLE)


def test_sagemaker_without_capacity_for_one_type_is_asked_for_the_next():
    at = fakes_sagemaker_world.world()
    at.aws.fate = lambda config: NO_CAPACITY if config["ProductionVariants"][0]["InstanceType"] == BIG else Fate()
    ports = world(bounds=ALLOWED, fleet=at.fleet_of(allowed_instance_types=(BIG, SMALL)))
    drop(ports, V1, deploy=f"instance_types: [{BIG}, {SMALL}]")
    for _ in range(12):
        at.clock.tick(seconds=60)
        if isinstance(go(ports), FallBack):
            break
    assert type_of(ports, V1) == SMALL
    assert "InsufficientInstanceCapacity" in rollout(ports, V1).reason
    go(ports)
    configs = [body for what, body in at.aws.calls if what == "CreateEndpointConfig"]
    assert [config["ProductionVariants"][0]["InstanceType"] for config in configs] == [BIG, SMALL]


def test_a_canary_without_room_is_not_started_and_stable_serves_on():
    ports = world()
    stable = live(ports)
    ports.fleet.lacking = "2 replicas take 900 MB and 300 MB are free"
    drop(ports, V2)
    go(ports, 3)
    assert list(ports.fleet.running) == [stable]
    held = views.endpoint("digits", ports)["rollout"]["holds"]
    assert held == "not started, for there is no room: 2 replicas take 900 MB and 300 MB are free"
    ports.fleet.lacking = ""
    go(ports, 2)
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V2): 5}


def test_where_no_room_comes_the_rollout_fails_with_what_was_lacking_and_the_version_is_not_to_blame():
    ports = world()
    live(ports)
    ports.fleet.lacking = "900 MB"
    drop(ports, V2)
    ports.clock.tick(minutes=10)
    go(ports)
    assert rollout(ports, V2).phase is Phase.FAILED
    assert "there is no room: 900 MB" in rollout(ports, V2).reason
    assert ports.registry.get("version", str(V2)).body["unservable"] == ""
