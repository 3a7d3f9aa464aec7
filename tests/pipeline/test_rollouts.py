"""From a registered version to a promoted, rolled back or superseded one, wake-up by wake-up."""

import json

import pytest

from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import LINGER
from chalicelib.domain.rollout import Hold, Phase, Promote, RollBack, Rollout
from chalicelib.pipeline import manage, views
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.restore import awaited, begin_windows_anew, restore
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from tests.fakes_pipeline import FakeFleet, fake_ports, settle
from tests.rollout_world import V1, V2, V3, count, deployment, drop, endpoint, go, live, rollout, world


@pytest.fixture
def ports():
    return world()


def test_a_first_version_is_started_and_then_has_all_traffic(ports):
    drop(ports, V1)
    go(ports)
    assert endpoint(ports).split.weights == {}
    assert isinstance(go(ports), Promote)
    assert endpoint(ports).split.weights == {deployment(ports, V1): 100}


def test_a_better_second_version_goes_through_every_step_and_is_promoted(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    canary = deployment(ports, V2)
    seen = []
    for _ in range(4):
        seen.append(endpoint(ports).split.weights[canary])
        count(ports, canary, stable)
        ports.clock.tick(seconds=61)
        last = go(ports)
    assert seen == [5, 25, 50, 100]
    assert isinstance(last, Promote) or last is None
    assert endpoint(ports).promoted == canary
    assert endpoint(ports).previous == stable


def test_a_failing_canary_goes_back_and_stable_is_never_touched(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    canary = deployment(ports, V2)
    count(ports, canary, stable, errors=40)
    assert isinstance(go(ports), RollBack)
    assert endpoint(ports).split.weights == {stable: 100}
    assert rollout(ports, V2).phase is Phase.ROLLED_BACK
    assert ports.fleet.stopped == []
    ports.clock.tick(seconds=LINGER.total_seconds())
    go(ports)
    assert ports.fleet.stopped == [canary]
    assert endpoint(ports).deployments.keys() == {stable}


def test_silence_never_promotes(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    for _ in range(200):
        ports.clock.tick(seconds=61)
        assert not isinstance(go(ports), Promote)
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V2): 5}


def test_a_version_whose_first_start_fails_is_marked_with_the_models_own_error(ports):
    stable = live(ports)
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="ValueError: weights don't fit")
    drop(ports, V2)
    go(ports, 2)
    assert rollout(ports, V2).phase is Phase.FAILED
    assert Records(ports.registry).version(V2).value.unservable == "ValueError: weights don't fit"
    assert endpoint(ports).split.weights == {stable: 100}


def test_a_newer_version_supersedes_the_running_rollout(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    drop(ports, V3)
    assert rollout(ports, V2).phase is Phase.SUPERSEDED
    assert endpoint(ports).split.weights == {stable: 100}
    go(ports, 2)
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V3): 5}


