"""A version that goes to several endpoints: a rollout for each, judged apart, and none lost."""

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.dividing import ask_split, divide, end_split
from chalicelib.pipeline.first_rollouts import missing
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.register import register
from chalicelib.pipeline.tend import tend
from chalicelib.pipeline.validate import look
from tests.crash_world import Fuse, World, survive
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle, traffic

V1, V2 = (VersionRef("m", v) for v in ("v1", "v2"))
BOTH = b"endpoints: [a, b]"


@pytest.fixture
def ports():
    clock = FakeClock()
    return fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock)


def put(bucket, ref):
    bucket.put(f"{ref.prefix}model.mar", small_mar())
    bucket.put(f"{ref.prefix}deploy.yaml", BOTH)


def drop(ports, ref):
    put(ports.drop, ref)
    ports.clock.tick(seconds=30)
    settle(ref.prefix, ports)


def go(ports, turns=1):
    for _ in range(turns):
        for name in ("a", "b"):
            advance(name, ports)
            divide(name, ports)
            tend(name, ports)


def phases(ports, ref):
    rollouts = [r.value for r in Records(ports.registry).list(Rollout) if r.value.ref == ref]
    return {r.endpoint: r.phase for r in rollouts}


def canary(ports, name):
    return Records(ports.registry).open_rollout(endpoint(ports, name)).value.canary.id


def endpoint(ports, name):
    return Records(ports.registry).endpoint(name).value


def test_each_endpoint_has_its_own_rollout_deployment_and_owner(ports):
    drop(ports, V1)
    go(ports, 2)
    assert phases(ports, V1) == {"a": Phase.PROMOTED, "b": Phase.PROMOTED}
    assert endpoint(ports, "a").owner == endpoint(ports, "b").owner == "m"
    assert endpoint(ports, "a").promoted != endpoint(ports, "b").promoted
    assert len(ports.fleet.running) == 2
    assert Records(ports.registry).endpoint("m") is None


def test_each_endpoint_judges_by_its_own_traffic(ports):
    drop(ports, V1)
    go(ports, 2)
    drop(ports, V2)
    go(ports, 2)
    good, bad = canary(ports, "a"), canary(ports, "b")
    stable = {endpoint(ports, name).promoted: traffic(4000) for name in ("a", "b")}
    for _ in range(4):
        ports.metrics.seen = {good: traffic(400), bad: traffic(400, errors=100), **stable}
        ports.clock.tick(seconds=61)
        go(ports)
    assert phases(ports, V2) == {"a": Phase.PROMOTED, "b": Phase.ROLLED_BACK}


def test_a_split_at_one_endpoint_holds_back_its_rollout_only(ports):
    for ref in (V1, V2):
        drop(ports, ref)
        go(ports, 2)
    for name in ("a", "b"):
        stored = Records(ports.registry).open_rollout(endpoint(ports, name))
        ports.registry.commit([stored.to(wish="promote").write])
    go(ports, 2)
    ask_split("a", {"m/v1": 50, "m/v2": 50}, ports)
    go(ports)
    v3 = VersionRef("m", "v3")
    drop(ports, v3)
    assert phases(ports, v3) == {"b": Phase.STARTING}
    assert [(first.ref, first.endpoint) for first in missing(ports)] == [(v3, "a")]
    end_split("a", V2, ports)
    go(ports)
    register(v3.prefix, ports)
    assert phases(ports, v3) == {"a": Phase.STARTING, "b": Phase.STARTING}
    assert missing(ports) == []


def test_a_drop_that_the_operators_bounds_no_longer_allow_is_held_back_and_said_once(ports):
    drop(ports, V1)
    go(ports, 2)
    owned = Records(ports.registry).endpoint("b").to(owner="others")
    ports.registry.commit([owned.write])
    put(ports.drop, V2)
    ports.clock.tick(seconds=30)
    granted = fake_ports(**{**vars(ports), "bounds": Bounds(grants={"b": ("m",)})})
    look(V2.prefix, granted)
    register(V2.prefix, ports)
    for _ in range(3):
        re_sync(ports)
    assert phases(ports, V2) == {"a": Phase.STARTING}
    told = [t for t in ports.registry.timeline() if t.kind == "rollout.held_back"]
    assert [(t.subject, "belongs to model others" in t.message) for t in told] == [("b", True)]
    re_sync(granted)
    assert phases(ports, V2) == {"a": Phase.STARTING, "b": Phase.STARTING}


# --- whatever call the process dies at -------------------------------------------------------------------------------
def run(fuse):
    """Drop a version for two endpoints, with one crash, and return how it ended."""
    world = World()
    ports = world.start(fuse)
    put(world.drop, V1)
    for _ in range(5):
        ports = survive(ports, world, fuse)
    records = Records(world.registry)
    return {
        "rollouts": sorted((r.value.endpoint, r.value.phase) for r in records.list(Rollout)),
        "splits": {e.id: sum(e.value.split.weights.values()) for e in records.list(Endpoint)},
        "told": sorted({(t.kind, t.subject) for t in world.bus.published}),
    }


UNDISTURBED = Fuse()
EXPECTED = run(UNDISTURBED)


def test_undisturbed_both_endpoints_serve_it():
    assert EXPECTED["rollouts"] == [("a", "promoted"), ("b", "promoted")]
    assert EXPECTED["splits"] == {"a": 100, "b": 100}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, UNDISTURBED.count + 1))
def test_a_crash_at_any_call_leaves_no_endpoint_out(at, after):
    assert run(Fuse(at, after=after)) == EXPECTED
