"""The one route without a key: what the gateway lets in, and that nothing else came in with it."""

import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
from chalice.local import LocalChalice

from chalicelib import api
from chalicelib.domain.hooks import Action, Form
from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.hooks import MOST_BYTES, RATE, HookDoor, is_hook_call
from chalicelib.local.gateway.messages import Request
from chalicelib.pipeline.hooks import make_hook
from tests.api_caller import stepping
from tests.fakes_pipeline import fake_ports
from tests.hook_calls import GITHUB_SECRET, SECRET, Audit, asks, github, standard
from tests.local.gateway_world import World, code_of


@pytest.fixture(scope="module")
def ports():
    made = fake_ports(audit=Audit())
    stepping(made, "digits/1")
    make_hook("ci", made, form=Form.STANDARD, actions=[*Action], endpoints=["digits"], secret=SECRET)
    make_hook("gh", made, form=Form.GITHUB, actions=[*Action], endpoints=["digits"], secret=GITHUB_SECRET)
    return made


@pytest.fixture(scope="module")
def world(ports):
    app = LocalChalice("test")
    app.register_blueprint(api.routes)
    api.bind(lambda: ports)
    world = World(control=ControlPlane(app))
    yield world
    world.close()


def send(world, name, call):
    return world.client().post(f"/v1/hooks/{name}", content=call.body, headers=dict(call.headers))


def spoken(world, line):
    """Return what is answered to a request line as it stands: clients would tidy up its path."""
    request = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    context = ssl.create_default_context(cafile=str(world.ca))
    with (
        socket.create_connection(("127.0.0.1", world.gateway.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_signed_call_needs_no_key_and_its_bytes_arrive_as_they_were_sent(world, ports):
    body = b'\xef\xbb\xbf{"action":  "promote",\r\n "endpoint": "digits"} '
    assert code_of(send(world, "ci", standard(body, ports.clock(), "bom"))) == "bad_request"  # proven, and no JSON
    answer = send(world, "ci", standard(body.removeprefix(b"\xef\xbb\xbf"), ports.clock(), "spaces"))
    assert (answer.status_code, answer.json()["outcome"]) == (202, "accepted")


def test_of_calls_that_come_at_once_one_is_taken(world, ports):
    call = github(asks("promote", id="at-once"))
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: send(world, "gh", call), range(8)))
    assert statuses == [202] + [409] * 7
    assert sorted(line.outcome for line in ports.audit.lines[-8:]) == ["accepted"] + ["repeated"] * 7


def test_a_call_that_is_not_proven_is_refused_in_json(world, ports):
    answer = send(world, "ci", standard(asks("abort"), ports.clock(), secret="whsec_" + "B" * 43 + "="))
    assert (answer.status_code, code_of(answer)) == (401, "refused")


def test_a_key_is_no_signature(world):
    answer = world.client("admin").post("/v1/hooks/ci", content=asks("abort"))
    assert (answer.status_code, code_of(answer)) == (401, "refused")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/hooks"),
        ("POST", "/v1/hooks/"),
        ("POST", "/v1/hooks/ci/secrets"),
        ("POST", "/v1/hooks/ci/"),
        ("POST", "/v1/hooks?/ci"),
        ("GET", "/v1/hooks/ci"),
        ("DELETE", "/v1/hooks/ci"),
        ("PUT", "/v1/hooks/ci"),
        ("HEAD", "/v1/hooks/ci"),
        ("POST", "/v1/hooksci"),
        ("POST", "//v1/hooks/ci"),
        ("POST", "/v1/keys"),
        ("POST", "/v1/hooks/../keys"),
    ],
)
def test_nothing_else_is_open_without_a_key(world, method, path):
    answer = spoken(world, f"{method} {path}")
    assert answer.startswith(b"HTTP/1.1 401"), answer


@pytest.mark.parametrize("name", ["%2e%2e%2fkeys", "ci%2Fsecrets", "ci?name=keys", "%00", "%F0%9F%98%80", "x" * 3000])
def test_a_name_leads_to_no_other_route(world, name):
    answer = spoken(world, f"POST /v1/hooks/{name}")
    assert answer.startswith(b"HTTP/1.1 401"), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "refused"


def test_a_call_says_how_long_it_is_and_is_not_too_long(world):
    client = world.client()
    assert client.post("/v1/hooks/ci", content=iter([b"{}"])).status_code == 411
    assert client.post("/v1/hooks/ci", content=b" " * (MOST_BYTES + 1)).status_code == 413


def asked(target, method="POST"):
    return Request(method, target, ())


def test_a_call_is_told_by_its_path():
    assert is_hook_call(asked("/v1/hooks/ci"))
    assert is_hook_call(asked("/v1/hooks/ci?x=/"))
    assert not is_hook_call(asked("/v1/hooks/ci", "GET"))


def test_more_calls_than_we_can_bear_are_asked_to_come_again():
    now = [0.0]
    door = HookDoor(lambda: now[0])
    answers = [door.admit(asked("/v1/hooks/ci")) for _ in range(int(RATE) + 1)]
    assert answers[:-1] == [None] * int(RATE)
    assert (answers[-1].status, (b"retry-after", b"1") in answers[-1].headers) == (429, True)
    now[0] += 1 / RATE
    assert door.admit(asked("/v1/hooks/ci")) is None
