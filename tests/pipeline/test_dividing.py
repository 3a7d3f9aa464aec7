"""A person's own split: brought up first, in force by one write, kept, and in the way of rollouts until it is ended."""

from dataclasses import dataclass

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.errors import NotFound, NotYet, Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.split import Split
from chalicelib.pipeline import manage
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.dividing import ask_split, divide, end_split
from chalicelib.pipeline.first_rollouts import open_first
from chalicelib.pipeline.ports import ONE
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.register import register
from chalicelib.pipeline.restore import restore
from chalicelib.pipeline.tend import tend
from chalicelib.pipeline.wakeups import REGISTER
from tests.api_caller import Caller, registered
from tests.fakes_pipeline import FakeFleet, fake_ports

V1, V2, V3, V4 = (VersionRef("digits", v) for v in ("v1", "v2", "v3", "v4"))
FACES = VersionRef("faces", "v1")


@pytest.fixture
def ports():
    """`digits` serves v1; v2, v3 and a version of another model, which the operator granted, are registered."""
    ports = fake_ports(bounds=Bounds(grants={"digits": ("faces",)}))
    for ref in (V1, V2, FACES):
        registered(ports, str(ref))
    manage.start("digits", V1, ports)
    go(ports, 3)
    return ports


def go(ports, turns=1):
    for _ in range(turns):
        advance("digits", ports)
        divide("digits", ports)
        tend("digits", ports)


def endpoint(ports):
    return Records(ports.registry).endpoint("digits").value


def shares(ports):
    e = endpoint(ports)
    return {str(e.deployments[i].ref): weight for i, weight in e.split.weights.items()}


def told(ports):
    return [t.kind for t in ports.registry.timeline(subject="digits") if "split" in t.kind or "held" in t.kind]


HALVES = {"digits/v1": 50, "digits/v2": 50}


def test_a_split_is_in_force_once_its_versions_are_ready_and_not_before(ports):
    ports.fleet.becomes["v2"] = Running(FleetState.STARTING)
    ask_split("digits", HALVES, ports)
    go(ports, 3)
    assert shares(ports) == {"digits/v1": 100}
    ports.fleet.running[id_of(ports, V2)] = Running(FleetState.READY, ready=1, digest="sha256:digits/v2")
    go(ports)
    assert shares(ports) == HALVES
    assert told(ports) == ["endpoint.split_asked", "endpoint.split_set"]


def id_of(ports, ref):
    return next(i for i, d in endpoint(ports).deployments.items() if d.ref == ref)


def test_versions_of_several_models_divide_an_endpoint_where_the_operator_granted_it(ports):
    ask_split("digits", {"digits/v1": 34, "digits/v2": 33, "faces/v1": 33}, ports)
    go(ports, 2)
    assert shares(ports) == {"digits/v1": 34, "digits/v2": 33, "faces/v1": 33}
    registered(ports, "cats/v1")
    with pytest.raises(Rejected, match="belongs to model digits, so cats/v1 may not deploy"):
        ask_split("digits", {"digits/v1": 50, "cats/v1": 50}, ports)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"digits/v1": 60, "digits/v2": 50}, "don't sum to 100"),
        ({"digits/v1": 100}, "2 to 10 versions"),
        ({"digits/v1": 100, "digits/v2": 0}, "at least 1 %"),
        ({}, "2 to 10 versions"),
        ({"digits/v1": 50, "digits/v9": 50}, "digits/v9 is not registered"),
        ({"digits/v1": 50, "v2": 50}, "is not MODEL_ID/VERSION_ID"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_what_is_wrong(ports, weights, said):
    with pytest.raises(Rejected, match=said):
        ask_split("digits", weights, ports)
    assert told(ports) == []


def test_a_version_that_cannot_start_leaves_the_traffic_and_says_the_models_own_error(ports):
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="ValueError: weights don't fit")
    ask_split("digits", HALVES, ports)
    failed = id_of(ports, V2)
    go(ports, 2)
    assert shares(ports) == {"digits/v1": 100}
    assert not endpoint(ports).is_manual
    assert "weights don't fit" in ports.registry.timeline(subject="digits")[-1].message
    ports.clock.tick(minutes=2)
    go(ports)
    assert ports.fleet.stopped == [failed]


