"""One version at a time, for sites without room for two: wake-up by wake-up, and crashed at every one of them."""

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.errors import Rejected
from chalicelib.domain.rollout import ENDS, Phase, Promote
from chalicelib.pipeline import manage
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.restore import begin_windows_anew, restore
from chalicelib.pipeline.tend import revive
from tests.fakes_pipeline import FakeFleet, settle, traffic
from tests.rollout_world import V1, V2, V3, deployment, drop, endpoint, go, live, rollout, world

RECREATE = "placement: recreate\nbake: 5m"
ALLOWED = Bounds(placements=("surge", "recreate"))


class OneAtATime(FakeFleet):
    """A machine that has no room for two."""

    def ensure(self, wanted, capacity=None):
        assert not set(self.running) - {wanted.id}, "there is no room for a second one"
        super().ensure(wanted, capacity)


@pytest.fixture
def ports():
    return world(bounds=ALLOWED, fleet=OneAtATime())


def kinds(ports):
    return [t.kind for t in ports.registry.timeline(rollout=rollout(ports, V2).id)]


def baking(ports):
    stable = live(ports)
    ports.metrics.seen = {stable: traffic(1000)}
    drop(ports, V2, deploy=RECREATE)
    go(ports, 4)
    assert rollout(ports, V2).phase is Phase.BAKING
    return stable, deployment(ports, V2)


def test_stable_makes_room_and_the_canary_gets_all_traffic_and_is_promoted(ports):
    stable, canary = baking(ports)
    assert endpoint(ports).split.weights == {stable: 0, canary: 100}
    assert list(ports.fleet.running) == [canary]
    ports.metrics.seen = {canary: traffic(400)}
    ports.clock.tick(minutes=5)
    assert isinstance(go(ports), Promote)
    ports.clock.tick(minutes=2)
    go(ports, 2)
    assert endpoint(ports).deployments.keys() == {canary}
    assert kinds(ports) == ["rollout.opened", "rollout.recreating", "rollout.baking", "rollout.promoted"]
    with pytest.raises(Rejected, match="no previous deployment that is still warm"):
        manage.roll_back("digits", ports)


def test_what_fails_while_it_bakes_makes_room_for_stable_again(ports):
    stable, canary = baking(ports)
    ports.metrics.seen = {canary: traffic(400, errors=100)}
    go(ports, 4)
    assert rollout(ports, V2).phase is Phase.ROLLED_BACK
    assert "errors in 400 requests" in rollout(ports, V2).reason
    assert endpoint(ports).split.weights == {stable: 100}
    assert list(ports.fleet.running) == [stable]
    assert kinds(ports)[-2:] == ["rollout.returning", "rollout.rolled_back"]


def test_what_fails_to_start_makes_room_again_and_is_marked(ports):
    stable = live(ports)
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="ValueError: weights don't fit")
    drop(ports, V2, deploy=RECREATE)
    go(ports, 8)
    assert rollout(ports, V2).phase is Phase.FAILED
    assert Records(ports.registry).version(V2).value.unservable == "ValueError: weights don't fit"
    assert list(ports.fleet.running) == [stable]


def test_the_downtime_is_said_beforehand_from_what_was_measured(ports):
    stable = live(ports)
    ports.fleet.running[stable] = Running(FleetState.READY, ready=1, digest="x", start_s=90.0)
    drop(ports, V2, deploy=RECREATE)
    opened = ports.registry.timeline(rollout=rollout(ports, V2).id)[0]
    assert "nothing answers for about 1.5 minutes" in opened.message
    assert opened.data["downtime_s"] == 90.0


def test_a_newer_version_waits_until_room_was_made_whatever_the_plan_says(ports):
    _, canary = baking(ports)
    drop(ports, V3, deploy=RECREATE)
    assert rollout(ports, V3).phase is Phase.QUEUED
    ports.metrics.seen = {canary: traffic(400)}
    ports.clock.tick(minutes=5)
    go(ports, 2)
    assert rollout(ports, V2).phase is Phase.PROMOTED
    assert rollout(ports, V3).phase is Phase.STARTING


def test_before_stable_made_room_a_newer_version_takes_its_place(ports):
    live(ports)
    drop(ports, V2, deploy=RECREATE)
    drop(ports, V3, deploy=RECREATE)
    assert rollout(ports, V2).phase is Phase.SUPERSEDED


@pytest.mark.parametrize("errors", [0, 100])
@pytest.mark.parametrize("at", range(14))
def test_a_crash_at_any_turn_never_starts_two_and_ends_as_it_would_have(ports, at, errors):
    stable = live(ports)
    drop(ports, V2, deploy=RECREATE)
    for turn in range(40):
        if turn == at:
            ports.fleet.running.clear()
            restore(ports)
            begin_windows_anew(ports)
        ports.metrics.seen = {deployment(ports, V2): traffic(400, errors=errors), stable: traffic(400)}
        ports.clock.tick(seconds=61)
        settle(V2.prefix, ports)
        re_sync(ports)
        revive("digits", ports)
        go(ports)
    serving = deployment(ports, V1) if errors else deployment(ports, V2)
    assert rollout(ports, V2).phase is (Phase.ROLLED_BACK if errors else Phase.PROMOTED)
    assert endpoint(ports).split.weights == {serving: 100}
    assert list(ports.fleet.running) == [serving]
    assert endpoint(ports).asleep == ""
    assert all(r.value.phase in ENDS for r in Records(ports.registry).list(type(rollout(ports, V2))))


def test_it_needs_the_operators_leave_and_takes_no_steps():
    strict = world()
    strict.drop.put(f"{V1.prefix}deploy.yaml", b"placement: recreate")
    drop(strict, V1)
    found = strict.registry.get("drop", V1.prefix).body["report"]["findings"]
    assert "placement recreate is not among those that the operator allows" in found[0]["message"]


def test_where_no_two_can_share_a_device_co_resident_is_refused_with_the_reason():
    aws = world(no_co_resident="each has instances of its own")
    drop(aws, V1, deploy="placement: co_resident")
    found = aws.registry.get("drop", V1.prefix).body["report"]["findings"]
    assert "placement co_resident: each has instances of its own" in found[0]["message"]
