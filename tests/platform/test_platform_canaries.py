"""Canaries that are sick in one way each, on a real platform under a steady load: each goes back."""

import time
from contextlib import ExitStack
from datetime import datetime

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, platform, until

pytestmark = pytest.mark.alone

GOOD = small_mar()
SICK = {
    "crashes": """
import os
calls = 0
def handle(data, context):
    global calls
    if data is None: return None
    calls += 1
    if calls > 3: os._exit(9)
    return [row["data"] for row in data]
""",
    "raises": """
def handle(data, context):
    if data is None: return None
    raise ValueError("no such class")
""",
    "nan": """
def handle(data, context):
    return data and [[float("nan"), 1.0] for _ in data]
""",
    "reshaped": """
def handle(data, context):
    return data and [{"value": row["data"]} for row in data]
""",
    "slow": """
import time
def handle(data, context):
    if data is None: return None
    time.sleep(0.15)
    return [row["data"] for row in data]
""",
}
PRIVATE = ("registry.sqlite", "credentials.json", "connection.json", "aws-credentials")
PACE = ("--step-time", "2", "--min-requests", "20", "--quiet-period", "0.5", "--steps", "20,50,100")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("canaries") / "home", *PACE) as started:
        yield started


def test_each_sick_canary_is_rolled_back_and_no_request_fails(running):
    for kind in SICK:
        running.drop(f"{kind}/v1/", {"model.mar": GOOD})
    for kind in SICK:
        running.await_phase(kind, "v1", "promoted")
    with ExitStack() as loads:
        load = {kind: loads.enter_context(Load(running, kind, per_second=15, callers=2)) for kind in SICK}
        for kind, handler in SICK.items():
            running.drop(f"{kind}/v2/", {"model.mar": small_mar(handler)})
        for kind in SICK:
            running.await_phase(kind, "v2", "rolled_back", 120)
        done = time.time()
        until(lambda: all(sum(a.at > done for a in each.answers) > 10 for each in load.values()), 60, "more answers")
    for kind in SICK:
        assert running.serving(kind) == "v1"
        late = [a for a in load[kind].answers if a.at > done]
        assert {(a.status, a.version) for a in late} == {(200, "v1")}
    assert [a for kind in ("crashes", "nan", "reshaped", "slow") for a in load[kind].failed] == []
    for kind in SICK:
        assert [a for a in load[kind].answers if a.version == "v2" and a.at > rolled_back_at(running, kind) + 2] == []
    # An answer of the model's own is the model's own: 500s of the canary reach their callers until it goes back.
    assert {a.version for a in load["raises"].failed} <= {"v2"}


def rolled_back_at(running, name):
    """Return the moment at which the evidence was strong enough, in seconds since the epoch."""
    rollout = next(r for r in running.get(f"/v1/rollouts?endpoint={name}")["rollouts"] if r["version_id"] == "v2")
    return datetime.fromisoformat(rollout["ended"]).timestamp()


def test_the_reason_of_each_end_is_said_with_its_numbers(running):
    reasons = {r["endpoint"]: r["reason"] for r in running.get("/v1/rollouts")["rollouts"] if r["version_id"] == "v2"}
    assert "exited" in reasons["crashes"] or "failed" in reasons["crashes"] or "error" in reasons["crashes"]
    assert "errors in" in reasons["raises"]
    assert "non-finite" in reasons["nan"]
    assert "{predictions: n * {value: [2 * number]}} instead of {predictions: n * [2 * number]}" in reasons["reshaped"]
    assert "p50" in reasons["slow"] or "p95" in reasons["slow"]


def test_silence_never_promotes(running):
    running.drop("silent/v1/", {"model.mar": GOOD})
    running.await_phase("silent", "v1", "promoted")
    running.drop("silent/v2/", {"model.mar": small_mar() + b""})
    until(
        lambda: running.endpoint("silent")["split"].values() and running.phase("silent", "v2") == "stepping", 60, "v2"
    )
    held = until(lambda: "waits for a person" in judged(running), 60, "every extension used up")
    assert held
    assert sorted(running.endpoint("silent")["split"].values()) == [20, 80]


def judged(running) -> str:
    rollout = running.endpoint("silent")["rollout"]
    timeline = running.get(f"/v1/rollouts/{rollout['id']}")["timeline"]
    extended = sum(t["kind"] == "rollout.extended" for t in timeline)
    return "waits for a person" if extended == 3 else ""


def test_a_handler_that_raises_while_it_loads_ends_the_rollout_with_its_own_words_before_any_traffic(running):
    running.drop(
        "raises/v3/",
        {"model.mar": small_mar("raise RuntimeError('weights from another planet')\ndef handle(d, c): ...")},
    )
    running.await_phase("raises", "v3", "failed")
    shown = running.get("/v1/models/raises/versions/v3")
    assert shown["status"] == "unservable"
    assert "weights from another planet" in shown["unservable"]
    assert list(running.endpoint("raises")["split"].values()) == [100]


def test_a_handler_finds_no_environment_no_registry_no_credentials_and_no_network(running):
    spy = f"""
import os, socket
def readable(path):
    try:
        return open(path, "rb").read(50).decode("latin-1")
    except OSError:
        return ""
def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False
def handle(data, context):
    if data is None: return None
    others = [p for p in os.listdir("/proc") if p.isdigit() and p != str(os.getpid())]
    return [{{
        "environment": sorted(os.environ),
        "files": [readable({str(running.home)!r} + "/" + n) for n in {PRIVATE!r}],
        "environments": [e for e in (readable(f"/proc/{{p}}/environ") for p in others) if e],
        "network": reaches({int(running.url.rpartition(":")[2])}),
        "uid": os.getuid(),
    }} for _ in data]
"""
    running.drop("spy/v1/", {"model.mar": small_mar(spy)})
    running.await_phase("spy", "v1", "promoted")
    with running.client(running.key("predict:spy")["key"]) as client:
        found = client.post("/v1/endpoints/spy/predict", json={"instances": [1]}).json()["predictions"][0]
    assert found["files"] == ["", "", "", ""]
    assert found["environments"] == []
    assert not [name for name in found["environment"] if re_secret(name)]
    isolation = running.said.lower()
    assert not found["network"] or "network" in isolation
    assert found["uid"] != 0 or "uid" in isolation or "user" in isolation


def re_secret(name: str) -> bool:
    return any(word in name for word in ("AWS", "MINIO", "SECRET", "TOKEN", "KEY", "PASSWORD"))
