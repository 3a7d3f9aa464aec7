"""Containers of others as deployments: run by whatever runs containers here, walled off, watched, and cleared away."""

import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import Deployment, FleetState
from chalicelib.local.fleet.container_engine import prefix_of, wall_flags
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.fleet.site import Containers
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.container_images import engine, image
from tests.local.fleet_support import COMMAND, stored_files, until, until_state

BOUNDS = Bounds(images=("localhost/modeldrop-*",), environment_names=("LISTEN_ON",))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home")).make()


@pytest.fixture(scope="module")
def store():
    return FakeBucket()


@pytest.fixture(scope="module")
def fleet(home, store):
    # A container that runs on because its platform was killed.
    running = engine()
    walls = wall_flags(running, uid=65_534, memory_mb=64)
    (home.root / "weight.json").write_text("1")
    told = ["--env=AIP_HTTP_PORT=8080", "--env=AIP_HEALTH_ROUTE=/h", "--env=AIP_PREDICT_ROUTE=/p"]
    left = [f"--name={prefix_of(home)}left-1", f"--volume={home.root}:/model:ro", "--env=AIP_STORAGE_URI=/model"]
    assert running.say("run", "--detach", *left, *walls, *told, image()).returncode == 0
    assert names(home)
    (home.root / "containers.json").write_text(json.dumps(running.command))
    containers = Containers(running, prefix_of(home), BOUNDS, {})
    with LocalFleet(
        store, home, server=COMMAND, server_path=Path(), drain_s=5, threads=1, containers=containers
    ) as opened:
        yield opened
    assert names(home) == []


