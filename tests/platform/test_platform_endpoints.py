"""Who answers, decided by people, on a real platform under load: splits of their own, dark versions, aliases."""

import json

import psutil
import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, PlatformProcess, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "5", "--min-requests", "1000", "--quiet-period", "0.5", "--steps", "20,100", "--keep-warm", "5")
KEYS = [f"user-{n}" for n in range(60)]
BODY = {"instances": [[1.0, 2.0]]}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endpoints")
    (folder / "bounds.yaml").write_text("grants: {m: [faces]}\n")
    started = PlatformProcess(folder / "home", *PACE, "--bounds", str(folder / "bounds.yaml")).start()
    for ref in ("m/v1", "faces/v1"):
        drop(started, ref)
        started.await_phase(ref.split("/")[0], "v1", "promoted")
    drop(started, "m/v2")
    until(lambda: 20 in started.endpoint("m")["split"].values(), 60, "v2's first step")
    yield started
    started.stop()


def drop(running, ref, deploy_yaml=""):
    wishes = {"deploy.yaml": deploy_yaml.encode()} if deploy_yaml else {}
    running.drop(f"{ref}/", {"model.mar": small_mar(), "README.md": ref.encode(), **wishes})


def ask(client, name="m", **headers):
    return client.post(f"/v1/endpoints/{name}/predict", json=BODY, headers=headers)


def who(answer):
    """Return MODEL/VERSION of who answered, as the replica says it."""
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['x-modeldrop-model']}/{answer.headers['x-modeldrop-version']}"


def assigned(running):
    """Return who answers each key."""
    with running.client(running.key("predict:m")["key"]) as client:
        return {key: who(ask(client, **{"X-Modeldrop-Key": key})) for key in KEYS}


def shares(running, name="m"):
    shown = running.endpoint(name)
    refs = {id_: f"{d['model_id']}/{d['version_id']}" for id_, d in shown["deployments"].items()}
    return {refs[id_]: weight for id_, weight in shown["split"].items() if weight}


def in_force(running, wanted):
    until(lambda: shares(running) == wanted, 60, f"{wanted}; {running.said[-2000:]}")


def told(running):
    lines = (running.home / "events.jsonl").read_text().splitlines()
    return [(event["kind"], event["subject"]) for event in map(json.loads, lines)]


# The tests are one story, in this order: v1 is stable, v2 a canary at 20 % that has too little evidence to pass.
def test_a_dark_version_answers_who_has_its_scope_and_the_judge_sees_nothing_of_it(running):
    before = running.endpoint("m")["rollout"]["traffic"]["canary"]["requests"]
    with running.client(running.key("dark:m")["key"]) as tester:
        assert {who(ask(tester, **{"X-Modeldrop-Version": "v2"})) for _ in range(30)} == {"m/v2"}
        assert who(ask(tester, **{"X-Modeldrop-Version": "m/v1"})) == "m/v1"
        assert ask(tester).status_code == 403
    with running.client(running.key("predict:m")["key"]) as app:
        assert ask(app, **{"X-Modeldrop-Version": "v2"}).status_code == 403
    assert running.endpoint("m")["rollout"]["traffic"]["canary"]["requests"] == before


def test_an_alias_is_followed_and_keeps_its_version_running_after_the_rollout(running):
    assert running.cli("alias", "set", "m", "blue", "m/v2").returncode == 0
    running.ask("POST", "/v1/endpoints/m/abort")
    running.await_phase("m", "v2", "aborted")
    with running.client(running.key("predict:m")["key"]) as app:
        assert who(ask(app, **{"X-Modeldrop-Alias": "blue"})) == "m/v2"
        assert who(ask(app, **{"X-Modeldrop-Alias": "champion"})) == "m/v1"
        assert {who(ask(app)) for _ in range(20)} == {"m/v1"}
    refused = running.cli("alias", "set", "m", "blue", "m/v9")
    assert (refused.returncode, "start a rollout" in refused.stderr) == (1, True)


