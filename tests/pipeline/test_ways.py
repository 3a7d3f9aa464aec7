"""Strategies, gates, the bake and the queue, wake-up by wake-up."""

from dataclasses import dataclass, field, replace

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.errors import Rejected
from chalicelib.domain.question import Question
from chalicelib.domain.rollout import Approve, Await, Bake, Hold, Phase, Promote, RollBack, Rollout, Shift
from chalicelib.pipeline import manage, views
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.restore import begin_windows_anew
from tests.fakes_pipeline import traffic
from tests.rollout_world import V2, V3, V4, count, deployment, drop, endpoint, go, live, rollout, world

BLUE_GREEN = "strategy: blue_green\nbake: 5m"


@pytest.fixture
def ports():
    return world()


def kinds(ports):
    return [t.kind for t in ports.registry.timeline(subject="digits") if t.kind.startswith("rollout.")]


def baking(ports):
    """Let v2 have all of v1's traffic at once, and return both deployments."""
    stable = live(ports)
    ports.metrics.seen = {stable: traffic(1000)}
    drop(ports, V2, deploy=BLUE_GREEN)
    go(ports)
    assert isinstance(go(ports), Bake)
    return deployment(ports, V2), stable


def test_blue_green_gives_all_traffic_at_once_and_promotes_when_the_bake_has_passed(ports):
    canary, stable = baking(ports)
    assert endpoint(ports).split.weights == {stable: 0, canary: 100}
    assert endpoint(ports).promoted == stable
    ports.metrics.seen = {canary: traffic(400)}
    ports.clock.tick(minutes=4)
    assert isinstance(go(ports), Hold)
    ports.clock.tick(minutes=1)
    assert isinstance(go(ports), Promote)
    assert endpoint(ports).promoted == canary
    assert endpoint(ports).split.weights == {canary: 100}
    assert kinds(ports)[-3:] == ["rollout.opened", "rollout.baking", "rollout.promoted"]


def test_what_fails_while_it_bakes_goes_back_at_once_and_by_itself(ports):
    canary, stable = baking(ports)
    ports.metrics.seen = {canary: traffic(400, errors=40)}
    assert isinstance(go(ports), RollBack)
    assert endpoint(ports).split.weights == {stable: 100}
    assert rollout(ports, V2).phase is Phase.ROLLED_BACK
    assert "stable 0 in 1000" in rollout(ports, V2).reason  # the window before it got all traffic
    assert ports.fleet.stopped == []


def test_silence_while_it_bakes_promotes_nothing(ports):
    canary, stable = baking(ports)
    for _ in range(20):
        ports.clock.tick(minutes=6)
        assert not isinstance(go(ports), Promote)
    assert endpoint(ports).split.weights == {stable: 0, canary: 100}
    assert stable in ports.fleet.running


def test_stable_keeps_its_room_while_the_canary_bakes(ports):
    _, stable = baking(ports)
    assert not ports.fleet.capacities[stable].may_scale_in


def test_a_restart_begins_the_bakes_window_anew(ports):
    baking(ports)
    ports.clock.tick(minutes=10)
    begin_windows_anew(ports)
    assert rollout(ports, V2).step_since == ports.clock()
    assert isinstance(go(ports), Hold)


def test_a_person_may_promote_abort_and_pause_what_bakes(ports):
    canary, stable = baking(ports)
    manage.pause("digits", ports)
    ports.metrics.seen = {canary: traffic(400)}
    ports.clock.tick(minutes=10)
    assert isinstance(go(ports), Hold)
    assert views.endpoint("digits", ports)["rollout"]["judgement"]["outcome"] == "pass"
    manage.abort("digits", ports)
    go(ports)
    assert (rollout(ports, V2).phase, endpoint(ports).split.weights) == (Phase.ABORTED, {stable: 100})


def test_a_newer_version_supersedes_what_bakes_and_is_compared_with_what_was_promoted(ports):
    _, stable = baking(ports)
    drop(ports, V3)
    assert rollout(ports, V2).phase is Phase.SUPERSEDED
    go(ports, 2)
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V3): 5}


