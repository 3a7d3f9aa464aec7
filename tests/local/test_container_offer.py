"""What a platform offers by way of containers: nothing unasked, and a reason where it can't."""

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet.container_engine import Engine, prefix_of, wall_flags
from chalicelib.local.fleet.container_offer import Offer, offered
from chalicelib.local.home import Home
from chalicelib.local.options import UpOptions
from tests.local.container_images import engine

IMAGES = Bounds(images=("ghcr.io/example/*",))


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("nothing_here")
def test_who_wants_no_containers_is_offered_none_and_nothing_is_tried(tmp_path):
    assert offered(UpOptions(home=Home(tmp_path))) == Offer()


@pytest.mark.usefixtures("nothing_here")
def test_where_nothing_runs_containers_an_allowed_image_is_refused_for_that_reason(tmp_path):
    offer = offered(UpOptions(home=Home(tmp_path), bounds=IMAGES))
    assert offer.containers is None
    assert "root" in offer.refusal or "install podman" in offer.refusal
    assert offer.refusal in offer.report[0]


@pytest.mark.usefixtures("nothing_here")
def test_where_nothing_runs_containers_a_fleet_of_them_does_not_start(tmp_path):
    with pytest.raises(Rejected, match=r"root|install podman"):
        offered(UpOptions(home=Home(tmp_path), fleet="container"))


def test_what_runs_containers_here_is_offered_with_what_it_can_not_give(tmp_path):
    options = UpOptions(home=Home(tmp_path), bounds=IMAGES, fleet="container", tensorflow_image="tf:1")
    found = offered(options)
    assert (found.refusal, found.containers.engine, found.report) == ("", engine(), engine().report)
    assert found.containers.serving == {"tensorflow": "tf:1", "pytorch": UpOptions.pytorch_image}


def test_what_is_missing_is_said_in_sentences():
    assert Engine(("podman",)).report == ()
    assert len(Engine(("podman",), own_network=False, memory=False).report) == 2


@pytest.mark.parametrize(
    ("given", "flag", "there"),
    [
        (Engine(("podman",)), "--network=none", True),
        (Engine(("podman",), own_network=False), "--network=host", True),
        (Engine(("podman",)), "--memory=126m", True),
        (Engine(("podman",), memory=False), "--memory=126m", False),
        (Engine(("podman",)), "--http-proxy=false", True),
        (Engine(("docker",)), "--http-proxy=false", False),
    ],
)
def test_the_walls_are_those_that_stand_here(given, flag, there):
    assert (flag in wall_flags(given, uid=1, memory_mb=100)) is there


def test_two_homes_never_share_the_names_of_their_containers(tmp_path):
    assert prefix_of(Home(tmp_path / "a")) != prefix_of(Home(tmp_path / "b"))