def names(home: Home) -> list[str]:
    """Return the names of the containers that are there for a home."""
    listed = engine().say("ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [name for name in listed if name.startswith(prefix_of(home))]


def dropped(
    store: FakeBucket, name: str, *, weight: str = "2.5", lines: str = "", contract: str = "vertex", **wishes
) -> Deployment:
    files = {"container.yaml": f"image: {image()}\ncontract: {contract}\n{lines}", "weight.json": weight}
    return stored_files(store, {path: text.encode() for path, text in files.items()}, name=name, **wishes)


def predicted(replica: Path, body: bytes = b'{"instances": [[1, 2], [3, 4]]}') -> httpx.Response:
    """Ask a replica as the gateway does."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(replica)), base_url="http://replica") as client:
        return client.post("/invocations", content=body, headers={"content-type": "application/json"})


@pytest.fixture(scope="module")
def two(fleet, store):
    """One version of two replicas, by arguments and routes of its own, beside another version on the same port."""
    lines = "health_route: /alive\npredict_route: /v1/guess\nargs: ['--port=$(AIP_HTTP_PORT)', 'for $$5']\n"
    first = dropped(store, "first", lines=lines, replicas=2)
    second = dropped(store, "second", weight="10")
    for each in (first, second):
        fleet.ensure(each)
    return first, second


def test_what_a_killed_platform_left_is_gone_once_another_has_started(fleet, home):
    assert not [name for name in names(home) if name.endswith("left-1")]


def test_a_version_that_is_an_image_gets_ready_and_says_which_image_it_runs(fleet, two):
    for deployment in two:
        seen = until_state(fleet, deployment, FleetState.READY)
        assert (seen.digest, seen.ready) == (deployment.digest, deployment.resources.replicas)
        assert seen.image == engine().resolve(image())


def test_predictions_go_to_its_own_route_and_two_versions_share_a_port(fleet, two):
    for deployment, sums in zip(two, ([7.5, 17.5], [30, 70]), strict=True):
        until_state(fleet, deployment, FleetState.READY)
        for replica in fleet.sockets(deployment.id):
            answer = predicted(replica)
            assert (answer.status_code, answer.json()["predictions"]) == (200, sums)


@pytest.mark.parametrize(("contract", "arguments"), [("sagemaker", ["serve"]), ("oci", [])])
def test_a_container_of_another_contract_finds_its_model_and_is_called_by_its_routes(fleet, store, contract, arguments):
    fleet.ensure(deployment := dropped(store, contract, contract=contract))
    until_state(fleet, deployment, FleetState.READY)
    answer = predicted(fleet.sockets(contract)[0]).json()
    assert (answer["predictions"], answer["seen"]["args"]) == ([7.5, 17.5], arguments)
    fleet.stop(contract)


def test_its_own_errors_come_through_as_they_are(fleet, two):
    until_state(fleet, two[0], FleetState.READY)
    answer = predicted(fleet.sockets("first")[0], b"no JSON")
    assert (answer.status_code, answer.text) == (400, "invalid character 'o' in literal null (expecting 'u')\n")


def test_a_digest_that_it_claims_is_not_passed_on(fleet, two):
    until_state(fleet, two[0], FleetState.READY)
    answer = predicted(fleet.sockets("first")[0])
    assert not [name for name in answer.headers if name.startswith("x-modeldrop")]


def test_it_runs_without_rights_network_and_places_to_write(fleet, two):
    until_state(fleet, two[0], FleetState.READY)
    seen = [predicted(replica).json()["seen"] for replica in fleet.sockets("first")]
    assert len({each.pop("uid") for each in seen} - {0, os.getuid()}) == 2
    assert (
        seen
        == [{"networks": ["lo"], "writable": ["/tmp"], "pid": 1, "args": ["--port=8080", "for $5"], "proxy": False}] * 2
    )


def test_one_that_ends_is_started_again_and_the_deployment_still_answers(fleet, two, home):
    first = two[0]
    until_state(fleet, first, FleetState.READY)
    killed = next(name for name in names(home) if "first" in name)
    os.kill(engine().pid(killed), signal.SIGKILL)
    until(lambda: fleet.observe("first").restarts == 1 and fleet.observe("first").ready == 2, "the restart")
    assert all(predicted(replica).status_code == 200 for replica in fleet.sockets("first"))


def test_its_own_error_is_why_it_failed(fleet, store):
    broken = dropped(store, "broken", weight="no number")
    fleet.ensure(broken)
    until(lambda: fleet.observe("broken").state is FleetState.FAILED)
    assert "panic: weight.json: invalid character 'o'" in fleet.observe("broken").reason
    fleet.stop("broken")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("environment: {LD_PRELOAD: /x}", "environment.LD_PRELOAD"),
        ("port: 80", "container.yaml: port"),
    ],
)
def test_what_an_operator_would_not_allow_any_more_is_not_started(fleet, store, lines, said):
    fleet.ensure(dropped(store, "refused", lines=lines))
    until(lambda: fleet.observe("refused").state is FleetState.FAILED)
    assert said in fleet.observe("refused").reason
    fleet.stop("refused")
    until(lambda: fleet.observe("refused").state is FleetState.ABSENT)


def test_an_image_that_can_not_be_had_is_said_by_its_name(fleet, store):
    missing = b"image: localhost/modeldrop-missing:1\ncontract: oci\n"
    fleet.ensure(stored_files(store, {"container.yaml": missing}, name="missing"))
    until(lambda: fleet.observe("missing").state is FleetState.FAILED)
    seen = fleet.observe("missing")
    assert "image localhost/modeldrop-missing:1 isn't here and can't be fetched" in seen.reason
    assert seen.by_fleet  # so that the version isn't called unservable: tomorrow it may be there
    fleet.stop("missing")


def test_without_containers_such_a_version_fails_with_the_remedy(tmp_path, store):
    other = Home(tmp_path / "other").make()
    with LocalFleet(store, other, server=COMMAND, server_path=tmp_path) as plain:
        asked = stored_files(store, {"container.yaml": b"image: x\ncontract: oci\n"}, name="asked")
        plain.ensure(asked)
        until(lambda: plain.observe("asked").state is FleetState.FAILED)
        assert "`images` of the bounds" in plain.observe("asked").reason


def test_what_is_stopped_leaves_no_container_behind(fleet, store, home):
    fleet.ensure(third := dropped(store, "third"))
    until_state(fleet, third, FleetState.READY)
    fleet.stop("third")
    until_state(fleet, third, FleetState.ABSENT)
    assert not [name for name in names(home) if "third" in name]


def test_where_containers_share_the_machines_network_each_gets_a_port_of_its_own(tmp_path, store):
    """So it is where namespaces aren't allowed; here the wall is only left out. What can't be told one is refused."""
    shared = Containers(replace(engine(), own_network=False), f"{prefix_of(Home(tmp_path))}s-", BOUNDS, {})
    oci = f"image: {image()}\ncontract: oci\n"
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        LocalFleet(
            store, Home(tmp_path / "other").make(), server=COMMAND, server_path=tmp_path, drain_s=5, containers=shared
        ) as fleet,
    ):
        two = dropped(store, "two", lines="environment: {LISTEN_ON: 127.0.0.1}\n", replicas=2)
        busy = f"{oci}port: {taken.getsockname()[1]}\n"
        fleet.ensure(two)
        fleet.ensure(stored_files(store, {"container.yaml": oci.encode()}, name="fixed", replicas=2))
        fleet.ensure(stored_files(store, {"container.yaml": busy.encode()}, name="busy"))
        until_state(fleet, two, FleetState.READY)
        answers = [predicted(replica).json() for replica in fleet.sockets("two")]
        assert [each["predictions"] for each in answers] == [[7.5, 17.5]] * 2
        assert all(len(each["seen"]["networks"]) > 1 for each in answers)
        until(lambda: all(fleet.observe(name).state is FleetState.FAILED for name in ("fixed", "busy")))
        assert "no variable to tell a container another port than 8080" in fleet.observe("fixed").reason
        assert "which is taken" in fleet.observe("busy").reason
