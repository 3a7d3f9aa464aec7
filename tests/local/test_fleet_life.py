"""A deployment's life in the local fleet, with real processes and real signals."""

import hashlib
import os
import stat

import pytest

from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, replicas_of, stored, until_state, write_server


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
    with LocalFleet(store, home, server=COMMAND, server_path=write_server(tmp_path), on_change=changes.append) as fleet:
        yield fleet


def test_a_deployment_is_fetched_started_and_answers_with_the_digest_of_what_it_loaded(fleet, store, home):
    deployment = stored(store, replicas=2)
    fleet.ensure(deployment)
    until_state(fleet, deployment, FleetState.READY)
    seen = fleet.observe("d")
    assert (seen.ready, seen.restarts, seen.reason) == (2, 0, "")
    assert seen.digest == "sha256:" + hashlib.sha256(b"weights").hexdigest()
    assert len(fleet.sockets("d")) == 2
    assert all(stat.S_ISSOCK(path.stat().st_mode) and len(os.fsencode(path)) < 108 for path in fleet.sockets("d"))


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
    assert replicas_of(home.root) == []
    assert (fleet.deployments(), fleet.sockets("d")) == ([], ())