def test_a_canary_that_passed_its_steps_bakes_if_that_was_asked_for(ports):
    stable = live(ports)
    drop(ports, V2, deploy="steps: [50, 100]\nbake: 2m")
    go(ports, 2)
    canary = deployment(ports, V2)
    count(ports, canary, stable)
    ports.clock.tick(minutes=1)
    assert isinstance(go(ports), Bake)
    ports.clock.tick(minutes=2)
    assert isinstance(go(ports), Promote)


def test_all_at_once_is_promoted_unjudged_where_the_operator_allows_it():
    ports = world(bounds=Bounds(strategies=("all_at_once",)))
    live(ports)
    drop(ports, V2, deploy="strategy: all_at_once")
    go(ports)
    assert isinstance(go(ports), Promote)
    opened = [t.message for t in ports.registry.timeline(subject="digits") if t.kind == "rollout.opened"]
    assert "all traffic at once, judged by nothing" in opened[-1]


def test_linear_takes_equal_steps(ports):
    stable = live(ports)
    drop(ports, V2, deploy="strategy: linear\nstep_by: 40")
    go(ports, 2)
    canary = deployment(ports, V2)
    seen = []
    for _ in range(3):
        seen.append(endpoint(ports).split.weights[canary])
        count(ports, canary, stable)
        ports.clock.tick(seconds=61)
        go(ports)
    assert seen == [40, 80, 100]


# --- gates -------------------------------------------------------------------------------------------------------
def test_a_gate_holds_the_step_until_a_person_approves_it(ports):
    stable = live(ports)
    drop(ports, V2, deploy="steps: [20, 100]\ngates: [20, 100]")
    go(ports)
    assert isinstance(go(ports), Await)
    assert isinstance(go(ports), Hold)
    assert manage.approve("digits", ports)["gate"] == 0
    assert isinstance(go(ports), Shift)
    canary = deployment(ports, V2)
    count(ports, canary, stable)
    ports.clock.tick(seconds=61)
    assert isinstance(go(ports), Await)
    assert views.endpoint("digits", ports)["rollout"]["gate"] == 100
    manage.approve("digits", ports)
    assert isinstance(go(ports), Promote)
    told = kinds(ports)
    assert (told.count("rollout.gate_waiting"), told.count("rollout.approved")) == (2, 2)


def test_a_canary_that_fails_at_a_gate_goes_back(ports):
    stable = live(ports)
    drop(ports, V2, deploy="steps: [20, 100]\ngates: [100]")
    go(ports, 2)
    canary = deployment(ports, V2)
    count(ports, canary, stable)
    ports.clock.tick(seconds=61)
    go(ports)
    count(ports, canary, stable, errors=100)
    assert isinstance(go(ports), RollBack)
    with pytest.raises(Rejected, match="no open rollout"):
        manage.approve("digits", ports)


@dataclass
class Board:
    """Says no until told otherwise."""

    agrees: bool = False
    asked: list[tuple[str, Question]] = field(default_factory=list)

    def may_go_on(self, name: str, question: Question) -> bool:
        self.asked.append((name, question))
        return self.agrees


def test_a_gate_asks_whom_the_operator_named_until_they_agree():
    board = Board()
    ports = world(bounds=Bounds(questions={"board": "https://board.example"}), questions=board)
    stable = live(ports)
    drop(ports, V2, deploy="steps: [20, 100]\ngates: [{before: 100, ask: board}]")
    go(ports, 2)
    canary = deployment(ports, V2)
    count(ports, canary, stable)
    ports.clock.tick(seconds=61)
    assert isinstance(go(ports), Await)
    assert board.asked == []
    assert isinstance(go(ports, 3), Hold)
    board.agrees = True
    assert isinstance(go(ports), Approve)
    assert isinstance(go(ports), Promote)
    name, question = board.asked[-1]
    assert (name, question.version, question.before, len(board.asked)) == ("board", "digits/v2", 100, 4)
    assert question.reason.startswith("canary 0 errors in 400 requests")
    told = [t for t in ports.registry.timeline(subject="digits") if t.kind == "rollout.approved"]
    assert [(t.message, t.data["gate"]) for t in told] == [("board agreed to 100 %", 100)]


