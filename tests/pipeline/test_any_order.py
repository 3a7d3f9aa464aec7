"""Events may be lost, doubled and out of order: whatever sequence of wake-ups comes, some things always hold."""

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import ENDS, Phase, Rollout
from chalicelib.domain.states import BEGINS, leads
from chalicelib.domain.version import Version
from chalicelib.pipeline import manage
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.restore import begin_windows_anew, restore
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle, traffic

REFS = [VersionRef("m", f"v{n}") for n in range(1, 5)]
NEW = BEGINS | {Phase.SUPERSEDED}  # one re-sync may open two
LOOKS = [("look", ref) for ref in REFS]
SICK = VersionRef("m", "v3")
MAR = small_mar()

WISHES = [
    "steps: [20, 100]",
    "strategy: blue_green\nbake: 1m",
    "gates: [5, 100]\nbake: 1m",
    "on_newer: queue",
    "on_newer: queue\nstrategy: linear\nstep_by: 50",
]

EVENTS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(REFS), st.sampled_from(["model.mar", "README.md"])),
    st.tuples(st.just("wish"), st.sampled_from(REFS), st.sampled_from(WISHES)),
    st.tuples(st.just("look"), st.sampled_from(REFS)),
    st.tuples(st.just("drop"), st.sampled_from(REFS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 6, 61, 700])),
    st.tuples(
        st.sampled_from(["advance", "tend", "re_sync", "announce", "sweep", "approve", "abort", "pause", "resume"])
    ),
)


def take(event, ports):
    """Let something happen; every rollout is then in a phase that the table of states lists after its last."""
    before = phases(ports)
    happen(ports, event)
    for rollout, after in phases(ports).items():
        was = before.get(rollout)
        assert was == after or (leads(was, after) if was else after in NEW)
    always_holds(ports)


def in_full(event):
    """Return what a drop consists of, when nothing disturbs it."""
    match event:
        case ("drop", ref):
            return [("put", ref, "model.mar"), ("wait", 6), ("look", ref), ("advance",), ("advance",)]
    return [event]


def phases(ports):
    return {r.id: r.value.phase for r in Records(ports.registry).list(Rollout)}


def crash(ports):
    """Lose every replica and start again."""
    ports.fleet.running.clear()
    restore(ports)
    begin_windows_anew(ports)


def happen(ports, event):
    match event:
        case ("put", ref, name):
            ports.drop.put(ref.prefix + name, MAR if name == "model.mar" else str(ref).encode())
        case ("wish", ref, text):
            ports.drop.put(ref.prefix + "deploy.yaml", text.encode())
        case ("look", ref):
            settle(ref.prefix, ports)
        case ("wait", seconds):
            ports.clock.tick(seconds=seconds)
        case (verb,):
            see_traffic(ports)
            VERBS[verb](ports)


def asked(verb):
    def ask(ports):
        with suppress(Rejected):
            verb("m", ports)

    return ask


VERBS = {
    "advance": lambda ports: advance("m", ports),
    "tend": lambda ports: tend("m", ports),
    "re_sync": re_sync,
    "announce": announce,
    "sweep": sweep,
    "crash": crash,
    **{name: asked(getattr(manage, name)) for name in ("approve", "abort", "pause", "resume")},
}


def unheld(ports):
    """What a person does in the end so that nothing waits for them."""
    paused = any(r.value.paused and r.value.is_open for r in Records(ports.registry).list(Rollout))
    return [("resume",)] if paused else []


def see_traffic(ports):
    for rollout in Records(ports.registry).list(Rollout):
        errors = 150 if rollout.value.ref == SICK and rollout.value.is_open else 0  # a sick stable holds everything
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=60))
def test_no_sequence_of_wake_ups_breaks_what_always_holds_and_in_the_end_all_is_settled(events):
    clock = FakeClock()
    ports = fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock)
    for event in events:
        for each in in_full(event):
            take(each, ports)
    for _ in range(20):
        for event in [("wait", 61), ("re_sync",), *LOOKS, *unheld(ports), ("approve",), ("advance",), ("tend",)]:
            take(event, ports)
    whole = {o.key.split("/")[1] for o in ports.drop.list() if o.key.endswith("model.mar")}
    assert {v.value.ref.version_id for v in Records(ports.registry).list(Version)} == whole
    assert all(r.value.phase in ENDS for r in Records(ports.registry).list(Rollout))
    announce(ports)
    assert len({t.id for t in ports.bus.published}) == len(ports.registry.timeline(limit=10_000))