def test_a_version_that_failed_before_gets_another_start(ports):
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="out of memory")
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    del ports.fleet.becomes["v2"]
    ask_split("digits", HALVES, ports)
    go(ports, 3)
    assert shares(ports) == HALVES


@dataclass
class FullFleet(FakeFleet):
    """Has no room for anything more."""

    def ensure(self, deployment, capacity=ONE):
        if deployment.id not in self.running:
            raise Rejected("no more ml.g5.xlarge: ask for a higher quota", code="no_room")
        super().ensure(deployment, capacity)


def test_what_the_fleet_refuses_for_good_ends_the_wish_with_its_reason(ports):
    full = fake_ports(**{**vars(ports), "fleet": FullFleet(running=ports.fleet.running)})
    ask_split("digits", HALVES, full)
    go(full)
    assert (shares(full), endpoint(full).is_manual) == ({"digits/v1": 100}, False)
    assert full.registry.timeline(subject="digits")[-1].message == "no more ml.g5.xlarge: ask for a higher quota"


def test_no_split_while_a_rollout_moves_the_traffic(ports):
    manage.start("digits", V2, ports)
    with pytest.raises(Rejected, match="the rollout of digits/v2 moves the traffic of digits: wait") as refused:
        ask_split("digits", HALVES, ports)
    assert refused.value.code == "conflict"


