"""A deployment's life in the local fleet, with real processes and real signals."""

import hashlib
import os
import signal
import stat

import psutil
import pytest

from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.fleet import LocalFleet, Occupied
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, replicas_of, stored, until, until_state, write_server


@pytest.fixture
def store():
    return FakeBucket()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def changes():
    return []


@pytest.fixture
def fleet(store, home, tmp_path, changes):
    server = write_server(tmp_path)
    with LocalFleet(store, home, server=COMMAND, server_path=server, on_change=changes.append, drain_s=1.0) as fleet:
        yield fleet


def serving(home) -> psutil.Process:
    """Return the replica itself: the process of the deployment that has no child."""
    (replica,) = replicas_of(home.models)
    return replica


def test_a_deployment_is_fetched_started_and_answers_with_the_digest_of_what_it_loaded(fleet, store):
    fleet.ensure(deployment := stored(store, replicas=2))
    seen = until_state(fleet, deployment, FleetState.READY)
    assert (seen.ready, seen.restarts, seen.reason) == (2, 0, "")
    assert seen.digest == "sha256:" + hashlib.sha256(b"weights").hexdigest()
    assert len(fleet.sockets("d")) == 2
    assert all(stat.S_ISSOCK(path.stat().st_mode) and len(os.fsencode(path)) < 108 for path in fleet.sockets("d"))


def test_asking_twice_starts_nothing_twice(fleet, store, home):
    for _ in range(20):
        fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    assert fleet.deployments() == ["d"]
    assert serving(home).is_running()


def test_the_fetched_model_is_read_only(fleet, store, home):
    fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    assert stat.S_IMODE((home.models / "d").stat().st_mode) == 0o555
    assert stat.S_IMODE((home.models / "d" / "weights.bin").stat().st_mode) == 0o444


def test_stopping_drains_and_leaves_nothing_behind(fleet, store, home):
    fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    (socket,) = fleet.sockets("d")
    fleet.stop("d")
    until_state(fleet, deployment, FleetState.ABSENT)
    assert fleet.logs("d") == ["serving", "drained"]
    assert not socket.parent.parent.exists()
    assert not list(home.models.iterdir())
    assert replicas_of(home.models) == []
    assert (fleet.deployments(), fleet.sockets("d")) == ([], ())


def test_one_that_does_not_drain_is_killed(fleet, store, home):
    act = "signal.signal = lambda *_: None; import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGTERM])"
    fleet.ensure(deployment := stored(store, act))
    until_state(fleet, deployment, FleetState.READY)
    fleet.stop("d")
    assert fleet.observe("d").state in (FleetState.READY, FleetState.STOPPING)
    until_state(fleet, deployment, FleetState.ABSENT)
    assert replicas_of(home.models) == []


def test_one_that_is_still_loading_stops_too(fleet, store, home):
    fleet.ensure(deployment := stored(store, "signal.pause()"))
    until(lambda: replicas_of(home.models))
    fleet.stop("d")
    until_state(fleet, deployment, FleetState.ABSENT)
    assert replicas_of(home.models) == []


def test_every_change_is_told(fleet, store, changes):
    fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    until(lambda: len(changes) == 1)
    fleet.stop("d")
    until_state(fleet, deployment, FleetState.ABSENT)
    until(lambda: len(changes) >= 3)
    assert set(changes) == {"d"}


LOAD_FAILED = '{"event": "load_failed", "error": "ValueError: 9 weights, 10 needed", "where": "handler.py:12"}'


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("raise ValueError('9 weights')", ("exited with status 1", "ValueError: 9 weights")),
        (
            f"print({LOAD_FAILED!r}, file=sys.stderr); sys.exit(3)",
            ("ValueError: 9 weights, 10 needed", "handler.py:12"),
        ),
        ("sys.exit(0)", ("exited with status 0", "logged nothing")),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ("killed by SIGSEGV",)),
        ("hog = bytearray(600_000_000); hog[::4096] = b'1' * len(hog[::4096]); signal.pause()", ("memory_mb is 300",)),
        ("open('/tmp/hog', 'wb').write(b'1' * 310_000_000); signal.pause()", ("memory_mb is 300",)),
    ],
    ids=["raises", "says why", "exits", "crashes", "takes memory", "takes temporary space"],
)
def test_a_first_start_that_fails_is_final_and_gives_the_models_own_error(fleet, store, home, act, reason):
    fleet.ensure(deployment := stored(store, act))
    until(lambda: fleet.observe("d").state is FleetState.FAILED)
    seen = fleet.observe("d")
    assert all(part in seen.reason for part in reason), seen.reason
    assert seen.restarts == 0
    until(lambda: not replicas_of(home.models))
    fleet.ensure(deployment)
    assert fleet.observe("d").state is FleetState.FAILED
    fleet.stop("d")
    until_state(fleet, deployment, FleetState.ABSENT)


def test_a_first_start_that_hangs_fails_with_the_last_lines_of_its_log(fleet, store):
    fleet.ensure(stored(store, "print('loading shard 1', flush=True); signal.pause()", start_timeout_s=1.0))
    until(lambda: fleet.observe("d").state is FleetState.FAILED)
    reason = "did not get ready in 1 s; the last lines of its log: loading shard 1"
    assert fleet.observe("d").reason == reason


def test_other_bytes_than_the_registered_ones_are_never_started(fleet, store, home):
    deployment = stored(store)
    store.put("digits/v1/d/weights.bin", b"others")
    fleet.ensure(deployment)
    until(lambda: fleet.observe("d").state is FleetState.FAILED)
    assert deployment.digest in fleet.observe("d").reason
    assert not fleet.logs("d")
    assert not list(home.models.iterdir())


def test_a_store_that_cannot_be_read_is_tried_again(home, tmp_path):
    class Flaky(FakeBucket):
        failures = 1

        def list(self, prefix=""):
            if self.failures:
                self.failures -= 1
                raise ConnectionError("no route to the store")
            return super().list(prefix)

    with LocalFleet(store := Flaky(), home, server=COMMAND, server_path=write_server(tmp_path)) as fleet:
        fleet.ensure(deployment := stored(store))
        until(lambda: "no route to the store" in fleet.observe("d").reason)
        assert fleet.observe("d").state is FleetState.STARTING
        until_state(fleet, deployment, FleetState.READY)


def test_one_that_ends_by_itself_is_started_again(fleet, store, home):
    fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    serving(home).send_signal(signal.SIGKILL)
    until(lambda: fleet.observe("d").restarts == 1 and fleet.observe("d").ready == 1)
    assert fleet.observe("d").state is FleetState.READY


def test_one_that_ends_again_and_again_fails(fleet, store):
    act = """
import threading
def answer():
    threading.Timer(0.02, os._exit, [7]).start()
    return {"status": "ready", "digest": DIGEST}
"""
    fleet.ensure(stored(store, act))
    until(lambda: fleet.observe("d").state is FleetState.FAILED)
    assert "ended 5 times in a row; the last time: exited with status 7" in fleet.observe("d").reason
    assert fleet.sockets("d") == ()


def test_one_that_stops_answering_is_killed_and_started_again(fleet, store, home):
    fleet.ensure(deployment := stored(store))
    until_state(fleet, deployment, FleetState.READY)
    serving(home).send_signal(signal.SIGSTOP)
    until(lambda: fleet.observe("d").restarts == 1 and fleet.observe("d").ready == 1)


def test_a_home_has_one_platform(fleet, home, tmp_path):
    with pytest.raises(Occupied, match="already running"):
        LocalFleet(FakeBucket(), home, server=COMMAND, server_path=tmp_path)
