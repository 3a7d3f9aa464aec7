"""golden.jsonl on a real platform: right versions go on, a wrong one never has traffic, a killed platform goes on."""

import json

import pytest

from tests.platform_world import Load, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "10", "--quiet-period", "0.5", "--steps", "50,100")
TIMES = (
    "def load_model(): return {factor}\ndef predict(data, model=load_model()):\n    return [model * x for x in data]\n"
)
SLOW = TIMES.replace("    return", "    import time; time.sleep(0.05)\n    return")


def version(factor, golden, source=TIMES):
    lines = "\n".join(json.dumps(line) for line in golden).encode()
    return {"score.py": source.replace("{factor}", str(factor)).encode(), "golden.jsonl": lines}


TWICE = [{"instance": n, "expected": 2 * n} for n in range(20)]


def timeline(running, name, version_id):
    found = next(r for r in running.get(f"/v1/rollouts?endpoint={name}")["rollouts"] if r["version_id"] == version_id)
    return running.get(f"/v1/rollouts/{found['id']}")


def test_a_wrong_version_is_ended_before_any_request_reaches_it(tmp_path):
    with platform(tmp_path / "home", *PACE, store="embedded") as running:
        running.drop("times/v1/", version(2, [{"metric": {"name": "mae", "at_most": 0.1}}, *TWICE]))
        running.await_phase("times", "v1", "promoted")
        assert timeline(running, "times", "v1")["exam"]["metrics"] == {"mae": 0.0}
        with Load(running, "times", body={"instances": [1]}) as load:
            running.drop("times/v2/", version(3, TWICE))
            running.await_phase("times", "v2", "failed")
            until(lambda: len(load.answers) > 60, 30, "answers")
        assert {(a.status, a.version) for a in load.answers} == {(200, "v1")}
        ended = timeline(running, "times", "v2")
        assert "19 of 20 lines missed; line 2: expected 2, got 3" in ended["reason"]
        assert [t["kind"] for t in ended["timeline"]] == ["rollout.opened", "rollout.examined", "rollout.failed"]
        running.drop("times/v3/", version(2, [*TWICE, {"instances": [1], "expect": [2]}]))
        rejected = until(lambda: running.get("/v1/models/times/versions/v3").get("findings"), 30, "a verdict")
        assert ("bad_golden", "line 21") in [(f["code"], f["message"][14:21]) for f in rejected]


def test_an_exam_that_a_crash_interrupts_goes_on_and_ends(tmp_path):
    running_for = [{"instance": n, "expected": 2 * n} for n in range(200)]
    with platform(tmp_path / "home", *PACE) as running:
        running.drop("slow/v1/", version(2, running_for, SLOW))
        asked = until(lambda: running.endpoint("slow").get("last_rollout") and exam(running)["asked"], 60, "a slice")
        assert 0 < asked < 200
        running.kill()
        running.start()
        assert exam(running)["asked"] >= asked
        running.await_phase("slow", "v1", "promoted")
        assert exam(running)["asked"] == 200


def exam(running):
    return running.get(f"/v1/rollouts/{running.endpoint('slow')['last_rollout']}").get("exam") or {"asked": 0}