def test_a_split_by_hand_comes_in_force_under_load_without_a_failed_request_and_keys_stay(running):
    with Load(running, "m", per_second=20) as load:
        assert running.cli("split", "m", "v1=60", "v2=40").returncode == 0
        in_force(running, {"m/v1": 60, "m/v2": 40})
        first = assigned(running)
        assert assigned(running) == first
        assert set(first.values()) == {"m/v1", "m/v2"}
        # Another model's version joins: only keys of v1, which has less than before, move, and only to it.
        assert running.cli("split", "m", "v1=30", "v2=40", "faces/v1=30").returncode == 0
        in_force(running, {"m/v1": 30, "m/v2": 40, "faces/v1": 30})
        second = assigned(running)
    moved = {(first[key], second[key]) for key in KEYS if first[key] != second[key]}
    assert moved == {("m/v1", "faces/v1")}
    assert load.failed == []


def test_a_split_of_another_model_without_a_grant_is_refused(running):
    refused = running.ask("PUT", "/v1/endpoints/faces/split", json={"weights": {"faces/v1": 50, "m/v1": 50}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_your_endpoint")


def test_a_kept_split_is_the_same_after_a_kill_and_a_restart(running):
    before = assigned(running)
    gone, left = psutil.wait_procs(running.kill(), timeout=10)
    assert (left, len(gone) >= 4) == ([], True)
    running.start()
    assert shares(running) == {"m/v1": 30, "m/v2": 40, "faces/v1": 30}
    assert assigned(running) == before


def test_a_dropped_version_is_held_back_until_the_split_is_ended_and_then_rolled_out(running):
    drop(running, "m/v3")
    until(lambda: ("rollout.held_back", "m") in told(running), 60, "rollout.held_back")
    refused = running.cli("start", "m", "m/v3")
    assert (refused.returncode, "--end" in refused.stderr) == (1, True)
    assert running.phase("m", "v3") == ""
    assert running.cli("split", "m", "--end", "v2").returncode == 0
    until(lambda: running.serving("m") == "v2", 60, "v2 is promoted")
    until(lambda: running.phase("m", "v3") in {"starting", "stepping"}, 60, "v3's rollout")
    with running.client(running.key("predict:m")["key"]) as app:
        assert who(ask(app, **{"X-Modeldrop-Alias": "previous"})) == "m/v1"
    conflict = running.ask("PUT", "/v1/endpoints/m/split", json={"weights": {"m/v1": 50, "m/v2": 50}})
    assert (conflict.status_code, "the rollout of m/v3 moves" in conflict.json()["error"]["message"]) == (409, True)


def test_one_drop_is_rolled_out_at_each_of_its_endpoints(running):
    drop(running, "twins/v1", "endpoints: [left, right]")
    for name in ("left", "right"):
        running.await_phase(name, "v1", "promoted")
    with running.client(running.key("predict:*")["key"]) as app:
        deployments = {ask(app, name).headers["x-modeldrop-deployment"] for name in ("left", "right")}
    assert len(deployments) == 2
    drop(running, "twins/v2", "endpoints: [left, right]")
    until(lambda: {running.phase(name, "v2") for name in ("left", "right")} == {"stepping"}, 60, "both step")
    running.ask("POST", "/v1/endpoints/left/promote")
    running.ask("POST", "/v1/endpoints/right/abort")
    running.await_phase("left", "v2", "promoted")
    assert running.cli("alias", "set", "left", "old", "twins/v1").returncode == 0
    running.await_phase("right", "v2", "aborted")
    assert (running.serving("left"), running.serving("right")) == ("v2", "v1")


def test_what_nothing_names_any_more_is_stopped_a_minute_later_and_what_an_alias_names_is_not(running):
    running.ask("POST", "/v1/endpoints/m/abort")
    left = {"m": ["m/v2"], "left": ["twins/v1", "twins/v2"], "right": ["twins/v1"]}
    until(lambda: {name: refs(running, name) for name in left} == left, 150, f"only {left}")
    with running.client(running.key("predict:left")["key"]) as app:
        assert who(ask(app, "left", **{"X-Modeldrop-Alias": "old"})) == "twins/v1"
        assert ask(app, "left", **{"X-Modeldrop-Alias": "previous"}).status_code == 404  # its time to be warm is over


def refs(running, name):
    """Return what an endpoint has running."""
    deployments = running.endpoint(name)["deployments"].values()
    return sorted(f"{d['model_id']}/{d['version_id']}" for d in deployments)
