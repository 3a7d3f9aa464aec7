"""Strategies, gates, windows and the queue on a real platform, with load from outside."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, platform, until
from tests.question_server import QuestionServer

pytestmark = pytest.mark.alone

GOOD = small_mar()
RAISES = """
def handle(data, context):
    if data is None: return None
    raise ValueError("no such class")
"""
PACE = ("--step-time", "2", "--min-requests", "20", "--quiet-period", "0.5", "--steps", "50,100")
RECREATE = b"placement: recreate\nbake: 5s"
BLUE_GREEN = b"strategy: blue_green\nbake: 5s"


@pytest.fixture(scope="module")
def board():
    with QuestionServer() as asked:
        yield asked


@pytest.fixture(scope="module")
def running(tmp_path_factory, board):
    folder = tmp_path_factory.mktemp("ways")
    (folder / "bounds.yaml").write_text(
        f"questions: {{board: '{board.url}'}}\nplacements: [surge, co_resident, recreate]"
    )
    with platform(folder / "home", *PACE, "--bounds", str(folder / "bounds.yaml")) as started:
        yield started


def drop(running, name, version, plan=b"", model=GOOD):
    running.drop(f"{name}/{version}/", {"model.mar": model, "deploy.yaml": plan})


def rollout(running, name, version):
    rollouts = running.get(f"/v1/rollouts?endpoint={name}")["rollouts"]
    return next((r for r in reversed(rollouts) if r["version_id"] == version), {})


def told(running, name, version):
    return [t["kind"] for t in running.get(f"/v1/rollouts/{rollout(running, name, version)['id']}")["timeline"]]


def await_gate(running, name, version, percent):
    until(
        lambda: rollout(running, name, version).get("gate") == percent, 60, f"{version} at the gate before {percent} %"
    )


def test_blue_green_moves_all_traffic_at_once_and_a_failing_bake_returns_it_by_itself(running):
    drop(running, "blue", "v1")
    running.await_phase("blue", "v1", "promoted")
    with Load(running, "blue", per_second=30) as load:
        drop(running, "blue", "v2", BLUE_GREEN, small_mar(RAISES))
        running.await_phase("blue", "v2", "rolled_back")
        back = time.time()
        drop(running, "blue", "v3", BLUE_GREEN)
        running.await_phase("blue", "v3", "promoted")
        promoted = time.time()
        until(lambda: sum(a.at > promoted for a in load.answers) > 20, 30, "more answers")
    assert told(running, "blue", "v2") == ["rollout.opened", "rollout.baking", "rollout.rolled_back"]
    assert told(running, "blue", "v3")[:2] == ["rollout.opened", "rollout.baking"]
    assert "errors in" in rollout(running, "blue", "v2")["reason"]
    assert {a.version for a in load.failed} <= {"v2"}
    assert not [a for a in load.answers if a.version == "v2" and a.at > back + 1]
    assert {a.version for a in load.answers if a.at > promoted} == {"v3"}


def test_linear_takes_equal_steps_while_both_versions_run_on_one_machines_devices(running):
    drop(running, "even", "v1")
    running.await_phase("even", "v1", "promoted")
    with Load(running, "even", per_second=30) as load:
        drop(running, "even", "v2", b"strategy: linear\nstep_by: 40\nplacement: co_resident")
        running.await_phase("even", "v2", "promoted")
    timeline = running.get(f"/v1/rollouts/{rollout(running, 'even', 'v2')['id']}")["timeline"]
    splits = [list(t["data"]["split"].values()) for t in timeline if t["kind"] == "rollout.shifted"]
    assert splits == [[60, 40], [20, 80]]
    assert not load.failed


def test_a_gate_waits_for_modeldrop_approve_and_the_queued_version_for_its_turn(running):
    drop(running, "gated", "v1")
    running.await_phase("gated", "v1", "promoted")
    with Load(running, "gated", per_second=30):
        drop(running, "gated", "v2", b"gates: [50, 100]\non_newer: queue")
        await_gate(running, "gated", "v2", 50)
        assert list(running.endpoint("gated")["split"].values()) == [100]
        drop(running, "gated", "v3", b"steps: [50, 100]")
        running.await_phase("gated", "v3", "queued")
        assert running.cli("approve", "gated").returncode == 0
        await_gate(running, "gated", "v2", 100)
        refused = running.cli("start", "gated", "gated/v1")
        assert refused.returncode == 1
        assert "serves already" in refused.stderr
        assert running.cli("approve", "gated").returncode == 0
        running.await_phase("gated", "v2", "promoted")
        running.await_phase("gated", "v3", "promoted")
    assert running.cli("approve", "gated").returncode == 1
    kinds = told(running, "gated", "v2")
    assert (kinds.count("rollout.gate_waiting"), kinds.count("rollout.approved")) == (2, 2)
    assert told(running, "gated", "v3")[:2] == ["rollout.queued", "rollout.opened"]


def test_a_gate_asks_the_operators_url_and_only_a_yes_opens_it(running, board):
    drop(running, "asking", "v1")
    running.await_phase("asking", "v1", "promoted")
    drop(running, "asking", "v2", b"gates: [{before: 50, ask: board}]")
    await_gate(running, "asking", "v2", 50)
    until(lambda: board.questions, 30, "the question")
    assert board.questions[0]["version"] == "asking/v2"
    time.sleep(2)
    assert rollout(running, "asking", "v2")["phase"] == "starting"
    board.status = 200
    running.await_phase("asking", "v2", "stepping")
    assert running.cli("abort", "asking").returncode == 0
    running.await_phase("asking", "v2", "aborted")


def test_without_room_for_two_one_makes_room_for_the_other_and_back_again(running):
    drop(running, "single", "v1")
    running.await_phase("single", "v1", "promoted")
    most = 0
    with Load(running, "single", per_second=30) as load:
        drop(running, "single", "v2", RECREATE, small_mar(RAISES))
        most = max(most, beside(running, "single", "v2", "rolled_back"))
        drop(running, "single", "v3", RECREATE)
        most = max(most, beside(running, "single", "v3", "promoted"))
        promoted = time.time()
        until(lambda: sum(a.at > promoted for a in load.answers) > 20, 30, "more answers")
    assert most == 1
    way = ["rollout.opened", "rollout.recreating", "rollout.baking", "rollout.returning", "rollout.rolled_back"]
    assert told(running, "single", "v2") == way
    opened = running.get(f"/v1/rollouts/{rollout(running, 'single', 'v2')['id']}")["timeline"][0]
    assert 0 < opened["data"]["downtime_s"] < 60
    assert "nothing answers for about" in opened["message"]
    assert {a.version for a in load.answers if a.at > promoted} == {"v3"}


def beside(running, name, version, phase):
    """Wait for a rollout's phase, and return how many deployments of the endpoint ran at once meanwhile."""
    most = 0

    def reached():
        nonlocal most
        states = [d["state"] for d in running.endpoint(name)["deployments"].values()]
        most = max(most, sum(state in {"starting", "ready"} for state in states))
        return running.phase(name, version) == phase

    until(reached, 120, f"{name}/{version} {phase}")
    return most


def test_outside_of_its_windows_a_rollout_takes_no_step_and_can_be_aborted(running):
    in_two_days = f"{datetime.now(UTC) + timedelta(days=2):%a}"
    drop(running, "closed", "v1")
    running.await_phase("closed", "v1", "promoted")
    drop(running, "closed", "v2", f"windows: [{in_two_days} 00:00-24:00 UTC]".encode())
    running.await_phase("closed", "v2", "starting")
    until(lambda: any(d["version_id"] == "v2" and d["state"] == "ready" for d in deployments(running)), 60, "v2 ready")
    time.sleep(3)
    assert list(running.endpoint("closed")["split"].values()) == [100]
    assert running.cli("abort", "closed").returncode == 0
    running.await_phase("closed", "v2", "aborted")


def deployments(running):
    return running.endpoint("closed")["deployments"].values()


def test_a_plan_past_the_operators_bounds_is_rejected_with_what_is_allowed(running):
    drop(running, "hasty", "v1", b"strategy: all_at_once")
    found = until(lambda: running.get("/v1/models/hasty/versions/v1").get("findings"), 30, "the report")
    assert "strategy all_at_once is not among those that the operator allows" in found[0]["message"]
