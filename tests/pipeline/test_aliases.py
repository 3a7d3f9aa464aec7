"""Aliases of people's own: they move in one write, name only what runs, and keep that running."""

import pytest

from chalicelib.domain.deployment import Endpoint, FleetState, Running
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import LINGER
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.split import Split
from chalicelib.pipeline import manage
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.aliases import remove_alias, set_alias
from chalicelib.pipeline.ports import Write
from chalicelib.pipeline.records import Records, to_json
from chalicelib.pipeline.tend import tend
from tests.api_caller import Caller, registered
from tests.fakes_pipeline import fake_ports

V1, V2, V3 = (VersionRef("digits", v) for v in ("v1", "v2", "v3"))


def go(ports, turns=1):
    for _ in range(turns):
        advance("digits", ports)
        tend("digits", ports)


def promote(ports, ref):
    """Roll a version out, and return its deployment."""
    registered(ports, str(ref))
    manage.start("digits", ref, ports)
    go(ports)
    manage.promote("digits", ports)
    go(ports, 2)
    return endpoint(ports).promoted


def endpoint(ports):
    return Records(ports.registry).endpoint("digits").value


@pytest.fixture
def ports():
    return fake_ports()


@pytest.fixture
def first(ports):
    return promote(ports, V1)


def test_an_alias_moves_in_one_write_and_is_told(ports, first):
    assert set_alias("digits", "blue", V1, ports)["aliases"] == {"champion": first, "blue": first}
    second = promote(ports, V2)
    before = Records(ports.registry).endpoint("digits").revision
    shown = set_alias("digits", "blue", V2, ports)
    assert shown["aliases"] == {"champion": second, "previous": first, "blue": second}
    assert Records(ports.registry).endpoint("digits").revision == before + 1
    told = [t for t in ports.registry.timeline(subject="digits") if t.kind == "endpoint.alias_set"]
    assert told[-1].message == "blue is digits/v2, no longer digits/v1"


def test_setting_what_is_set_changes_and_tells_nothing(ports, first):
    set_alias("digits", "blue", V1, ports)
    before = Records(ports.registry).endpoint("digits").revision
    set_alias("digits", "blue", V1, ports)
    assert Records(ports.registry).endpoint("digits").revision == before


def test_a_version_that_does_not_run_is_refused_with_what_to_do(ports, first):
    registered(ports, str(V2))
    with pytest.raises(Rejected, match=r"digits/v2 is absent.*start a rollout") as refused:
        set_alias("digits", "blue", V2, ports)
    assert refused.value.code == "conflict"
    ports.fleet.becomes["v2"] = Running(FleetState.STARTING)
    manage.start("digits", V2, ports)
    go(ports)
    with pytest.raises(Rejected, match=r"digits/v2 is starting.*once it is ready"):
        set_alias("digits", "blue", V2, ports)


def test_a_canary_that_an_alias_names_runs_on_after_its_rollout_until_the_alias_moves(ports, first):
    registered(ports, str(V2))
    manage.start("digits", V2, ports)
    go(ports)
    canary = Records(ports.registry).open_rollout(endpoint(ports)).value.canary.id
    set_alias("digits", "blue", V2, ports)
    manage.abort("digits", ports)
    go(ports)
    ports.clock.tick(hours=3)
    go(ports, 2)
    assert endpoint(ports).split.weights == {first: 100}
    assert ports.fleet.stopped == []
    set_alias("digits", "blue", V1, ports)
    go(ports)
    assert ports.fleet.stopped == []  # a request may be on its way to it
    ports.clock.tick(seconds=LINGER.total_seconds())
    go(ports)
    assert ports.fleet.stopped == [canary]
    assert endpoint(ports).deployments.keys() == {first}


def test_an_alias_that_leaves_an_open_rollouts_canary_does_not_end_it(ports, first):
    registered(ports, str(V2))
    manage.start("digits", V2, ports)
    manage.pause("digits", ports)
    go(ports)
    set_alias("digits", "blue", V2, ports)
    remove_alias("digits", "blue", ports)
    ports.clock.tick(hours=1)
    go(ports)
    assert ports.fleet.stopped == []


def test_what_an_alias_names_is_started_again_after_a_crash(ports, first):
    promote(ports, V2)
    set_alias("digits", "blue", V1, ports)
    ports.clock.tick(hours=1)
    go(ports)
    assert endpoint(ports).previous == ""
    ports.fleet.running.clear()
    go(ports)
    assert ports.fleet.observe(first).state is FleetState.READY


def test_removing_an_alias_that_is_not_there_says_which_there_are(ports, first):
    with pytest.raises(NotFound, match="there are champion"):
        remove_alias("digits", "blue", ports)
    with pytest.raises(NotFound, match="no endpoint 'nobody'"):
        remove_alias("nobody", "blue", ports)


def test_an_endpoint_that_an_older_build_stored_has_no_aliases_and_no_split_by_hand(ports):
    body = to_json(Endpoint("old", "digits", split=Split({"a": 90, "b": 10}, "r-1")))
    older = {name: value for name, value in body.items() if name not in {"aliases", "kept", "asked", "by_hand"}}
    del older["split"]["ranges"]
    ports.registry.commit([Write("endpoint", "old", 0, older)])
    assert Records(ports.registry).endpoint("old").value == Endpoint(
        "old", "digits", split=Split({"a": 90, "b": 10}, "r-1")
    )


def test_aliases_are_set_and_removed_by_the_api(ports, first):
    caller = Caller(ports, scopes="deploy")
    body = {"model_id": "digits", "version_id": "v1"}
    put = caller.call("PUT", "/v1/endpoints/digits/aliases/blue", body)
    assert (put.status, put.body["aliases"]["blue"]) == (200, first)
    assert caller.call("PUT", "/v1/endpoints/digits/aliases/champion", body).status == 409
    removed = caller.call("DELETE", "/v1/endpoints/digits/aliases/blue")
    assert (removed.status, "blue" in removed.body["aliases"]) == (200, False)
    assert caller.call("DELETE", "/v1/endpoints/digits/aliases/blue").status == 404
