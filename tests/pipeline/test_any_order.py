"""Events may be lost, doubled and out of order: whatever sequence of wake-ups comes, some things always hold."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.version import Version
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle, traffic

REFS = [VersionRef("m", f"v{n}") for n in range(1, 5)]
SICK = VersionRef("m", "v3")
MAR = small_mar()

EVENTS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(REFS), st.sampled_from(["model.mar", "README.md", "deploy.yaml"])),
    st.tuples(st.just("look"), st.sampled_from(REFS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 6, 61, 700])),
    st.tuples(st.sampled_from(["advance", "tend", "re_sync", "announce", "sweep"])),
)


def happen(ports, event):
    match event:
        case ("put", ref, "model.mar"):
            ports.drop.put(ref.prefix + "model.mar", MAR)
        case ("put", ref, name):
            ports.drop.put(ref.prefix + name, b"steps: [20, 100]" if name == "deploy.yaml" else str(ref).encode())
        case ("look", ref):
            settle(ref.prefix, ports)
        case ("wait", seconds):
            ports.clock.tick(seconds=seconds)
        case ("advance",):
            see_traffic(ports)
            advance("m", ports)
        case ("tend",):
            tend("m", ports)
        case (verb,):
            {"re_sync": re_sync, "announce": announce, "sweep": sweep}[verb](ports)


def see_traffic(ports):
    for rollout in Records(ports.registry).list(Rollout):
        errors = 150 if rollout.value.ref == SICK else 0
        ports.metrics.seen[rollout.value.canary.id] = traffic(400, errors=errors)


def always_holds(ports):
    records = Records(ports.registry)
    rollouts = [r.value for r in records.list(Rollout)]
    for endpoint in (e.value for e in records.list(Endpoint)):
        weights = endpoint.split.weights
        assert not weights or sum(weights.values()) == 100
        assert set(weights) <= set(endpoint.deployments)
        assert not endpoint.promoted or endpoint.promoted in endpoint.deployments
        assert sum(r.is_open for r in rollouts) <= 1
    assert len({r.ref for r in rollouts}) == len(rollouts)  # a drop opens one rollout for each version, ever
    assert all(r.phase is not Phase.PROMOTED or not r.stable for r in rollouts if r.ref == SICK)
    registered = [t.subject for t in ports.registry.timeline(limit=10_000) if t.kind == "version.registered"]
    assert sorted(registered) == sorted(v.id for v in records.list(Version))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=60))
def test_no_sequence_of_wake_ups_breaks_what_always_holds_and_in_the_end_all_is_settled(events):
    clock = FakeClock()
    ports = fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock)
    for event in events:
        happen(ports, event)
        always_holds(ports)
    for _ in range(12):
        for event in [("wait", 61), ("re_sync",), *(("look", ref) for ref in REFS), ("advance",), ("tend",)]:
            happen(ports, event)
            always_holds(ports)
    whole = {o.key.split("/")[1] for o in ports.drop.list() if o.key.endswith("model.mar")}
    assert {v.value.ref.version_id for v in Records(ports.registry).list(Version)} == whole
    assert not [r for r in Records(ports.registry).list(Rollout) if r.value.is_open]
    announce(ports)
    assert len({t.id for t in ports.bus.published}) == len(ports.registry.timeline(limit=10_000))