def test_no_rollout_while_a_split_is_kept_and_a_drops_own_follows_its_end(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    ports.clock.tick(seconds=1)
    registered(ports, str(V3))
    for _ in range(2):
        open_first(Records(ports.registry).version(V3).value, ports)
    with pytest.raises(NotYet, match="modeldrop split digits --end"):
        manage.start("digits", V3, ports)
    re_sync(ports)
    assert told(ports)[-1] == "rollout.held_back"
    assert told(ports).count("rollout.held_back") == 1
    end_split("digits", V2, ports)
    go(ports)
    wake = REGISTER + V3.prefix
    assert wake in ports.timers.due
    register(V3.prefix, ports)
    assert Records(ports.registry).open_rollout(endpoint(ports)).value.ref == V3
    register(V3.prefix, ports)
    assert len([r for r in Records(ports.registry).list(Rollout) if r.value.ref == V3]) == 1


def test_what_a_person_gave_a_share_to_is_not_rolled_out_by_its_drop_any_more_nor_is_what_is_older(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    for ref in (V3, V4):
        ports.clock.tick(seconds=1)
        registered(ports, str(ref))
        open_first(Records(ports.registry).version(ref).value, ports)
    ask_split("digits", {"digits/v1": 50, "digits/v4": 50}, ports)
    go(ports, 2)
    end_split("digits", V1, ports)
    go(ports)
    re_sync(ports)
    assert Records(ports.registry).open_rollout(endpoint(ports)) is None
    assert manage.start("digits", V4, ports)["phase"] == "starting"  # a person may


def test_ending_it_promotes_the_version_that_has_all_traffic_and_keeps_the_other_warm(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    end_split("digits", V2, ports)
    go(ports)
    assert shares(ports) == {"digits/v2": 100}
    assert manage.roll_back("digits", ports)["split"] == {id_of(ports, V1): 100}


def test_it_ends_with_a_version_that_has_a_share(ports):
    with pytest.raises(Rejected, match="no manual split"):
        end_split("digits", V1, ports)
    ports.fleet.becomes["v2"] = Running(FleetState.STARTING)
    ask_split("digits", HALVES, ports)
    with pytest.raises(Rejected, match=r"digits/v2 has no share .*: digits/v1 100 %"):
        end_split("digits", V2, ports)
    with pytest.raises(NotFound, match="runs no version"):
        end_split("digits", V3, ports)
    end_split("digits", V1, ports)
    go(ports)
    assert (shares(ports), endpoint(ports).is_manual) == ({"digits/v1": 100}, False)


def test_a_rollback_gives_all_traffic_back_at_once(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    stable = id_of(ports, V1)
    assert manage.roll_back("digits", ports)["split"] == {stable: 100}
    go(ports)
    assert not endpoint(ports).is_manual
    assert (endpoint(ports).promoted, endpoint(ports).previous) == (stable, "")


def test_a_rollback_to_what_does_not_answer_is_refused(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    ports.fleet.running[id_of(ports, V1)] = Running(FleetState.FAILED)
    with pytest.raises(Rejected, match="digits/v1 is failed; end the split with"):
        manage.roll_back("digits", ports)


def test_a_split_that_was_changed_behind_our_back_is_restored(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    stored = Records(ports.registry).endpoint("digits")
    ports.registry.commit([stored.to(split=Split({id_of(ports, V1): 90, id_of(ports, V2): 10}, "x")).write])
    go(ports)
    assert shares(ports) == HALVES
    assert "restored" in ports.registry.timeline(subject="digits")[-1].message


def test_after_a_restart_all_its_versions_are_started_and_it_is_kept(ports):
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    again = fake_ports(**{**vars(ports), "fleet": FakeFleet()})
    restore(again)
    assert sorted(again.fleet.ensured) == sorted(endpoint(again).split.weights)
    again.clock.tick(hours=30)
    go(again, 2)
    assert shares(again) == HALVES
    assert again.fleet.stopped == []


def test_what_divides_gets_room_for_its_share_before_it_has_it(ports):
    stable = id_of(ports, V1)
    ports.fleet.running[stable] = Running(FleetState.READY, ready=4, digest="sha256:digits/v1", most=4)
    ports.fleet.becomes["v2"] = Running(FleetState.READY, ready=1, digest="sha256:digits/v2", most=4)
    ask_split("digits", HALVES, ports)
    go(ports, 2)
    assert shares(ports) == {"digits/v1": 100}
    assert ports.fleet.capacities[id_of(ports, V2)].at_least == 2
    ports.fleet.running[id_of(ports, V2)] = Running(FleetState.READY, ready=2, digest="sha256:digits/v2", most=4)
    go(ports)
    assert shares(ports) == HALVES


def test_the_api_asks_for_it_shows_it_and_ends_it(ports):
    caller = Caller(ports, scopes="deploy")
    put = caller.call("PUT", "/v1/endpoints/digits/split", {"weights": HALVES})
    assert (put.status, put.body["manual_split"]["asked"]) == (202, {id_of(ports, V1): 50, id_of(ports, V2): 50})
    go(ports, 2)
    shown = caller.get("/v1/endpoints/digits").body["manual_split"]
    assert shown == {"kept": {id_of(ports, V1): 50, id_of(ports, V2): 50}, "asked": None, "until": None}
    start = caller.post("/v1/endpoints/digits/rollouts", {"model_id": "digits", "version_id": "v2"})
    assert (start.status, start.error["code"]) == (409, "not_yet")
    assert caller.call("DELETE", "/v1/endpoints/digits/split?to=digits/v2").status == 202
    go(ports)
    assert caller.get("/v1/endpoints/digits").body["manual_split"] is None


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"weights": {"digits/v1": 100}}, "weights"),
        ({"weights": {"digits/v1": 50.5, "digits/v2": 49.5}}, "weights.digits/v1"),
        ({"weights": {"digits/v1": 100, "digits/v2": 0}}, "weights.digits/v2"),
        ({}, "weights"),
    ],
)
def test_a_body_that_is_no_split_names_the_field(ports, body, where):
    answer = Caller(ports).call("PUT", "/v1/endpoints/digits/split", body)
    assert (answer.status, answer.error["where"]) == (400, where)
