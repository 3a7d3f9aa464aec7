"""A shadow on a real platform: copies of a steady load, and a verdict before any caller meets the canary."""

import json

import pytest

from tests.platform_world import Load, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "10", "--quiet-period", "0.5", "--steps", "50,100")
SHADOW = (
    "shadow: {share: 100%, for: 2s, min_requests: 20, keep_disagreements: true}\nthresholds: {latency_slack_ms: 500}\n"
)
MODEL = "def load_model(): return 1\ndef predict(data, model=load_model()):\n    return [{answer} for x in data]\n"
HANGS = MODEL.replace("    return [", "    import time; time.sleep(0 if data == [0] else 600)\n    return [")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shadow")
    bounds = folder / "bounds.yaml"
    bounds.write_text("keep_disagreements: true\n")
    with platform(folder / "home", *PACE, "--bounds", str(bounds), store="embedded") as started:
        yield started


def drop(running, ref, answer, source=MODEL, deploy=SHADOW):
    running.drop(
        f"{ref}/",
        {"score.py": source.replace("{answer}", answer).encode(), "deploy.yaml": deploy.encode(), "warmup.jsonl": b"0"},
    )


def ended(running, name, version_id):
    found = next(r for r in running.get(f"/v1/rollouts?endpoint={name}")["rollouts"] if r["version_id"] == version_id)
    return running.get(f"/v1/rollouts/{found['id']}")


def test_a_shadow_that_disagrees_never_has_traffic_and_shows_where_it_does(running):
    drop(running, "odd/v1", "x % 2")
    running.await_phase("odd", "v1", "promoted")
    with Load(running, "odd", per_second=40, body={"instances": [1]}) as load:
        drop(running, "odd/v2", "1 - x % 2")
        running.await_phase("odd", "v2", "failed")
    assert {(a.status, a.version) for a in load.answers} == {(200, "v1")}
    rollout = ended(running, "odd", "v2")
    assert "as a shadow: " in rollout["reason"]
    assert "predictions agree, 90.0% wanted" in rollout["reason"] or "PSI" in rollout["reason"]
    assert [t["kind"] for t in rollout["timeline"]][:2] == ["rollout.opened", "rollout.shadowing"]
    examples = running.get(f"/v1/disagreements/{rollout['id']}")["disagreements"]
    assert 1 <= len(examples) <= 50
    assert examples[0]["why"] == "expected class 1, got 0"
    assert json.loads(examples[0]["request"]) == {"instances": [1]}
    key = running.key("deploy")["key"]
    with running.client(key) as deployer:
        assert deployer.get(f"/v1/disagreements/{rollout['id']}").status_code == 403


def test_while_a_shadow_hangs_callers_are_answered_and_it_ends_by_what_it_did_not_answer(running):
    drop(running, "stuck/v1", "x")
    running.await_phase("stuck", "v1", "promoted")
    with Load(running, "stuck", per_second=30, body={"instances": [1]}) as load:
        drop(running, "stuck/v2", "x", source=HANGS)
        until(lambda: running.phase("stuck", "v2") == "shadowing", 60, "v2 to be a shadow")
        before = len(load.answers)
        until(lambda: len(load.answers) > before + 100, 30, "answers while it hangs")
        running.await_phase("stuck", "v2", "failed", 120)
    assert {(a.status, a.version) for a in load.answers} == {(200, "v1")}
    assert "errors in" in ended(running, "stuck", "v2")["reason"]


def test_a_shadow_that_agrees_goes_on_to_its_steps_and_is_promoted(running):
    drop(running, "same/v1", "x % 2")
    running.await_phase("same", "v1", "promoted")
    with Load(running, "same", per_second=40, body={"instances": [1]}) as load:
        drop(running, "same/v2", "x % 2 + 0")
        running.await_phase("same", "v2", "promoted", 120)
    assert {a.status for a in load.answers} == {200}
    kinds = [t["kind"] for t in ended(running, "same", "v2")["timeline"]]
    assert kinds == ["rollout.opened", "rollout.shadowing", "rollout.shifted", "rollout.promoted"]


def test_what_users_sent_is_not_kept_where_the_operator_does_not_allow_it(tmp_path):
    with platform(tmp_path / "home", *PACE, store="embedded") as other:
        drop(other, "kept/v1", "x")
        found = until(lambda: other.get("/v1/models/kept/versions/v1").get("findings"), 30, "a verdict")
        assert [f["code"] for f in found if f["severity"] == "error"] == ["past_bound"]
        assert "keeps what users sent" in str(found)


def test_a_canary_that_builds_its_answers_otherwise_goes_back_although_it_answers_200(running):
    plan = "step_time: 20s\nthresholds: {latency_slack_ms: 500}\n"
    drop(running, "built/v1", "x", deploy=plan)
    running.await_phase("built", "v1", "promoted")
    with Load(running, "built", per_second=40, body={"instances": [1]}) as load:
        drop(running, "built/v2", '{"score": x}', deploy=plan)
        running.await_phase("built", "v2", "rolled_back")
    assert {a.status for a in load.answers} == {200}
    reason = ended(running, "built", "v2")["reason"]
    assert "new structures of answers" in reason
    assert "{score: number}" in reason
