"""Synthetic requests on a real platform that nobody calls: they end a sick canary, and promote only where asked to."""

import pytest

from tests.platform_world import platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "10", "--quiet-period", "0.5", "--steps", "50,100")
DOUBLES = "def load_model(): return 2\ndef predict(data, model=load_model()):\n    return [model * x for x in data]\n"
TIRED = """
calls = 0
def load_model(): return 2
def predict(data, model=load_model()):
    global calls
    calls += 1
    if calls > 20: raise ValueError("tired")
    return [model * x for x in data]
"""
SHORT = "max_extensions: 0\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("synthetic") / "home", *PACE, store="embedded") as started:
        yield started


def drop(running, ref, source=DOUBLES, deploy=SHORT):
    files = {"score.py": source.encode(), "deploy.yaml": deploy.encode(), "warmup.jsonl": b"1\n2\n"}
    running.drop(f"{ref}/", files)


def timeline(running, name):
    rollout = running.endpoint(name)["last_rollout"]
    return running.get(f"/v1/rollouts/{rollout}")


def test_a_canary_that_nobody_calls_goes_back_when_it_fails_what_stable_answers(running):
    drop(running, "tired/v1")
    running.await_phase("tired", "v1", "promoted")
    drop(running, "tired/v2", TIRED)
    running.await_phase("tired", "v2", "rolled_back")
    ended = timeline(running, "tired")
    assert "of 60 synthetic requests to each side (warmup.jsonl): canary " in ended["reason"]
    assert "rollout.synthesized" in [t["kind"] for t in ended["timeline"]]
    assert running.serving("tired") == "v1"


def test_a_canary_that_is_no_worse_on_them_is_held_and_never_promoted(running):
    drop(running, "quiet/v1")
    running.await_phase("quiet", "v1", "promoted")
    drop(running, "quiet/v2")
    until(lambda: "synthetic requests to each side" in str(running.endpoint("quiet")["rollout"]), 60, "they were asked")
    shown = running.endpoint("quiet")
    assert shown["rollout"]["phase"] == "stepping"
    assert sorted(shown["split"].values()) == [50, 50]
    assert "canary has 0 of the 10 requests needed; of 60 synthetic" in shown["rollout"]["judgement"]["reason"]


def test_where_the_drop_says_so_they_promote_it(running):
    drop(running, "judged/v1")
    running.await_phase("judged", "v1", "promoted")
    drop(running, "judged/v2", deploy=f"{SHORT}synthetic: judge\nthresholds: {{latency_slack_ms: 500}}\n")
    running.await_phase("judged", "v2", "promoted")
    assert "of 60 synthetic requests to each side" in timeline(running, "judged")["reason"]
