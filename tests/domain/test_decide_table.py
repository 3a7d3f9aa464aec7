"""The rollout's next action, from literal snapshots."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.exam import Exam
from chalicelib.domain.proof import Asked, Served
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import (
    ENDS,
    Examine,
    Extend,
    Fail,
    Hold,
    Observation,
    OnInconclusive,
    Phase,
    Plan,
    Promote,
    Restart,
    RollBack,
    Rollout,
    Shift,
    Start,
)
from chalicelib.domain.split import Split
from chalicelib.domain.traffic import Traffic

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources())
READY = Running(FleetState.READY, ready=1, digest="sha-2")
STABLE = Running(FleetState.READY, ready=1, digest="sha-1")

STARTING = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", Plan(), opened=NOW - MINUTE)
FIRST = replace(STARTING, stable="")
STEP_0 = replace(STARTING, phase=Phase.STEPPING, step=0, step_since=NOW - MINUTE)  # 5 %, its time is just over
STEP_2 = replace(STEP_0, step=2)  # 50 %
LAST_EXTENSION = replace(STEP_0, step_since=NOW - 4 * MINUTE, extensions=3)


def split(weight: int) -> Split:
    return Split.between("v1-a", "v2-b", weight, "r-1")


NO_TRAFFIC = Observation(READY, STABLE, split(0))
SILENT = Observation(READY, STABLE, split(5))
GOOD = replace(SILENT, canary_traffic=Traffic(50), stable_traffic=Traffic(950))
BAD = replace(SILENT, canary_traffic=Traffic(40, errors=12), stable_traffic=Traffic(760))
HALF = replace(GOOD, split=split(50))

PASSED = "canary 0 errors in 50 requests, stable 0 in 950"
ENOUGH = f"{PASSED}; canary 0 non-finite answers in 50 requests, stable 0 in 950"
ENOUGH += "; canary 0 4xx answers in 50 requests, stable 0 in 950"
WORSE = "canary 12 errors in 40 requests, stable 0 in 760"
TOO_FEW = "canary has 0 of the 50 requests needed"


def canary(state: FleetState, **seen) -> Observation:
    return replace(NO_TRAFFIC, canary=Running(state, **seen))


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        (STARTING, canary(FleetState.ABSENT), Start("digits/v2 doesn't run yet")),
        (
            STARTING,
            replace(canary(FleetState.ABSENT), lacks="800 MB"),
            Hold("not started, for there is no room: 800 MB", until=NOW + 9 * MINUTE),
        ),
        (
            replace(STARTING, opened=NOW - 10 * MINUTE),
            replace(canary(FleetState.ABSENT), lacks="800 MB"),
            Fail("not ready after 0:10:00: not started, for there is no room: 800 MB", unservable=False),
        ),
        (STARTING, canary(FleetState.STARTING), Hold("starting", until=NOW + 9 * MINUTE)),
        (STARTING, canary(FleetState.STOPPING), Hold("stopping", until=NOW + 9 * MINUTE)),
        (STARTING, canary(FleetState.READY, ready=1), Hold("ready", until=NOW + 9 * MINUTE)),  # no digest said yet
        (
            replace(STARTING, opened=NOW - 10 * MINUTE),
            canary(FleetState.STARTING, reason="loading"),
            Fail("not ready after 0:10:00: starting: loading", unservable=False),
        ),
        (
            replace(STARTING, opened=NOW - 10 * MINUTE, paused=True),
            canary(FleetState.STARTING),
            Hold("starting"),
        ),
        (
            STARTING,
            canary(FleetState.FAILED, reason="ValueError: bad weights"),
            Fail("ValueError: bad weights", unservable=True),
        ),
        (
            STARTING,
            canary(FleetState.FAILED, reason="no instance of that type is free", by_fleet=True),
            Fail("no instance of that type is free", unservable=False),
        ),
        (
            replace(STARTING, retry=True),
            canary(FleetState.FAILED, reason="ValueError: bad weights"),
            Restart("digits/v2 failed before and gets another start"),
        ),
        (replace(STARTING, retry=True), canary(FleetState.STOPPING), Hold("stopping", until=NOW + 9 * MINUTE)),
        (
            STARTING,
            canary(FleetState.READY, ready=1, digest="sha-2", restarts=2),
            Fail("the canary exited 2 times unasked", unservable=True),
        ),
        (
            STARTING,
            canary(FleetState.READY, ready=1, digest="sha-9"),
            Fail("the canary serves digest sha-9, not the registered sha-2", unservable=False, drift=True),
        ),
        (STARTING, NO_TRAFFIC, Shift(0, "ready and warmed up")),
        (replace(STARTING, exam=Exam(asked=7)), NO_TRAFFIC, Examine("golden.jsonl: 7 lines answered so far")),
        (replace(STARTING, exam=Exam(), paused=True), NO_TRAFFIC, Examine("golden.jsonl: 0 lines answered so far")),
        (replace(STARTING, exam=Exam(asked=9, is_done=True)), NO_TRAFFIC, Shift(0, "ready and warmed up")),
        (
            replace(FIRST, exam=Exam(asked=9, is_done=True, failure="accuracy 0.5, at least 0.9 wanted")),
            NO_TRAFFIC,
            Fail("golden.jsonl: accuracy 0.5, at least 0.9 wanted", unservable=False),
        ),
        (
            replace(STARTING, exam=Exam(), wish="promote"),
            NO_TRAFFIC,
            Promote("promoted by a person before it was judged"),
        ),
        (replace(STARTING, paused=True), NO_TRAFFIC, Hold("ready; paused before its first traffic")),
        (replace(STARTING, wish="promote"), NO_TRAFFIC, Promote("promoted by a person before it was judged")),
        (replace(STARTING, wish="promote"), canary(FleetState.STARTING), Hold("starting", until=NOW + 9 * MINUTE)),
        (
            replace(STARTING, wish="abort"),
            NO_TRAFFIC,
            RollBack("aborted by a person before it had traffic", Phase.ABORTED),
        ),
        (
            STARTING,
            replace(NO_TRAFFIC, stable=Running(FleetState.FAILED, reason="killed")),
            Hold("halted: stable is failed: killed, so there is nothing to go back to"),
        ),
        (
            replace(STARTING, plan=Plan(steps=(100,))),
            NO_TRAFFIC,
            Hold("the plan has no step below 100 %, so nothing can be judged: promote by hand"),
        ),
        (
            replace(STARTING, plan=Plan(steps=(50, 100))),
            replace(NO_TRAFFIC, stable=replace(STABLE, ready=4)),
            Hold("50 % needs 2 ready replicas, the canary has 1"),
        ),
        (FIRST, Observation(READY, None, Split()), Promote("first version of the endpoint: ready and warmed up")),
    ],
)
def test_the_next_action_before_any_traffic(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        # By the verdict.
        (STEP_0, GOOD, Shift(1, ENOUGH)),
        (replace(STEP_0, step=1), replace(GOOD, split=split(25)), Shift(2, ENOUGH)),
        (STEP_2, HALF, Promote(ENOUGH)),
        (STEP_0, BAD, RollBack(WORSE)),
        (STEP_0, SILENT, Extend(TOO_FEW)),
        (replace(STEP_0, extensions=1), SILENT, Hold(TOO_FEW, until=NOW + MINUTE)),
        (replace(STEP_0, extensions=1), GOOD, Shift(1, ENOUGH)),  # evidence needn't wait for the extension's end
        (LAST_EXTENSION, SILENT, Hold(f"inconclusive, waits for a person or for evidence: {TOO_FEW}")),
        (
            replace(LAST_EXTENSION, plan=Plan(on_inconclusive=OnInconclusive.ABORT)),
            SILENT,
            RollBack(f"inconclusive: {TOO_FEW}", Phase.ABORTED),
        ),
        # A step has its time, whatever it shows, unless it shows that the canary is worse.
        (
            replace(STEP_0, step_since=NOW),
            GOOD,
            Hold("at 5 % until the step's time is over", until=NOW + MINUTE),
        ),
        (replace(STEP_0, step_since=NOW), BAD, RollBack(WORSE)),
        # Pausing stops time, not judging.
        (replace(STEP_0, paused=True), GOOD, Hold("paused at 5 %")),
        (replace(STEP_0, paused=True), BAD, RollBack(WORSE)),
        # What a person wishes.
        (replace(STEP_0, wish="abort"), GOOD, RollBack("aborted by a person at 5 %", Phase.ABORTED)),
        (replace(STEP_0, wish="promote"), SILENT, Promote("promoted by a person at 5 %")),
        (
            replace(STEP_0, wish="promote"),
            replace(SILENT, canary=Running(FleetState.FAILED, reason="out of memory")),
            RollBack("the canary is failed: out of memory"),
        ),
        # What became of the canary.
        (STEP_0, replace(GOOD, canary=Running(FleetState.ABSENT)), RollBack("the canary is absent")),
        (
            STEP_0,
            replace(GOOD, canary=replace(READY, restarts=1, reason="signal 9")),
            RollBack("the canary exited 1 times unasked: signal 9"),
        ),
        (
            STEP_0,
            replace(GOOD, canary=replace(READY, digest="sha-9")),
            RollBack("the canary serves digest sha-9, not the registered sha-2", drift=True),
        ),
        (
            STEP_0,
            replace(GOOD, canary=Running(FleetState.FAILED, reason="InService with config a, not b", drifted=True)),
            RollBack("the canary is failed: InService with config a, not b", drift=True),
        ),
        (STEP_0, replace(GOOD, canary=Running(FleetState.STARTING)), Hold("the canary is starting")),
        # What became of stable: nothing to go back to, so nothing is moved.
        (
            STEP_0,
            replace(BAD, stable=Running(FleetState.ABSENT)),
            Hold("halted: stable is absent, so there is nothing to go back to"),
        ),
        (
            replace(STEP_0, wish="abort"),
            replace(BAD, stable=Running(FleetState.STARTING)),
            Hold("halted: stable is starting, so there is nothing to go back to"),
        ),
        (STEP_0, replace(GOOD, stable=None), Hold("halted: stable is not there, so there is nothing to go back to")),
        # The split that is found, not the one that was asked.
        (
            STEP_0,
            replace(GOOD, split=split(0)),
            RollBack("the split is {'v1-a': 100}, not {'v1-a': 95, 'v2-b': 5}", drift=True),
        ),
        (
            replace(STEP_0, paused=True),
            replace(GOOD, split=split(25)),
            RollBack("the split is {'v1-a': 75, 'v2-b': 25}, not {'v1-a': 95, 'v2-b': 5}", drift=True),
        ),
        # Who answers callers, on the public path.
        (
            STEP_0,
            replace(GOOD, answers=[Asked("k", 4.9, "v2-b", Served("v1-a", "sha-1"))]),
            RollBack("callers at 4.9 % are answered by v1-a, not by v2-b", drift=True),
        ),
        (
            STEP_0,
            replace(GOOD, answers=[Asked("k", 4.9, "v2-b", Served("v2-b", "sha-9"))]),
            RollBack("v2-b answers with digest sha-9, not the registered sha-2", drift=True),
        ),
        (
            STEP_0,
            replace(GOOD, answers=[Asked("k", 4.9, "v2-b")]),
            Hold(f"{ENOUGH}; who answers on the public path isn't proven yet"),
        ),
        (STEP_0, replace(GOOD, answers=[Asked("k", 4.9, "v2-b", Served("v2-b", "sha-2"))]), Shift(1, ENOUGH)),
        # Room for its share.
        (
            replace(STEP_0, step=1),
            replace(GOOD, split=split(25), stable=replace(STABLE, ready=3)),
            Hold("50 % needs 2 ready replicas, the canary has 1"),
        ),
        (
            STEP_2,
            replace(HALF, stable=replace(STABLE, ready=2)),
            Hold("100 % needs 2 ready replicas, the canary has 1"),
        ),
        (
            STEP_2,
            replace(HALF, stable=replace(STABLE, ready=2), canary=replace(READY, most=4)),
            Start("100 % needs 2 ready replicas, the canary has 1", at_least=2),
        ),
        (
            STEP_2,
            replace(HALF, stable=replace(STABLE, ready=4), canary=replace(READY, ready=2, most=2)),
            Hold("100 % needs 4 ready replicas, the canary has 2"),
        ),
    ],
)
def test_the_next_action_while_it_has_traffic(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action


def test_a_sick_stable_never_promotes_the_better_canary():
    sick = replace(GOOD, stable_traffic=Traffic(950, errors=500))
    assert decide(STEP_0, sick, NOW) == Extend("stable is sick: 500 errors in 950 requests; nothing to judge by")


def test_a_queued_rollout_waits():
    queued = replace(STARTING, phase=Phase.QUEUED)
    assert decide(queued, NO_TRAFFIC, NOW) == Hold("waits for the end of the rollout that is open")


@pytest.mark.parametrize("phase", sorted(ENDS))
def test_an_ended_rollout_holds(phase):
    assert decide(replace(STEP_0, phase=phase, wish="promote"), BAD, NOW) == Hold(f"the rollout has ended: {phase}")
