"""One version at a time: the rollout's next action, from literal snapshots."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.plan_words import plan_in_words
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import (
    Await,
    Bake,
    Extend,
    Hold,
    Observation,
    Phase,
    Plan,
    Promote,
    Recreate,
    Restart,
    Return,
    RollBack,
    Rollout,
    Start,
    StartStable,
    Stop,
)
from chalicelib.domain.split import Split
from chalicelib.domain.strategy import Gate, Placement, Strategy
from chalicelib.domain.traffic import Traffic

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources())
UP = Running(FleetState.READY, ready=1, digest="sha-2")
STABLE = Running(FleetState.READY, ready=1, digest="sha-1")
NOT_THERE = Running(FleetState.ABSENT)
COMING = Running(FleetState.STARTING)
GOING = Running(FleetState.STOPPING)
BROKEN = Running(FleetState.FAILED, reason="ValueError: bad weights")

PLAN = Plan(strategy=Strategy.BLUE_GREEN, steps=(100,), bake=5 * MINUTE, placement=Placement.RECREATE)
OPENED = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", PLAN, opened=NOW - MINUTE)
RECREATING = replace(OPENED, phase=Phase.RECREATING, step_since=NOW - MINUTE)
BAKING = replace(OPENED, phase=Phase.BAKING, step=0, step_since=NOW - 5 * MINUTE)
RETURNING = replace(OPENED, phase=Phase.RETURNING, then=Phase.ABORTED, reason="aborted by a person at 100 %")


def seen(canary: Running, stable: Running) -> Observation:
    return Observation(canary, stable, Split.between("v1-a", "v2-b", 100, "r-1"))


def bakes(**errors: int) -> Observation:
    return replace(seen(UP, NOT_THERE), canary_traffic=Traffic(100, **errors), stable_traffic=Traffic(200))


WORSE = "canary 30 errors in 100 requests, stable 0 in 200"


@pytest.mark.parametrize(
    ("rollout", "observed", "action"),
    [
        # Stable answers: nothing is started beside it, and everything that may hold a step holds this.
        (OPENED, seen(NOT_THERE, STABLE), Recreate("stable makes room for the canary")),
        (replace(OPENED, paused=True), seen(NOT_THERE, STABLE), Hold("paused before stable makes room")),
        (
            replace(OPENED, plan=replace(PLAN, gates=(Gate(100),))),
            seen(NOT_THERE, STABLE),
            Await(100, "waits for approval before 100 %"),
        ),
        (
            replace(OPENED, plan=replace(PLAN, windows=("Tue 00:00-24:00 UTC",))),
            seen(NOT_THERE, STABLE),
            Hold("outside of its windows until 2026-01-06 00:00 UTC", until=NOW + timedelta(hours=12)),
        ),
        (
            replace(OPENED, wish="abort"),
            seen(NOT_THERE, STABLE),
            RollBack("aborted by a person before stable made room", Phase.ABORTED),
        ),
        (replace(OPENED, wish="promote"), seen(NOT_THERE, STABLE), Recreate("stable makes room: promoted by a person")),
        (
            replace(OPENED, retry=True),
            seen(BROKEN, STABLE),
            Restart("digits/v2 failed before and gets another start"),
        ),
        # An endpoint's first version has nobody to make room.
        (replace(OPENED, stable=""), Observation(NOT_THERE, None, Split()), Start("digits/v2 doesn't run yet")),
        # Nothing answers: stable goes, the canary comes.
        (RECREATING, seen(NOT_THERE, STABLE), Stop("v1-a", "stable makes room: ready")),
        (RECREATING, seen(NOT_THERE, GOING), Stop("v1-a", "stable makes room: stopping")),
        (RECREATING, seen(NOT_THERE, NOT_THERE), Start("stable has made room for digits/v2")),
        (
            RECREATING,
            replace(seen(NOT_THERE, NOT_THERE), lacks="800 MB"),
            Hold("not started, for there is no room: 800 MB", until=NOW + 9 * MINUTE),
        ),
        (RECREATING, seen(COMING, NOT_THERE), Hold("starting", until=NOW + 9 * MINUTE)),
        (
            replace(RECREATING, step_since=NOW - 10 * MINUTE),
            seen(COMING, NOT_THERE),
            Return("not ready after 0:10:00: starting", Phase.FAILED),
        ),
        (RECREATING, seen(BROKEN, NOT_THERE), Return("ValueError: bad weights", Phase.FAILED, unservable=True)),
        (
            RECREATING,
            seen(replace(UP, digest="sha-9"), NOT_THERE),
            Return("the canary serves digest sha-9, not the registered sha-2", Phase.FAILED),
        ),
        (
            replace(RECREATING, wish="abort"),
            seen(COMING, NOT_THERE),
            Return("aborted by a person while it was recreated", Phase.ABORTED),
        ),
        (RECREATING, seen(UP, NOT_THERE), Bake("ready and warmed up")),
        (replace(RECREATING, plan=replace(PLAN, bake=0 * MINUTE)), seen(UP, NOT_THERE), Promote("ready and warmed up")),
        (
            replace(RECREATING, wish="promote"),
            seen(UP, NOT_THERE),
            Promote("promoted by a person before it was judged"),
        ),
        # All traffic, and stable isn't there: nothing halts, and going back is another recreation.
        (BAKING, bakes(), Promote(ENOUGH := "canary 0 errors in 100 requests, stable 0 in 200")),
        (BAKING, bakes(errors=30), Return(WORSE, Phase.ROLLED_BACK)),
        (replace(BAKING, wish="abort"), bakes(), Return("aborted by a person at 100 %", Phase.ABORTED)),
        (BAKING, seen(NOT_THERE, NOT_THERE), Return("the canary is absent", Phase.ROLLED_BACK)),
        (BAKING, seen(UP, NOT_THERE), Extend("canary has 0 of the 50 requests needed")),
        # On the way back.
        (RETURNING, seen(UP, NOT_THERE), Stop("v2-b", "the canary makes room: ready")),
        (RETURNING, seen(GOING, NOT_THERE), Stop("v2-b", "the canary makes room: stopping")),
        (RETURNING, seen(NOT_THERE, NOT_THERE), StartStable("the canary has made room for stable")),
        (RETURNING, seen(NOT_THERE, COMING), Hold("stable is starting")),
        (RETURNING, seen(NOT_THERE, BROKEN), Stop("v1-a", "stable failed to start again and gets another start")),
        (RETURNING, seen(NOT_THERE, STABLE), RollBack("aborted by a person at 100 %", Phase.ABORTED)),
    ],
)
def test_one_makes_room_before_the_other_is_started(rollout, observed, action):
    decided = decide(rollout, observed, NOW)
    if isinstance(action, Promote) and action.reason == ENOUGH:
        assert isinstance(decided, Promote)
        assert decided.reason.startswith(ENOUGH)
    else:
        assert decided == action


@pytest.mark.parametrize(
    ("start_s", "said"),
    [
        (240.0, "nothing answers for about 4.0 minutes, as long as stable took to start; going back isn't at once"),
        (0.0, "nothing answers for as long as it takes to start, which wasn't measured yet"),
    ],
)
def test_the_plan_says_beforehand_how_long_nothing_answers(start_s, said):
    assert said in plan_in_words(OPENED, start_s)
    assert said not in plan_in_words(replace(OPENED, plan=replace(PLAN, placement=Placement.SURGE)), start_s)
