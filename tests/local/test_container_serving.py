"""Versions of our own formats as containers of the serving image, where that image is built: `make image-test`."""

from pathlib import Path

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.container_engine import prefix_of
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.fleet.site import Containers
from chalicelib.local.home import Home
from chalicelib.local.options import UpOptions
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.local.container_images import engine
from tests.local.fleet_support import COMMAND, replicas_of, stored_files, until, until_state
from tests.local.test_container_fleet import names, predicted

IMAGES = {"pytorch": UpOptions.pytorch_image, "tensorflow": UpOptions.tensorflow_image}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home")).make()


@pytest.fixture(scope="module")
def store():
    return FakeBucket()


@pytest.fixture(scope="module")
def fleet(home, store):
    missing = [name for name in IMAGES.values() if engine().say("image", "inspect", name).returncode != 0]
    if missing:
        pytest.skip(f"{' and '.join(missing)} isn't built here: `make image` builds it")
    containers = Containers(engine(), prefix_of(home), Bounds(), IMAGES)
    with LocalFleet(
        store, home, server=COMMAND, server_path=Path(), drain_s=10, threads=1, containers=containers
    ) as opened:
        yield opened
    assert names(home) == []


def test_an_archive_is_served_by_a_container_that_says_its_own_digest(fleet, store, home):
    deployment = stored_files(store, {"model.mar": small_mar()}, name="archive", memory_mb=2000, start_timeout_s=60.0)
    fleet.ensure(deployment)
    seen = until_state(fleet, deployment, FleetState.READY)
    assert (seen.digest, seen.image) == (deployment.digest, engine().resolve(IMAGES["pytorch"]))
    answer = predicted(fleet.sockets("archive")[0], b"[1, 2]")
    assert (answer.json(), answer.headers["x-modeldrop-digest"]) == ([1, 2], deployment.digest)
    assert replicas_of(home.models) == []  # nothing of it runs as a process of ours


def test_a_model_that_is_no_archive_fails_with_the_images_own_error(fleet, store):
    fleet.ensure(stored_files(store, {"model.mar": b"no zip"}, name="broken", memory_mb=2000, start_timeout_s=60.0))
    until(lambda: fleet.observe("broken").state is FleetState.FAILED)
    assert "model.mar" in fleet.observe("broken").reason
    assert "exited with" not in fleet.observe("broken").reason


def test_a_container_that_takes_too_much_memory_is_ended_with_the_reason(fleet, store):
    greedy = "held = bytearray(b'x' * 400_000_000)\ndef handle(data, context): return data\n"
    wishes = {"memory_mb": 300, "start_timeout_s": 60.0}
    fleet.ensure(stored_files(store, {"model.mar": small_mar(greedy)}, name="greedy", **wishes))
    until(lambda: fleet.observe("greedy").state is FleetState.FAILED)
    assert "memory_mb is 300" in fleet.observe("greedy").reason or "SIGKILL" in fleet.observe("greedy").reason
