"""Baking, gates and windows: the rollout's next action, from literal snapshots."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import (
    Approve,
    Await,
    Bake,
    Extend,
    Hold,
    Observation,
    OnInconclusive,
    Phase,
    Plan,
    Promote,
    RollBack,
    Rollout,
    Shift,
)
from chalicelib.domain.split import Split
from chalicelib.domain.strategy import Gate, Strategy
from chalicelib.domain.traffic import Traffic

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)

CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources())
READY = Running(FleetState.READY, ready=1, digest="sha-2")
STABLE = Running(FleetState.READY, ready=1, digest="sha-1")


def split(weight: int) -> Split:
    return Split.between("v1-a", "v2-b", weight, "r-1")


# --- all traffic at once, and the bake ---------------------------------------------------------------------------
BLUE_GREEN = Plan(strategy=Strategy.BLUE_GREEN, steps=(100,), bake=5 * MINUTE)
AT_ONCE = Plan(strategy=Strategy.ALL_AT_ONCE, steps=(100,))
STARTING = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", BLUE_GREEN, opened=NOW - MINUTE)
NO_TRAFFIC = Observation(READY, STABLE, Split({"v1-a": 100}), stable_traffic=Traffic(200))
BAKING = replace(STARTING, phase=Phase.BAKING, step=0, step_since=NOW - 5 * MINUTE)
GOOD = Observation(READY, STABLE, split(100), Traffic(100), Traffic(200))
BAD = replace(GOOD, canary_traffic=Traffic(40, errors=12))
THIN = replace(GOOD, canary_traffic=Traffic(10))
CANARY_BAKES = replace(BAKING, plan=Plan(bake=5 * MINUTE), step=3)
ENOUGH = "canary 0 errors in 100 requests, stable 0 in 200"
ENOUGH += "; canary 0 non-finite answers in 100 requests, stable 0 in 200"
ENOUGH += "; canary 0 4xx answers in 100 requests, stable 0 in 200"
ALONE = "canary 0 errors in 100 requests; canary 0 non-finite answers in 100 requests"
ALONE += "; canary 0 4xx answers in 100 requests"
TOO_FEW = "canary has 10 of the 50 requests needed"


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        # Before: everything is up and checked, or nothing is moved.
        (STARTING, NO_TRAFFIC, Bake("ready and warmed up")),
        (
            STARTING,
            replace(NO_TRAFFIC, stable=replace(STABLE, ready=3)),
            Hold("100 % needs 3 ready replicas, the canary has 1"),
        ),
        (replace(STARTING, plan=AT_ONCE), NO_TRAFFIC, Promote("ready and warmed up")),
        (replace(STARTING, plan=replace(AT_ONCE, bake=MINUTE)), NO_TRAFFIC, Bake("ready and warmed up")),
        (
            replace(STARTING, stable=""),
            replace(NO_TRAFFIC, stable=None),
            Promote("first version of the endpoint: ready and warmed up"),
        ),
        # A canary that passed its last step bakes, if that was asked for.
        (
            replace(CANARY_BAKES, phase=Phase.STEPPING, step=2),
            replace(GOOD, split=split(50)),
            Bake(ENOUGH),
        ),
        # While it bakes.
        (BAKING, GOOD, Promote(ENOUGH)),
        (CANARY_BAKES, GOOD, Promote(ENOUGH)),
        (BAKING, BAD, RollBack("canary 12 errors in 40 requests, stable 0 in 200")),
        (replace(BAKING, step_since=NOW), BAD, RollBack("canary 12 errors in 40 requests, stable 0 in 200")),
        (replace(BAKING, step_since=NOW), GOOD, Hold("at 100 % until the bake's time is over", NOW + 5 * MINUTE)),
        (replace(BAKING, paused=True), GOOD, Hold("paused at 100 %")),
        (replace(BAKING, paused=True), BAD, RollBack("canary 12 errors in 40 requests, stable 0 in 200")),
        # Stable's last window is no yardstick when it was too thin or sick: then the canary is judged by itself.
        (BAKING, replace(GOOD, stable_traffic=Traffic(19)), Promote(ALONE)),
        (BAKING, replace(GOOD, stable_traffic=Traffic(200, errors=100)), Promote(ALONE)),
        (BAKING, replace(BAD, stable_traffic=Traffic()), RollBack("canary 12 errors in 40 requests")),
        # Silence is no success, with all traffic neither.
        (BAKING, THIN, Extend(TOO_FEW)),
        (replace(BAKING, extensions=1), THIN, Hold(TOO_FEW, until=NOW + 5 * MINUTE)),
        (
            replace(BAKING, extensions=3, step_since=NOW - 20 * MINUTE),
            THIN,
            Hold(f"inconclusive, waits for a person or for evidence: {TOO_FEW}"),
        ),
        (
            replace(BAKING, plan=replace(BLUE_GREEN, max_extensions=0, on_inconclusive=OnInconclusive.ABORT)),
            THIN,
            RollBack(f"inconclusive: {TOO_FEW}", Phase.ABORTED),
        ),
        # What a person wishes, and what became of both.
        (replace(BAKING, wish="promote"), THIN, Promote("promoted by a person at 100 %")),
        (replace(BAKING, wish="abort"), GOOD, RollBack("aborted by a person at 100 %", Phase.ABORTED)),
        (
            BAKING,
            replace(GOOD, canary=Running(FleetState.FAILED, reason="killed")),
            RollBack("the canary is failed: killed"),
        ),
        (
            BAKING,
            replace(BAD, stable=Running(FleetState.STARTING)),
            Hold("halted: stable is starting, so there is nothing to go back to"),
        ),
        (
            BAKING,
            replace(GOOD, split=split(0)),
            RollBack("the split is {'v1-a': 100}, not {'v2-b': 100}", drift=True),
        ),
    ],
)
def test_all_traffic_at_once_is_judged_while_it_bakes(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action


# --- gates and windows -------------------------------------------------------------------------------------------
GATED = Plan(steps=(5, 100), gates=(Gate(5), Gate(100, timeout=60 * MINUTE)))
AT_5 = Rollout(
    "r-1", "digits", CANARY.ref, CANARY, "v1-a", GATED, NOW - MINUTE, Phase.STEPPING, step=0, step_since=NOW - MINUTE
)
WAITING = replace(AT_5, gate=100, gate_since=NOW - 59 * MINUTE)
ASKED = replace(AT_5, plan=Plan(steps=(5, 100), gates=(Gate(100, ask="board"),)))
GATED_START = replace(AT_5, phase=Phase.STARTING, step=-1, step_since=None)
PASSED = replace(GOOD, split=split(5))
FAILED = replace(BAD, split=split(5))
SILENT = replace(THIN, split=split(5))
CLOSED = "outside of its windows until 2026-01-05 22:00 UTC"
AT_NIGHT = replace(AT_5, plan=Plan(steps=(5, 100), windows=("daily 22:00-04:00 UTC",)))
TEN = datetime(2026, 1, 5, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        (GATED_START, NO_TRAFFIC, Await(5, "waits for approval before 5 %")),
        (replace(GATED_START, gate=5), NO_TRAFFIC, Hold("waits for approval before 5 %")),
        (replace(GATED_START, approved=(5,)), NO_TRAFFIC, Shift(0, "ready and warmed up")),
        (AT_5, PASSED, Await(100, "waits for approval before 100 %")),
        (AT_5, SILENT, Extend(TOO_FEW)),  # a gate is reached with a passing verdict only
        (WAITING, PASSED, Hold("waits for approval before 100 %", until=NOW + MINUTE)),
        (WAITING, SILENT, Hold("waits for approval before 100 %", until=NOW + MINUTE)),
        (WAITING, FAILED, RollBack("canary 12 errors in 40 requests, stable 0 in 200")),
        (
            replace(WAITING, gate_since=NOW - 60 * MINUTE),
            PASSED,
            RollBack("nobody approved 100 % within 1:00:00", Phase.ABORTED),
        ),
        (replace(ASKED, gate=100), replace(PASSED, agreed=True), Approve(100, "board agreed to 100 %")),
        (replace(ASKED, gate=100), replace(SILENT, agreed=True), Approve(100, "board agreed to 100 %")),
        (
            replace(ASKED, gate=100),
            replace(FAILED, agreed=True),
            RollBack("canary 12 errors in 40 requests, stable 0 in 200"),
        ),
        (replace(WAITING, wish="promote"), PASSED, Promote("promoted by a person at 5 %")),
        (replace(AT_5, approved=(5, 100)), PASSED, Promote(ENOUGH)),
        (replace(AT_5, approved=(5, 100)), SILENT, Extend(TOO_FEW)),  # approval is no evidence
        # An endpoint's first version waits at the gate before all traffic, too.
        (
            replace(GATED_START, stable=""),
            replace(NO_TRAFFIC, stable=None),
            Await(100, "waits for approval before 100 %"),
        ),
        # Windows: no step outside, and everything else at any time.
        (AT_NIGHT, PASSED, Hold(CLOSED, until=TEN)),
        (replace(AT_NIGHT, phase=Phase.STARTING), NO_TRAFFIC, Hold(CLOSED, until=TEN)),
        (AT_NIGHT, FAILED, RollBack("canary 12 errors in 40 requests, stable 0 in 200")),
        (replace(AT_NIGHT, wish="promote"), PASSED, Promote("promoted by a person at 5 %")),
        (replace(AT_NIGHT, wish="abort"), PASSED, RollBack("aborted by a person at 5 %", Phase.ABORTED)),
        (
            replace(AT_NIGHT, plan=replace(GATED, windows=("daily 22:00-04:00 UTC",))),
            PASSED,
            Hold(CLOSED, until=TEN),  # nobody is asked before it could be done
        ),
        (
            replace(AT_NIGHT, plan=replace(AT_NIGHT.plan, windows=("Mon-Fri 09:00-17:00 UTC",))),
            PASSED,
            Promote(ENOUGH),
        ),
    ],
)
def test_no_step_is_taken_before_its_gate_is_opened_or_outside_of_a_window(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action
