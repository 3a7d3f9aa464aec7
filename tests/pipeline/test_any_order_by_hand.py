"""Whatever people ask for, in whatever order, between whatever wake-ups: the split is whole, and what it names runs."""

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.deployment import Endpoint, FleetState, Running
from chalicelib.domain.errors import NotYet, Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline import manage
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.aliases import remove_alias, set_alias
from chalicelib.pipeline.dividing import ask_split, divide, end_split
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from tests.api_caller import registered
from tests.fakes_pipeline import fake_ports, traffic

REFS = [VersionRef("m", f"v{n}") for n in range(1, 5)]
PEOPLE = {"rollback": manage.roll_back, "promote": manage.promote, "abort": manage.abort}
WAKE_UPS = {"advance": advance, "tend": tend, "divide": divide}
one, some = st.sampled_from(REFS), st.lists(st.sampled_from(REFS), min_size=2, max_size=3, unique=True)
EVENTS = st.one_of(
    st.tuples(st.just("split"), some, st.integers(1, 97)),
    st.tuples(st.sampled_from(["end", "start", "alias", "breaks", "mends"]), one),
    st.tuples(st.sampled_from([*PEOPLE, "unalias", "re_sync", "sweep"])),
    st.tuples(st.sampled_from([*WAKE_UPS])),
    st.tuples(st.just("wait"), st.sampled_from([1, 61, 700])),
)


def ask(ports, event):
    """Ask for what a person asks for."""
    match event:
        case ("split", refs, first):
            rest = [1] * (len(refs) - 2)
            weights = zip(map(str, refs), [first, *rest, 100 - first - sum(rest)], strict=True)
            ask_split("m", dict(weights), ports)
        case ("end", ref):
            end_split("m", ref, ports)
        case ("start", ref):
            manage.start("m", ref, ports)
        case ("alias", ref):
            set_alias("m", "mine", ref, ports)
        case ("unalias",):
            remove_alias("m", "mine", ports)
        case (verb,):
            PEOPLE[verb]("m", ports)


def happen(ports, event):
    match event:
        case ("breaks", ref):
            ports.fleet.becomes[ref.version_id] = Running(FleetState.FAILED, reason="no room")
        case ("mends", ref):
            ports.fleet.becomes.pop(ref.version_id, None)
        case ("wait", seconds):
            ports.clock.tick(seconds=seconds)
        case ("re_sync" | "sweep" as verb,):
            {"re_sync": re_sync, "sweep": sweep}[verb](ports)
        case (verb,) if verb in WAKE_UPS:
            WAKE_UPS[verb]("m", ports)
        case _:
            ask(ports, event)


def always_holds(ports):
    endpoint = Records(ports.registry).endpoint("m").value
    assert sum(endpoint.split.weights.values()) == 100
    assert endpoint.named <= endpoint.deployments.keys()
    assert not (endpoint.is_manual and Records(ports.registry).open_rollout(endpoint))
    assert not endpoint.kept or sum(endpoint.kept.weights.values()) == 100


def settled(ports):
    """Take every wake-up often enough, with good traffic, until nothing is on its way."""
    ports.fleet.becomes.clear()
    for _ in range(20):
        ports.clock.tick(seconds=61)
        ports.metrics.seen = {id_: traffic(4000) for id_ in ports.fleet.running}
        for event in (("re_sync",), ("advance",), ("divide",), ("tend",)):
            happen(ports, event)
            always_holds(ports)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=40))
def test_no_sequence_of_wishes_and_wake_ups_breaks_the_split_or_leaves_anything_running(events):
    ports = fake_ports()
    for ref in REFS:
        ports.clock.tick(seconds=1)
        registered(ports, str(ref))
    manage.start("m", REFS[0], ports)
    for verb in ("advance", "tend", "advance"):
        happen(ports, (verb,))
    for event in events:
        with suppress(Rejected, NotYet):  # much of what people ask for isn't possible as things stand
            happen(ports, event)
        always_holds(ports)
    settled(ports)
    endpoint = Records(ports.registry).list(Endpoint)[0].value
    assert endpoint.asked is None
    assert not endpoint.kept or endpoint.split.weights == endpoint.kept.weights
    assert endpoint.deployments.keys() == endpoint.named  # nothing that nobody needs is kept
    assert set(ports.fleet.running) == set(endpoint.named)
    assert {ports.fleet.observe(id_).state for id_ in endpoint.split.weights} == {FleetState.READY}
