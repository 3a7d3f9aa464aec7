"""Somebody changes what serves behind a rollout's back, on a real platform: callers show it, and the rollout ends."""

from dataclasses import replace

import pytest

from chalicelib.domain.split import Split
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.pipeline.records import Records
from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "600", "--min-requests", "20", "--quiet-period", "0.5", "--steps", "20,50,100")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("drift") / "home", *PACE) as started:
        for name in ("tampered", "asked"):
            started.drop(f"{name}/v1/", {"model.mar": small_mar()})
        for name in ("tampered", "asked"):
            started.await_phase(name, "v1", "promoted")
        yield started


def at_first_step(running, name):
    """Drop another version of a model and return its endpoint once the canary has its share."""
    running.drop(f"{name}/v2/", {"model.mar": small_mar("def handle(data, context): return data and [1] * len(data)")})
    until(lambda: running.phase(name, "v2") == "stepping", 60, "the canary's first traffic")
    return running.endpoint(name)


def test_a_weight_that_is_changed_behind_the_rollouts_back_is_told_as_drift_and_all_traffic_goes_back(running):
    shown = at_first_step(running, "tampered")
    stable, canary = shown["promoted"], shown["rollout"]["canary"]
    registry = SqliteRegistry(running.home / "registry.sqlite")
    stored = Records(registry).endpoint("tampered")
    split = Split({stable: 60, canary: 40}, stored.value.split.salt)
    with Load(running, "tampered") as load:
        registry.commit([replace(stored, value=replace(stored.value, split=split)).write])
        running.await_phase("tampered", "v2", "rolled_back", 30)
        until(lambda: len(load.answers) > 30, 30, "answers")
    registry.close()
    told = {e["kind"]: e for e in running.events() if e["subject"] == "tampered"}
    assert told["rollout.drifted"]["data"]["split"] == {stable: 60, canary: 40}
    assert "not" in told["rollout.drifted"]["message"]
    assert told["rollout.rolled_back"]["data"]["split"] == {stable: 100}
    assert {a.status for a in load.answers} == {200}
    assert running.endpoint("tampered")["split"] == {stable: 100}


def test_who_would_answer_is_said_over_the_public_path_by_the_split_and_the_replica_itself(running):
    shown = at_first_step(running, "asked")
    with running.client(running.key("predict:asked")["key"]) as client:
        said = [
            client.get("/v1/endpoints/asked/predict", headers={"X-Modeldrop-Key": f"user-{n}"}).json()
            for n in range(100)
        ]
    digests = {id_: d["wanted_digest"] for id_, d in shown["deployments"].items()}
    assert {one["deployment"] for one in said} == digests.keys()
    assert all(one["digest"] == digests[one["deployment"]] for one in said)
    traffic = running.endpoint("asked")["rollout"]["traffic"]
    assert (traffic["canary"]["requests"], traffic["stable"]["requests"]) == (0, 0)
    assert running.phase("asked", "v2") == "stepping"
