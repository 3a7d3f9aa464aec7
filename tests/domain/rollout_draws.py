"""Rollouts, worlds and moments at random: what decisions are tried on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from chalicelib.domain.deployment import Deployment, FleetState, Resources, Running
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import (
    Observation,
    OnInconclusive,
    Phase,
    Plan,
    Rollout,
    Thresholds,
)
from chalicelib.domain.shadow import Shadow
from chalicelib.domain.split import Split
from chalicelib.domain.strategy import Gate, Placement, Strategy
from chalicelib.domain.traffic import Traffic

BEGIN = datetime(2026, 1, 5, 12, tzinfo=UTC)
CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources())
READY = Running(FleetState.READY, ready=1, digest="sha-2")
STABLE = Running(FleetState.READY, ready=1, digest="sha-1")

seconds = st.integers(0, 3600).map(lambda n: timedelta(seconds=n))
runnings = st.builds(
    Running,
    st.sampled_from(FleetState),
    ready=st.integers(0, 3),
    digest=st.sampled_from(["sha-2", "sha-2", "sha-1", ""]),
    reason=st.sampled_from(["", "ValueError"]),
    restarts=st.sampled_from([0, 0, 0, 2]),
)
traffics = st.integers(0, 200).flatmap(
    lambda n: st.builds(Traffic, st.just(n), st.integers(0, n), st.just(0), st.integers(0, n))
)
RECREATE = {
    "strategy": Strategy.BLUE_GREEN,
    "steps": (100,),
    "bake": timedelta(minutes=5),
    "placement": Placement.RECREATE,
    "gates": (),
}
ways = st.sampled_from([
    {},
    {"bake": timedelta(minutes=5)},
    {"strategy": Strategy.BLUE_GREEN, "steps": (100,), "bake": timedelta(minutes=5)},
    RECREATE,
    {"gates": (Gate(100, timedelta(minutes=5)),)},
    {"gates": (Gate(100, ask="board"),)},
    {"windows": ("daily 12:10-12:40 UTC",)},
    {"shadow": Shadow(min_requests=20)},
])  # fmt: skip
plans = st.builds(
    Plan,
    steps=st.lists(st.integers(1, 99), max_size=4, unique=True).map(lambda steps: (*sorted(steps), 100)),
    step_time=seconds,
    max_extensions=st.integers(0, 3),
    on_inconclusive=st.sampled_from(OnInconclusive),
    thresholds=st.builds(Thresholds, min_requests=st.integers(1, 60)),
)
plans_of_all_ways = st.builds(lambda plan, way: replace(plan, **way), plans, ways)
STARTED = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", Plan(), opened=BEGIN)


@st.composite
def rollouts(draw):
    """A record as the moves may leave it: its step is one of its phase's."""
    plan = draw(plans_of_all_ways)
    phase = draw(st.sampled_from(Phase))
    last = len(plan.steps) - 1
    steps = {
        Phase.QUEUED: (-1, -1),
        Phase.STARTING: (-1, -1),
        Phase.SHADOWING: (-1, -1),
        Phase.STEPPING: (0, last - 1),
        Phase.BAKING: (last, last),
    }
    if phase in {Phase.RECREATING, Phase.RETURNING}:
        plan, last = replace(plan, **RECREATE), 0
        steps |= {Phase.RECREATING: (-1, -1), Phase.RETURNING: (-1, 0)}
    if phase is Phase.STEPPING and not last:
        phase = Phase.BAKING
    gate = draw(st.sampled_from([0, 0, *(gate.before for gate in plan.gates)]))
    return replace(
        STARTED,
        plan=plan,
        phase=phase,
        stable=draw(st.sampled_from(["v1-a", "v1-a", "" if phase is Phase.STARTING else "v1-a"])),
        step=draw(st.integers(*steps.get(phase, (-1, last)))),
        step_since=draw(st.none() | seconds.map(lambda after: BEGIN + after)),
        extensions=draw(st.integers(0, 4)),
        paused=draw(st.booleans()),
        wish=draw(st.sampled_from(["", "", "promote", "abort"])),
        gate=gate,
        gate_since=BEGIN if gate else None,
        approved=draw(st.sampled_from([(), (100,)])),
    )


splits = st.builds(Split.between, st.just("v1-a"), st.just("v2-b"), st.integers(0, 100), st.just("r-1")) | st.just(
    Split()
)
shadows = st.sampled_from(["v2-b", "v2-b", ""])
observations = st.builds(
    Observation, runnings, st.none() | runnings, splits, traffics, traffics, st.booleans(), shadow=shadows
)
times = seconds.map(lambda after: BEGIN + after)
