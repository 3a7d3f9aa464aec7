"""No decision leads to a state that the table doesn't list, and the page shows the table."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings

from chalicelib.domain.carry_out import Change, carry_out
from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.rollout import ENDS, Action, Bake, Phase, Shift
from chalicelib.domain.split import Split
from chalicelib.domain.states import ASKED, NEWER, TABLE, TURN, Unlisted, check, leads
from tests.domain.rollout_draws import BEGIN, CANARY, STARTED, observations, rollouts, times
from tools.draw_states import PAGE, text


def endpoint_of(rollout) -> Endpoint:
    promoted = rollout.stable
    return Endpoint("digits", "digits", split=Split({promoted: 100}) if promoted else Split(), promoted=promoted)


@settings(max_examples=400)
@given(rollouts(), observations, times)
def test_whatever_is_seen_the_decision_leads_to_a_listed_state(rollout, seen, now):
    action = decide(rollout, seen, now)
    after = rollout
    if isinstance(action, Change):
        _, _, after = carry_out(action, endpoint_of(rollout), rollout, seen, now)
    check(rollout.phase, action, after.phase)


@settings(max_examples=200)
@given(rollouts(), observations, times)
def test_a_move_keeps_the_split_whole_between_stable_and_canary(rollout, seen, now):
    action = decide(rollout, seen, now)
    if isinstance(action, Change):
        _, served, after = carry_out(action, endpoint_of(rollout), rollout, seen, now)
        weights = served.split.weights
        assert not weights or sum(weights.values()) == 100
        assert set(weights) <= {rollout.stable, rollout.canary.id} - {""}
        assert after.phase not in ENDS or max(weights.values(), default=100) == 100


def test_every_action_has_its_row():
    assert set(TABLE) == {action.__name__ for action in get_args(Action)} | {NEWER, TURN, ASKED}


def test_nothing_leads_out_of_an_end():
    assert not [(end, phase) for end in ENDS for phase in Phase if phase is not end and leads(end, phase)]


def test_every_state_is_reached_and_every_open_one_is_left():
    reached = {phase for phase in Phase if any(leads(before, phase) for before in Phase if before is not phase)}
    assert reached | {Phase.QUEUED, Phase.STARTING} == set(Phase)
    assert not [p for p in set(Phase) - ENDS if not any(leads(p, after) for after in Phase if after is not p)]


def test_a_move_that_is_not_listed_is_refused():
    ended = replace(STARTED, phase=Phase.ROLLED_BACK)
    with pytest.raises(Unlisted, match="Shift led from rolled_back to stepping"):
        carry_out(Shift(0, "by mistake"), endpoint_of(ended), ended, None, BEGIN)
    with pytest.raises(Unlisted):
        check(Phase.BAKING, Bake("again"), Phase.BAKING)


def test_the_page_shows_the_table_as_it_is():
    assert PAGE.read_text(encoding="utf-8") == text(), "run: python tools/draw_states.py"
    assert CANARY.id not in text()
