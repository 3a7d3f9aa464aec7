"""The platform is killed, stopped and started again: it goes on where it was, and nothing is left behind."""

import time

import psutil
import pytest

from chalicelib.local.home import Home
from chalicelib.local.stores import MinIO
from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, PlatformProcess, platform, until

pytestmark = pytest.mark.alone

SLOW = """
import time
def handle(data, context):
    time.sleep(1.5 if data else 0)
    return data and [1 for _ in data]
"""
PACE = ("--step-time", "3", "--min-requests", "15", "--quiet-period", "0.5", "--steps", "30,60,100")


@pytest.fixture
def running(tmp_path):
    started = PlatformProcess(tmp_path / "home", *PACE).start()
    yield started
    if started.process.poll() is None:
        started.kill()


def test_a_kill_in_the_middle_of_a_rollout_ends_with_the_rollout_finished(running):
    running.drop("m/v1/", {"model.mar": small_mar()})
    running.await_phase("m", "v1", "promoted")
    with Load(running, "m", per_second=20):
        running.drop("m/v2/", {"model.mar": small_mar(), "README.md": b"second"})
        until(lambda: 30 in running.endpoint("m")["split"].values(), 60, "the first step")
        started = running.kill()
    gone, left = psutil.wait_procs(started, timeout=5)
    assert left == []
    assert len(gone) >= 3  # MinIO and two replicas
    running.start()
    assert running.phase("m", "v2") == "stepping"
    with Load(running, "m", per_second=20) as after:
        running.await_phase("m", "v2", "promoted")
    assert after.failed == []
    assert {a.version for a in after.answers} == {"v1", "v2"}
    kinds = [t["kind"] for t in timeline(running, "v2")]
    assert (kinds.count("rollout.opened"), kinds.count("rollout.promoted")) == (1, 1)
    running.stop()


def timeline(running, version_id):
    rollout = next(r for r in running.get("/v1/rollouts")["rollouts"] if r["version_id"] == version_id)
    return running.get(f"/v1/rollouts/{rollout['id']}")["timeline"]


def test_a_drop_made_while_the_platform_was_down_is_found_by_listing(tmp_path):
    home = tmp_path / "home"
    with platform(home, *PACE) as running:
        running.drop("m/v1/", {"model.mar": small_mar()})
        running.await_phase("m", "v1", "promoted")
    store = StoreAlone(home)
    with store:
        store.put("late/v1/model.mar", small_mar())
    with platform(home, *PACE) as running:
        assert running.serving("m") == "v1"
        running.await_phase("late", "v1", "promoted")


class StoreAlone:
    """MinIO on a home's data without a platform: uploads arrive, events have nowhere to go."""

    def __init__(self, home):
        self._store = MinIO(Home(home), receiver="http://127.0.0.1:1/nobody", token="none")

    def __enter__(self):
        self._connected = self._store.start()
        return self

    def __exit__(self, *_):
        self._store.stop()

    def put(self, key, body):
        self._connected.drop.put(key, body)


def test_stopping_finishes_the_requests_that_are_being_answered(tmp_path):
    slow = small_mar(SLOW)
    running = PlatformProcess(tmp_path / "home", *PACE).start()
    running.drop("slow/v1/", {"model.mar": slow})
    running.await_phase("slow", "v1", "promoted")
    with Load(running, "slow", per_second=8, callers=4) as load:
        until(lambda: len(load.answers) > 4, 30, "some answers")
        asked = time.time()
        running.stop()
    begun_before = [a for a in load.answers if a.at < asked]
    assert {a.status for a in begun_before} == {200}
    assert running.process.returncode == 0


def test_a_second_platform_on_the_same_home_is_refused_in_one_clear_line(running):
    second = running.cli("up", "--port", "0", "--s3-port", "0", "--store", "embedded")
    assert second.returncode != 0
    assert "Traceback" not in second.stderr
    assert "already running" in second.stderr
