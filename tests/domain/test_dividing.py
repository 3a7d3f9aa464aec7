"""What happens next to a person's own split: literal snapshots, and the one thing that is done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.deployment import Deployment, Endpoint, FleetState, Resources, Running
from chalicelib.domain.dividing import (
    Await,
    Divide,
    GiveUp,
    Restart,
    asked_for,
    champion_again,
    decide_split,
    divided,
    given_up,
    restarted,
    rooms_of,
)
from chalicelib.domain.moves import LINGER, without_retired
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.split import ManualSplit, Split

NOW = datetime(2026, 1, 2, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=10)
WARM = timedelta(minutes=30)


def deployment(name):
    return Deployment(name, "digits", VersionRef("digits", name), f"sha256:{name}", "sealed/", Resources())


def ready(name, replicas=1, **more):
    return Running(FleetState.READY, ready=replicas, digest=f"sha256:{name}", **more)


A, B, C = deployment("a"), deployment("b"), deployment("c")
ONE = Endpoint("digits", "digits", {"a": A}, Split({"a": 100}, "r-1"), promoted="a")
HALF = ManualSplit("split-1", {"a": 50, "b": 50}, UNTIL)
THIRDS = ManualSplit("split-2", {"a": 34, "b": 33, "c": 33}, UNTIL)
ASKED = asked_for(ONE, HALF, {"b": B}, NOW)
KEPT = divided(ASKED, WARM, NOW)
UP = {"a": ready("a"), "b": ready("b")}
FAILED, SILENT = Running(FleetState.FAILED, reason="no such file"), Running(FleetState.FAILED)
HALVES = "digits/a 50 %, digits/b 50 %"


@pytest.mark.parametrize(
    ("endpoint", "seen", "now", "done"),
    [
        (ONE, {}, NOW, None),
        (ASKED, UP, NOW, Divide(HALVES)),
        (ASKED, {**UP, "b": Running(FleetState.ABSENT)}, NOW, Await("digits/b is absent")),
        (ASKED, {**UP, "b": Running(FleetState.STARTING)}, NOW, Await("digits/b is starting")),
        (ASKED, {**UP, "b": Running(FleetState.READY, ready=1)}, NOW, Await("digits/b is ready")),  # and mute
        (ASKED, {**UP, "b": ready("b", most=4)}, NOW, Divide(HALVES)),
        (ASKED, {"a": ready("a", 4), "b": ready("b", most=4)}, NOW, Await("digits/b has 1 of 2 ready replicas")),
        (ASKED, {"a": ready("a", 4), "b": ready("b")}, NOW, Divide(HALVES)),  # it has all it can
        (
            ASKED,
            {**UP, "b": Running(FleetState.STARTING)},
            UNTIL,
            GiveUp("not ready in time: digits/b is starting"),
        ),
        (ASKED, {**UP, "b": FAILED}, NOW, GiveUp("digits/b failed: no such file")),
        (ASKED, {**UP, "b": SILENT}, NOW, GiveUp("digits/b failed: it said nothing")),
        (
            ASKED,
            {**UP, "b": ready("other")},
            NOW,
            GiveUp("digits/b answers with digest sha256:other, not the registered sha256:b"),
        ),
        (replace(ASKED, asked=replace(HALF, retry=("b",))), {**UP, "b": SILENT}, NOW, Restart(("b",))),
        (KEPT, UP, NOW, None),
        (KEPT, {**UP, "b": SILENT}, NOW + timedelta(days=9), None),
        (
            replace(KEPT, split=Split({"a": 90, "b": 10}, "x")),
            UP,
            NOW,
            Divide("the split is {'a': 90, 'b': 10}: restored to " + HALVES),
        ),
    ],
)  # fmt: skip
def test_one_thing_is_done_next(endpoint, seen, now, done):
    assert decide_split(endpoint, seen, now) == done


def test_a_share_needs_its_part_of_the_replicas_that_answer():
    asked = asked_for(KEPT, THIRDS, {"c": C}, NOW)
    assert rooms_of(asked, {"a": ready("a", 3), "b": ready("b", 3)}) == {"a": 3, "b": 2, "c": 2}
    assert rooms_of(KEPT, {"a": ready("a", 3), "b": ready("b", 3)}) == {}


def test_while_it_is_asked_for_traffic_stays_as_it_is_and_its_deployments_are_needed():
    assert ASKED.split == ONE.split
    assert ASKED.named == {"a", "b"}
    assert ASKED.is_manual


def test_in_force_it_is_kept_and_stable_stays_promoted():
    assert (KEPT.split.weights, KEPT.promoted, KEPT.asked, KEPT.kept) == ({"a": 50, "b": 50}, "a", None, HALF)


def test_what_a_split_no_longer_names_retires():
    three = divided(asked_for(KEPT, THIRDS, {"c": C}, NOW), WARM, NOW)
    two = divided(asked_for(three, replace(HALF, weights={"a": 10, "b": 90}), {}, NOW), WARM, NOW)
    assert two.retiring == {"c": NOW + LINGER}
    assert without_retired(two, NOW + LINGER).deployments.keys() == {"a", "b"}


def test_one_that_is_given_up_leaves_what_is_in_force():
    left = given_up(asked_for(KEPT, THIRDS, {"c": C}, NOW), NOW)
    assert (left.split, left.kept, left.asked, left.retiring) == (KEPT.split, HALF, None, {"c": NOW + LINGER})


def test_asking_anew_before_the_first_is_in_force_lets_go_of_what_only_the_first_named():
    again = asked_for(ASKED, replace(HALF, weights={"a": 50, "c": 50}), {"c": C}, NOW)
    assert again.retiring == {"b": NOW + LINGER}
    assert asked_for(again, HALF, {"b": B}, NOW).retiring == {"c": NOW + LINGER}


@pytest.mark.parametrize(("to", "promoted", "previous", "until"), [("b", "b", "a", NOW + WARM), ("a", "a", "", None)])
def test_ending_promotes_the_one_that_has_all_traffic_and_keeps_what_was_promoted_warm(to, promoted, previous, until):
    ending = asked_for(KEPT, ManualSplit("end-1", {to: 100}, UNTIL, ends=True), {}, NOW)
    after = divided(ending, WARM, NOW)
    assert (after.split.weights, after.promoted, after.previous) == ({to: 100}, promoted, previous)
    assert after.previous_until == until
    assert not after.is_manual
    assert after.retiring.keys() == {"a", "b"} - {promoted, previous}


def test_a_rollback_gives_all_to_what_was_promoted_at_once_and_ends_in_the_same_way():
    back = champion_again(KEPT, NOW)
    assert (back.split.weights, back.kept) == ({"a": 100}, None)
    done = decide_split(back, UP, NOW)
    assert isinstance(done, Divide)
    after = divided(back, WARM, NOW)
    assert (after.promoted, after.previous, after.is_manual) == ("a", "", False)
    assert after.split.weights == {"a": 100}


def test_a_start_is_given_once():
    assert restarted(replace(ASKED, asked=replace(HALF, retry=("b",)))).asked == HALF
    assert restarted(ONE) == ONE
    assert divided(ONE, WARM, NOW) == ONE
