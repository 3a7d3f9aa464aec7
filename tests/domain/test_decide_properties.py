"""What never happens in a rollout, whatever the world does."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import FleetState
from chalicelib.domain.rollout import (
    OPEN,
    WITH_TRAFFIC,
    Action,
    Extend,
    Hold,
    Observation,
    Phase,
    Plan,
    Promote,
    RollBack,
    Rollout,
    Shift,
    Start,
    StartStable,
)
from chalicelib.domain.split import Split
from chalicelib.domain.traffic import Traffic
from tests.domain.rollout_draws import (
    BEGIN,
    CANARY,
    READY,
    STABLE,
    observations,
    plans,
    rollouts,
    runnings,
    seconds,
    splits,
    times,
    traffics,
)


@given(rollouts(), observations, times)
def test_the_same_world_always_gives_the_same_action(rollout, seen, now):
    assert decide(rollout, seen, now) == decide(replace(rollout), replace(seen), now)


@given(rollouts(), observations, times)
def test_only_a_ready_canary_with_the_registered_digest_is_promoted_or_given_more(rollout, seen, now):
    action = decide(rollout, seen, now)
    gives = isinstance(action, Promote) or (isinstance(action, Shift) and action.step > rollout.step)
    assert not gives or (seen.canary.state is FleetState.READY and seen.canary.digest == "sha-2")


@given(rollouts(), observations, times)
def test_nothing_is_rolled_back_to_a_stable_that_is_not_ready(rollout, seen, now):
    action = decide(rollout, seen, now)
    moved_back = isinstance(action, RollBack) and rollout.phase in WITH_TRAFFIC | {Phase.RETURNING}
    assert not moved_back or (seen.stable and seen.stable.state is FleetState.READY)


@given(rollouts(), observations, times)
def test_an_ended_rollout_moves_nothing(rollout, seen, now):
    assert rollout.phase in OPEN or isinstance(decide(rollout, seen, now), Hold)


@given(rollouts(), observations, times)
def test_what_is_looked_at_again_lies_ahead(rollout, seen, now):
    action = decide(rollout, seen, now)
    assert not (isinstance(action, Hold) and action.until) or action.until > now


# --- whole rollouts: every action is carried out, the world answers as it likes --------------------------------------
def after(rollout: Rollout, action: Action, now: datetime) -> Rollout:
    """Return the record once the action is done."""
    match action:
        case Shift(step, reason):
            return replace(rollout, phase=Phase.STEPPING, step=step, step_since=now, extensions=0, reason=reason)
        case Extend():
            return replace(rollout, extensions=rollout.extensions + 1)
        case Promote():
            return replace(rollout, phase=Phase.PROMOTED)
        case RollBack(_, phase):
            return replace(rollout, phase=phase)
    return rollout


def carried_out(plan: Plan, looks: list[tuple[timedelta, Observation]]) -> list[Rollout]:
    """Return the record after each look; the split in force is what the record asks for."""
    rollout = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", plan, opened=BEGIN)
    now = BEGIN
    records = [rollout]
    for wait, seen in looks:
        now += wait
        found = replace(seen, split=Split.between("v1-a", "v2-b", rollout.weight, "r-1"))
        rollout = after(rollout, decide(rollout, found, now), now)
        records.append(rollout)
    return records


usually_ready = st.just(READY) | st.just(READY) | runnings
looks = st.lists(
    st.tuples(seconds, st.builds(Observation, usually_ready, st.just(STABLE) | runnings, splits, traffics, traffics)),
    max_size=25,
)
silence = st.lists(st.tuples(seconds, st.just(Observation(READY, STABLE, Split()))), max_size=40)


@given(plans, looks)
def test_the_weight_never_falls_but_by_going_back_whole(plan, looks):
    records = carried_out(plan, looks)
    assert all(before.weight <= later.weight for before, later in pairwise(records))


@given(plans, looks)
def test_a_canary_takes_the_steps_one_by_one(plan, looks):
    records = carried_out(plan, looks)
    assert all(later.step - before.step in {0, 1} for before, later in pairwise(records))
    assert not any(record.weight == 100 for record in records)  # 100 % is promotion itself


@given(plans, silence)
def test_silence_never_promotes(plan, silence):
    assert carried_out(plan, silence)[-1].phase is not Phase.PROMOTED
    assert carried_out(plan, silence)[-1].step <= 0


def test_a_good_canary_is_promoted_through_every_step():
    good = Observation(READY, STABLE, Split(), Traffic(100), Traffic(900))
    records = carried_out(Plan(), [(timedelta(seconds=30), good)] * 8)
    weights = [record.weight for record in records]
    assert weights == [0, 5, 5, 25, 25, 50, 50, 50, 50]
    assert records[-1].phase is Phase.PROMOTED


@given(rollouts(), observations, times)
def test_of_two_that_have_no_room_beside_each_other_none_is_started_while_the_other_is_there(rollout, seen, now):
    action = decide(rollout, seen, now)
    if rollout.recreates and isinstance(action, Start):
        assert not seen.stable or seen.stable.state is FleetState.ABSENT
    if isinstance(action, StartStable):
        assert seen.canary.state is FleetState.ABSENT
