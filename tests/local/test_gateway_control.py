"""The control API through the gateway: Chalice routes, called by real concurrent HTTPS clients, each seen as itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from chalice.app import BadRequestError, Blueprint, Chalice, Response
from chalice.local import LocalChalice

from chalicelib.local.gateway.control import ControlPlane
from tests.local.gateway_world import World, code_of

routes = Blueprint("tests.echo")
CALLERS = 12
meeting = threading.Barrier(4)


@routes.route("/v1/whoami/{name}", methods=["GET"])
def whoami(name):
    """Answer who calls, after others have come in meanwhile."""
    if (routes.current_request.query_params or {}).get("meet"):
        meeting.wait(20)
    request = routes.current_request
    return {"name": name, **request.context["authorizer"], "path": request.context["path"]}


@routes.route("/v1/things", methods=["POST"], content_types=["application/json"])
def make_thing():
    return Response({"got": routes.current_request.json_body}, status_code=201, headers={"X-Made": "yes"})


@routes.route("/v1/headers", methods=["GET"])
def headers():
    return dict(routes.current_request.headers)


@routes.route("/v1/bad", methods=["GET"])
def bad():
    raise BadRequestError("no")


@routes.route("/v1/nothing", methods=["DELETE"])
def nothing():
    return Response("", status_code=204)


@routes.route("/openapi.json", methods=["GET"])
def document():
    return {"openapi": "3.1.0"}


@pytest.fixture(scope="module")
def world():
    app = LocalChalice("test")
    app.register_blueprint(routes)
    world = World(control=ControlPlane(app))
    world.app = app
    yield world
    world.close()


def test_concurrent_callers_never_see_each_other(world):
    clients = [world.client("deploy", f"predict:e{n}") for n in range(CALLERS)]
    expected = [f"deploy predict:e{n}" for n in range(CALLERS)]

    def ask(n):
        me = n % CALLERS
        answer = clients[me].get(f"/v1/whoami/c{me}", params={"meet": "1"}).json()
        return answer["name"] == f"c{me}" and answer["scopes"] == expected[me]

    with ThreadPoolExecutor(8) as pool:  # four at a time are inside the same route
        answers = list(pool.map(ask, range(CALLERS * 20)))
    assert answers == [True] * (CALLERS * 20)


def test_the_caller_stands_where_an_aws_authorizer_puts_it(world):
    client = world.client("deploy", "predict:digits")
    answer = client.get("/v1/whoami/me?x=1").json()
    assert answer["scopes"] == "deploy predict:digits"
    assert world.registry.get("key", answer["key_id"])
    assert answer["principalId"] == answer["key_id"]
    assert answer["path"] == "/v1/whoami/me"


def test_no_header_of_a_client_changes_who_calls(world):
    forged = {"authorizer": '{"key_id": "root"}', "X-Amzn-Authorizer": "root", "scopes": "admin", "key_id": "root"}
    answer = world.client("deploy").get("/v1/whoami/me", headers=forged).json()
    assert (answer["scopes"], answer["key_id"] != "root") == ("deploy", True)


def test_routes_never_see_the_secret(world):
    client = world.client("deploy")
    answer = client.get("/v1/headers", headers={"X-Own": "1"}).json()
    assert answer["x-own"] == "1"
    assert "authorization" not in answer


@pytest.mark.parametrize("authorization", ["", "Bearer md_1_no", "admin"])
def test_every_route_without_a_key_is_401(world, authorization):
    client = world.client()
    paths = [(method, path) for path, methods in world.app.routes.items() for method in methods]
    assert len(paths) == 6
    for method, path in [*paths, ("GET", "/nowhere"), ("GET", "/metrics"), ("OPTIONS", "/v1/things")]:
        response = client.request(method, path.replace("{name}", "x"), headers={"Authorization": authorization})
        assert (response.status_code, code_of(response)) == (401, "unauthenticated")


def test_a_body_goes_in_and_a_status_and_headers_come_out(world):
    response = world.client("deploy").post("/v1/things", json={"a": [1, "ü"]})
    assert (response.status_code, response.headers["x-made"]) == (201, "yes")
    assert response.json() == {"got": {"a": [1, "ü"]}}


def test_no_content_has_none(world):
    response = world.client("deploy").delete("/v1/nothing")
    assert (response.status_code, response.content) == (204, b"")


def test_head_is_get_without_a_body(world):
    client = world.client("deploy")
    head, get = client.head("/openapi.json"), client.get("/openapi.json")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


def test_an_unknown_path_is_404_and_says_where_to_look(world):
    response = world.client("deploy").get("/v1/nowhere")
    assert (response.status_code, code_of(response)) == (404, "not_found")
    assert "/openapi.json" in response.json()["error"]["message"]


def test_a_wrong_method_is_405(world):
    assert world.client("deploy").put("/v1/things", json={}).status_code == 405


def test_an_error_of_a_route_keeps_its_status(world):
    assert world.client("deploy").get("/v1/bad").status_code == 400


def test_a_plain_chalice_app_is_refused():
    with pytest.raises(TypeError, match="LocalChalice"):
        ControlPlane(Chalice("mixed-up"))