def test_a_split_that_was_changed_behind_our_back_is_told_as_drift_and_ends_the_rollout(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    stored = Records(ports.registry).endpoint("digits")
    canary = deployment(ports, V2)
    tampered = {**stored.write.body, "split": {"weights": {stable: 10, canary: 90}, "salt": ""}}
    asked = {stable: 95, canary: 5}
    ports.registry.commit([type(stored.write)("endpoint", "digits", stored.revision, tampered)])
    assert go(ports) == RollBack(f"the split is {{'{stable}': 10, '{canary}': 90}}, not {asked}", drift=True)
    assert endpoint(ports).split.weights == {stable: 100}
    told = [(t.kind, t.data["split"]) for t in ports.registry.timeline(subject="digits")[-2:]]
    assert told == [("rollout.drifted", {stable: 10, canary: 90}), ("rollout.rolled_back", {stable: 100})]


def test_a_canary_that_answers_with_other_bytes_is_told_as_drift_and_goes_back(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    ports.fleet.running[deployment(ports, V2)] = Running(FleetState.READY, ready=1, digest="of others")
    go(ports)
    assert endpoint(ports).split.weights == {stable: 100}
    assert [t.kind for t in ports.registry.timeline(subject="digits")[-2:]] == [
        "rollout.drifted",
        "rollout.rolled_back",
    ]


def test_after_promotion_the_old_deployment_stays_warm_for_a_while_and_then_goes(ports):
    first, second = promoted_second(ports)
    assert first in ports.fleet.running
    ports.clock.tick(minutes=11)
    go(ports)
    assert ports.fleet.stopped == [first]
    assert endpoint(ports).deployments.keys() == {second}


def promoted_second(ports):
    first = live(ports)
    drop(ports, V2)
    go(ports, 2)
    manage.promote("digits", ports)
    go(ports)
    return first, deployment(ports, V2)


def test_rolling_back_goes_to_the_warm_deployment_at_once_and_can_be_undone(ports):
    first, second = promoted_second(ports)
    assert manage.roll_back("digits", ports)["split"] == {first: 100}
    assert manage.roll_back("digits", ports)["split"] == {second: 100}


def test_rolling_back_when_nothing_is_warm_says_what_to_do(ports):
    live(ports)
    with pytest.raises(Rejected, match="start a rollout of an older version"):
        manage.roll_back("digits", ports)


def test_rolling_back_during_a_rollout_aborts_it(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    manage.roll_back("digits", ports)
    go(ports)
    assert rollout(ports, V2).phase is Phase.ABORTED
    assert endpoint(ports).split.weights == {stable: 100}


def test_a_paused_rollout_stays_but_a_failing_canary_still_goes_back(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    canary = deployment(ports, V2)
    manage.pause("digits", ports)
    count(ports, canary, stable)
    ports.clock.tick(minutes=10)
    assert isinstance(go(ports), Hold)
    count(ports, canary, stable, errors=40)
    assert isinstance(go(ports), RollBack)


def test_resuming_begins_the_steps_window_anew(ports):
    live(ports)
    drop(ports, V2)
    go(ports, 2)
    manage.pause("digits", ports)
    ports.clock.tick(minutes=10)
    manage.resume("digits", ports)
    assert rollout(ports, V2).step_since == ports.clock()
    assert not rollout(ports, V2).paused


def test_a_rolled_back_version_can_be_started_again_by_a_person_but_not_by_its_drop(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    count(ports, deployment(ports, V2), stable, errors=40)
    go(ports)
    settle(V2.prefix, ports)
    assert len(Records(ports.registry).list(Rollout)) == 2
    assert manage.start("digits", V2, ports)["phase"] == "starting"
    assert len(Records(ports.registry).list(Rollout)) == 3


def test_a_deployment_that_failed_to_start_is_started_anew_when_a_person_asks(ports):
    live(ports)
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="out of memory")
    drop(ports, V2)
    go(ports, 2)
    del ports.fleet.becomes["v2"]
    manage.start("digits", V2, ports)
    go(ports, 3)
    assert ports.fleet.stopped == [deployment(ports, V2)]
    assert isinstance(go(ports), Hold)
    assert deployment(ports, V2) in endpoint(ports).split.weights


@pytest.mark.parametrize("verb", [manage.pause, manage.resume, manage.promote, manage.abort])
def test_steering_without_an_open_rollout_or_an_endpoint_is_refused_with_the_reason(ports, verb):
    with pytest.raises(NotFound, match="made by the first version"):
        verb("digits", ports)
    live(ports)
    with pytest.raises(Rejected, match="no open rollout"):
        verb("digits", ports)


def test_stable_keeps_its_room_from_the_first_shift_until_it_is_no_longer_warm(ports):
    live(ports)
    stable = deployment(ports, V1)
    drop(ports, V2)
    go(ports)
    tend("digits", ports)
    assert ports.fleet.capacities[stable].may_scale_in  # nothing has moved yet
    go(ports, 2)
    tend("digits", ports)
    assert not ports.fleet.capacities[stable].may_scale_in
    manage.promote("digits", ports)
    go(ports)
    tend("digits", ports)
    assert not ports.fleet.capacities[stable].may_scale_in  # warm
    assert ports.fleet.capacities[deployment(ports, V2)].may_scale_in


def test_starting_what_serves_already_or_isnt_there_is_refused(ports):
    live(ports)
    with pytest.raises(Rejected, match="serves already"):
        manage.start("digits", V1, ports)
    with pytest.raises(NotFound, match="drop it first"):
        manage.start("digits", V3, ports)


def test_after_a_restart_the_fleet_is_asked_for_what_the_records_name_and_the_rollout_goes_on(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    canary = deployment(ports, V2)
    again = fake_ports(**{**vars(ports), "fleet": FakeFleet(becomes={"v2": Running(FleetState.STARTING)})})
    restore(again)
    assert sorted(again.fleet.ensured) == sorted([stable, canary])
    assert awaited(again) == [canary]
    again.fleet.running[canary] = Running(FleetState.READY, ready=1, digest=rollout(ports, V2).canary.digest)
    again.clock.tick(hours=1)
    begin_windows_anew(again)
    assert isinstance(go(again), Hold)
    assert endpoint(again).split.weights == {stable: 95, canary: 5}


def test_a_promoted_deployment_that_failed_for_good_is_given_another_start_by_the_re_sync(ports):
    stable = live(ports)
    ports.fleet.running[stable] = Running(FleetState.FAILED, reason="exited 5 times")
    go(ports)
    assert ports.fleet.observe(stable).state is FleetState.FAILED
    re_sync(ports)
    go(ports)
    assert ports.fleet.observe(stable).state is FleetState.READY
    assert "exited 5 times" in ports.registry.timeline(subject="digits")[-1].message


def test_what_serves_other_bytes_than_the_registered_is_told_once_and_not_stopped(ports):
    stable = live(ports)
    ports.fleet.running[stable] = Running(FleetState.READY, ready=1, digest="of others")
    for _ in range(3):
        re_sync(ports)
    told = [t.message for t in ports.registry.timeline(subject="digits") if t.kind == "deployment.drifted"]
    assert [message.partition(", not")[0] for message in told] == [f"{stable} answers with digest of others"]
    assert ports.fleet.stopped == []


def test_a_failed_canary_is_its_rollouts_business_and_not_revived(ports):
    live(ports)
    ports.fleet.becomes["v2"] = Running(FleetState.FAILED, reason="no such file")
    drop(ports, V2)
    go(ports)
    re_sync(ports)
    assert ports.fleet.stopped == []


def test_what_no_endpoint_names_is_swept_from_the_fleet(ports):
    stable = live(ports)
    ports.fleet.running |= {"stray": Running(FleetState.READY), "just-begun": Running(FleetState.STARTING)}
    ports.fleet.young = {"just-begun"}
    sweep(ports)
    assert ports.fleet.deployments() == ["just-begun", stable]
    assert [t.kind for t in ports.registry.timeline(subject="stray")] == ["deployment.swept"]


def test_sealed_copies_that_no_version_refers_to_are_swept_after_an_hour(ports):
    live(ports)
    kept = [o.key for o in ports.store.list()]
    ports.store.put("digits/v1/lost-attempt/model.mar", b"x")
    ports.store.put("_records/version/1.json", b"a registry's own")
    sweep(ports)
    assert len(ports.store.list()) == 3
    ports.clock.tick(hours=2)
    sweep(ports)
    assert [o.key for o in ports.store.list()] == ["_records/version/1.json", *kept]
    assert [t.kind for t in ports.registry.timeline(subject="digits/v1/lost-attempt/")] == ["copy.swept"]


def test_every_transition_is_published_once_in_order_and_again_only_if_it_wasnt_sent(ports):
    live(ports)
    announce(ports)
    announce(ports)
    told = ["drop.seen", "version.registered", "rollout.opened", "rollout.promoted"]
    assert [t.kind for t in ports.bus.published] == told


def test_an_endpoint_is_shown_with_what_runs_and_how_the_rollout_stands(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    canary = deployment(ports, V2)
    count(ports, canary, stable)
    shown = views.endpoint("digits", ports)
    assert shown["split"] == {stable: 95, canary: 5}
    assert shown["deployments"][canary]["state"] == "ready"
    assert shown["rollout"]["judgement"]["outcome"] == "pass"
    assert shown["rollout"]["traffic"]["canary"]["requests"] == 400
    assert json.dumps(views.version(V2, ports)) == json.dumps(views.versions("digits", ports)[1])
    assert [t["kind"] for t in views.rollout(shown["rollout"]["id"], ports)["timeline"]] == [
        "rollout.opened",
        "rollout.shifted",
    ]