def test_a_person_opens_a_gate_that_asks_somebody_else():
    ports = world(bounds=Bounds(questions={"board": "https://board.example"}))
    live(ports)
    drop(ports, V2, deploy="gates: [{before: 5, ask: board}]")
    go(ports, 3)
    manage.approve("digits", ports)
    assert isinstance(go(ports), Shift)


def test_approving_where_nothing_waits_is_refused(ports):
    live(ports)
    drop(ports, V2)
    with pytest.raises(Rejected, match="waits at no gate, so there is nothing to approve"):
        manage.approve("digits", ports)


# --- the queue ---------------------------------------------------------------------------------------------------
def queued(ports):
    stable = live(ports)
    drop(ports, V2, deploy="on_newer: queue")
    go(ports, 2)
    drop(ports, V3)
    return stable


def test_a_newer_version_waits_for_the_end_of_the_rollout_that_queues(ports):
    stable = queued(ports)
    assert (rollout(ports, V2).phase, rollout(ports, V3).phase) == (Phase.STEPPING, Phase.QUEUED)
    assert deployment(ports, V3) not in endpoint(ports).deployments
    count(ports, deployment(ports, V2), stable, errors=100)
    go(ports)
    assert rollout(ports, V2).phase is Phase.ROLLED_BACK
    go(ports)
    assert rollout(ports, V3).phase is Phase.STARTING
    go(ports, 2)
    assert endpoint(ports).split.weights == {stable: 95, deployment(ports, V3): 5}


def test_what_waited_is_compared_with_what_was_promoted_meanwhile(ports):
    queued(ports)
    manage.promote("digits", ports)
    go(ports, 4)
    assert endpoint(ports).split.weights == {deployment(ports, V2): 95, deployment(ports, V3): 5}
    assert rollout(ports, V3).stable == deployment(ports, V2)


def test_of_several_that_wait_the_newest_stays(ports):
    queued(ports)
    drop(ports, V4)
    assert (rollout(ports, V3).phase, rollout(ports, V4).phase) == (Phase.SUPERSEDED, Phase.QUEUED)
    manage.abort("digits", ports)
    go(ports, 2)
    assert rollout(ports, V4).phase is Phase.STARTING


def test_what_waited_and_serves_already_is_not_rolled_out_again(ports):
    live(ports)
    drop(ports, V2, deploy="on_newer: queue")
    go(ports, 2)
    manage.start("digits", V2, ports)
    manage.promote("digits", ports)
    go(ports, 3)
    assert endpoint(ports).split.weights == {deployment(ports, V2): 100}
    assert endpoint(ports).queued == ""


def test_what_waited_and_failed_ends_like_any_other(ports):
    stable = queued(ports)
    ports.fleet.becomes["v3"] = Running(FleetState.FAILED, reason="no such file")
    manage.abort("digits", ports)
    go(ports, 4)
    assert rollout(ports, V3).phase is Phase.FAILED
    assert endpoint(ports).split.weights == {stable: 100}


# --- what older builds stored --------------------------------------------------------------------------------------
NEW_OF_ROLLOUTS = ("gate", "gate_since", "approved", "baseline", "then", "start_since")
NEW_OF_PLANS = ("strategy", "bake", "gates", "windows", "on_newer", "placement", "fallback_types")


def test_a_rollout_that_an_older_build_stored_is_read_and_goes_on(ports):
    stable = live(ports)
    drop(ports, V2)
    go(ports, 2)
    stored = Records(ports.registry).get(Rollout, rollout(ports, V2).id)
    body = {key: value for key, value in stored.write.body.items() if key not in NEW_OF_ROLLOUTS}
    body["plan"] = {key: value for key, value in body["plan"].items() if key not in NEW_OF_PLANS}
    ports.registry.commit([replace(stored.write, body=body)])
    served = Records(ports.registry).endpoint("digits")
    older = {key: value for key, value in served.write.body.items() if key not in {"queued", "asleep"}}
    ports.registry.commit([replace(served.write, body=older)])
    assert rollout(ports, V2) == stored.value
    count(ports, deployment(ports, V2), stable)
    ports.clock.tick(seconds=61)
    assert isinstance(go(ports), Shift)
