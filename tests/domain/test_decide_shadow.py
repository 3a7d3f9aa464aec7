"""What a rollout does while its canary is a shadow, from literal snapshots."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.carry_out import carry_out
from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Endpoint, FleetState, Running
from chalicelib.domain.rollout import (
    Await,
    Extend,
    Fail,
    Hold,
    OnInconclusive,
    Phase,
    Plan,
    Promote,
    RollBack,
    Shadow,
    Shift,
)
from chalicelib.domain.shadow import AGREED, COMPARED, Shadowing
from chalicelib.domain.shadow import Shadow as ShadowPlan
from chalicelib.domain.split import Split
from chalicelib.domain.strategy import Gate
from chalicelib.domain.traffic import Traffic
from tests.domain.test_decide_table import NO_TRAFFIC, NOW, STABLE, STARTING, canary

HOW = ShadowPlan(time=timedelta(minutes=2), min_requests=40)
WISHED = replace(STARTING, plan=Plan(shadow=HOW))
SHADOWING = replace(WISHED, phase=Phase.SHADOWING, step_since=NOW - timedelta(minutes=2))
GATED = replace(SHADOWING, plan=Plan(shadow=HOW, gates=(Gate(5),)))
YOUNG = replace(SHADOWING, step_since=NOW - timedelta(minutes=1))
SEEN = replace(NO_TRAFFIC, shadow="v2-b", stable_traffic=Traffic(1000))


def answered(requests, *, agreed=None, errors=0):
    marks = {COMPARED: requests, AGREED: requests if agreed is None else agreed}
    return replace(SEEN, canary_traffic=Traffic(requests, errors=errors, marks=marks))


def also(seen, **running):
    return replace(seen, canary=canary(**running).canary)


AGREES = answered(40)


@pytest.mark.parametrize(
    ("rollout", "seen", "action"),
    [
        (WISHED, NO_TRAFFIC, Shadow("ready and warmed up")),
        (replace(WISHED, stable=""), NO_TRAFFIC, Promote("first version of the endpoint: ready and warmed up")),
        (YOUNG, AGREES, Hold("a shadow until its time is over", until=NOW + timedelta(minutes=1))),
        (replace(SHADOWING, paused=True), AGREES, Hold("paused as a shadow")),
        (
            replace(SHADOWING, wish="abort"),
            AGREES,
            RollBack("aborted by a person while it was a shadow", Phase.ABORTED),
        ),
        # At the gate before its first share it waits for approval, however few the requests have become.
        (replace(GATED, gate=5), SEEN, Hold("waits for approval before 5 %")),
        (GATED, AGREES, Await(5, "waits for approval before 5 %")),
        (replace(SHADOWING, wish="promote"), AGREES, Promote("promoted by a person while it was a shadow")),
        (SHADOWING, replace(AGREES, shadow=""), Shadow("requests were copied to nobody: restored")),
        (
            SHADOWING,
            replace(AGREES, stable=None),
            Hold("halted: stable is not there, so there is nothing to go back to"),
        ),
        (SHADOWING, also(AGREES, state=FleetState.STARTING), Hold("the canary is starting")),
        (
            SHADOWING,
            also(AGREES, state=FleetState.READY, ready=1, digest="sha-2", restarts=1),
            Fail("the canary exited 1 times unasked", unservable=True),
        ),
        (
            SHADOWING,
            also(AGREES, state=FleetState.FAILED, reason="out of memory"),
            Fail("the canary is failed: out of memory", unservable=True),
        ),
        (SHADOWING, also(AGREES, state=FleetState.ABSENT), Fail("the canary is absent", unservable=False)),
        (
            SHADOWING,
            also(AGREES, state=FleetState.READY, ready=1, digest="sha-9"),
            Fail("the canary serves digest sha-9, not the registered sha-2", unservable=False),
        ),
        (
            YOUNG,
            answered(40, agreed=10),
            Fail("as a shadow: 10 of 40 predictions agree, 90.0% wanted", unservable=False),
        ),
        (
            YOUNG,
            answered(20, errors=12),
            Fail("as a shadow: canary 12 errors in 20 requests, stable 0 in 1000", unservable=False),
        ),
        (SHADOWING, answered(39), Extend("canary has 39 of the 40 requests needed")),
        (
            replace(SHADOWING, extensions=3, step_since=NOW - timedelta(minutes=9)),
            SEEN,
            Hold("inconclusive, waits for a person or for evidence: canary has 0 of the 40 requests needed"),
        ),
        (
            replace(
                SHADOWING,
                extensions=3,
                step_since=NOW - timedelta(minutes=9),
                plan=replace(SHADOWING.plan, on_inconclusive=OnInconclusive.ABORT),
            ),
            SEEN,
            RollBack("inconclusive: canary has 0 of the 40 requests needed", Phase.ABORTED),
        ),
    ],
)
def test_the_next_action_of_a_shadow_follows_from_what_was_seen(rollout, seen, action):
    assert decide(rollout, seen, NOW) == action


def test_a_shadow_that_agrees_takes_the_first_step():
    action = decide(SHADOWING, AGREES, NOW)
    assert isinstance(action, Shift)
    assert action.step == 0
    assert action.reason.startswith("as a shadow: canary 0 errors in 40 requests")
    assert "40 of 40 predictions agree" in action.reason


def test_requests_are_copied_from_its_beginning_to_its_end_and_the_split_stays_as_it_is():
    stable = Endpoint("digits", "digits", split=Split({"v1-a": 100}), promoted="v1-a")
    kind, served, after = carry_out(Shadow("warm"), stable, WISHED, NO_TRAFFIC, NOW)
    assert (kind, after.phase, after.step_since) == ("rollout.shadowing", Phase.SHADOWING, NOW)
    assert served.shadow == Shadowing("v2-b", "r-1", HOW)
    assert served.split == stable.split
    assert "v2-b" in served.named
    for action in (Shift(0, "agrees"), Promote("wished"), Fail("worse", unservable=False)):
        assert carry_out(action, served, after, AGREES, NOW)[1].shadow is None


def test_a_stable_that_is_down_proves_nothing():
    assert STABLE.state is FleetState.READY
    seen = replace(AGREES, stable=Running(FleetState.STARTING))
    assert isinstance(decide(SHADOWING, seen, NOW), Hold)
