"""A canary for which there is no memory beside what runs isn't started: the fleet says so beforehand."""

from dataclasses import replace

import pytest

from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet import room
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, LIVENESS_S, stored, until, write_server


@pytest.mark.parametrize(
    ("replicas", "replica_mb", "free", "said"),
    [
        (1, 0.0, 1.0, ""),  # nobody knows how large it is
        (2, 100.0, 211.0, ""),
        (2, 100.0, 210.0, "2 replicas like those that run take 200 MB of memory, and 210 MB are free"),
        (1, 900.0, 300.0, "1 replicas like those that run take 900 MB of memory, and 300 MB are free"),
    ],
)
def test_what_is_lacking_is_what_runs_already_against_what_is_free(replicas, replica_mb, free, said):
    found = room.lacks(replicas, replica_mb, free)
    assert found.startswith(said) if said else found == ""


def test_this_machine_has_free_memory():
    assert room.free_mb() > 0


def test_the_size_of_an_endpoints_replicas_is_measured_and_says_nothing_of_other_endpoints(tmp_path):
    store = FakeBucket()
    first, second = stored(store, name="first"), stored(store, name="second")
    places = {"server": COMMAND, "server_path": write_server(tmp_path), "drain_s": 1.0}
    with LocalFleet(store, Home(tmp_path / "home"), **places, free_mb=lambda: 1.0) as fleet:
        assert fleet.lacks(first) == ""
        fleet.ensure(first)
        until(lambda: fleet.observe(first.id).state is FleetState.READY, "first is ready", LIVENESS_S)
        until(lambda: fleet.lacks(second), "its memory is measured", LIVENESS_S)
        assert "let stable make room with `placement: recreate`" in fleet.lacks(second)
        assert fleet.lacks(replace(second, endpoint="another")) == ""
        assert 0 < fleet.observe(first.id).start_s < LIVENESS_S
