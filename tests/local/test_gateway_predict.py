"""Predict through a real HTTPS gateway to real replicas on Unix sockets: contracts, names, keys, bad input."""

import json
from datetime import UTC, datetime

import pytest

from chalicelib.pipeline.keys import list_keys, revoke
from tests.local.gateway_world import World, code_of, predict, says, until


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


@pytest.fixture
def one(world):
    """One endpoint with one replica of one deployment."""
    world.replica = world.add_replica("v1")
    world.set_split({"v1": 100})
    return world


def post(world, body, content_type="application/json", path="/v1/endpoints/digits/predict", **headers):
    client = world.client("predict:digits")
    return client.post(path, content=body, headers={"Content-Type": content_type, **headers})


# --- who answered ------------------------------------------------------------------------------------------------
def test_a_prediction_says_who_answered_in_headers_and_body(one):
    response = predict(one.client("predict:digits"))
    assert response.status_code == 200
    served_by = {"model": "digits", "version": "v1", "digest": "sha256:v1", "deployment": "v1"}
    assert response.json() == {"predictions": [1], "served_by": served_by}
    for name, value in served_by.items():
        assert response.headers[f"x-modeldrop-{name}"] == value
    assert response.headers["x-modeldrop-endpoint"] == "digits"
    assert response.headers["x-modeldrop-request-id"]


def test_the_digest_is_the_replicas_own_not_the_configured_one(one):
    one.replica.act = says("v1", "sha256:loaded")
    response = predict(one.client("predict:digits"))
    assert response.headers["x-modeldrop-digest"] == response.json()["served_by"]["digest"] == "sha256:loaded"


def test_a_replica_that_proves_no_digest_is_given_none(one):
    one.replica.act = lambda call: None
    response = predict(one.client("predict:digits"))
    assert "x-modeldrop-digest" not in response.headers
    assert response.json()["served_by"] == {"model": "digits", "version": "v1", "digest": "", "deployment": "v1"}


@pytest.mark.parametrize(
    ("answer", "joined"),
    [
        (b"{}", {"served_by": ...}),
        (b' {"a": {}}\n', {"a": {}, "served_by": ...}),
        (b'{"a": 1 } ', {"a": 1, "served_by": ...}),
        (b"[1]", [1]),
        (b'"}"', "}"),
    ],
)
def test_only_a_json_object_is_told_who_served_it(one, answer, joined):
    def act(call):
        call.answer = answer

    one.replica.act = act
    body = predict(one.client("predict:digits")).json()
    if isinstance(joined, dict):
        body["served_by"] = ...
    assert body == joined


def test_a_models_own_error_is_passed_on_with_its_names(one):
    def act(call):
        says("v1")(call)
        call.status, call.answer = 500, b'{"error": {"code": "model_error", "message": "boom"}}'

    one.replica.act = act
    response = predict(one.client("predict:digits"))
    assert response.status_code == 500
    assert code_of(response) == "model_error"
    assert response.headers["x-modeldrop-digest"] == "sha256:v1"


def test_a_models_headers_pass_but_cookies_and_forged_names_do_not(one):
    def act(call):
        call.answer_headers |= {"X-Modeldrop-Nonfinite": "3", "X-Own": "yes", "Set-Cookie": "a=b", "Server": "evil"}
        call.answer_headers |= {"X-Modeldrop-Deployment": "other", "X-Modeldrop-Endpoint": "other"}

    one.replica.act = act
    headers = predict(one.client("predict:digits")).headers
    assert (headers["x-modeldrop-nonfinite"], headers["x-own"]) == ("3", "yes")
    assert (headers["x-modeldrop-deployment"], headers["x-modeldrop-endpoint"]) == ("v1", "digits")
    assert "set-cookie" not in headers
    assert "server" not in headers


def test_the_callers_request_id_is_kept_and_forwarded(one):
    response = predict(one.client("predict:digits"), **{"X-Request-Id": "abc-1"})
    assert response.headers["x-modeldrop-request-id"] == "abc-1"
    assert one.replica.calls[0].headers["x-request-id"] == "abc-1"


def test_requests_without_an_id_get_different_ones(one):
    client = one.client("predict:digits")
    assert len({predict(client).headers["x-modeldrop-request-id"] for _ in range(3)}) == 3


# --- contracts ---------------------------------------------------------------------------------------------------
def test_all_spellings_of_the_route_predict(one):
    client = one.client("predict:digits")
    for path in ("/v1/endpoints/digits/predict", "/v1/endpoints/digits:predict", "/v1/endpoints/digits%3Apredict"):
        assert client.post(path, json={"instances": [1]}).status_code == 200
    assert {call.path for call in one.replica.calls} == {"/predict"}
    assert json.loads(one.replica.calls[0].body) == {"instances": [1]}


@pytest.mark.parametrize(
    ("body", "content_type", "path"),
    [
        (b'{"instances": [1]}', "application/json; charset=utf-8", "/predict"),
        (b'{"inputs": [1]}', "application/json", "/invocations"),
        (b'{"instances": [123456789012345678901234567890]}', "application/json", "/predict"),
        (b"\x93NUMPY", "application/x-npy", "/invocations"),
        (b"", "application/octet-stream", "/invocations"),
        (b"a=1&b=2", "application/x-www-form-urlencoded", "/invocations"),
    ],
)
def test_the_body_decides_which_contract_is_spoken(one, body, content_type, path):
    assert post(one, body, content_type).status_code == 200
    (call,) = one.replica.calls
    assert (call.path, call.body, call.headers["content-type"]) == (path, body, content_type)


def test_a_json_object_that_curl_calls_a_form_is_taken_as_json(one):
    assert post(one, b' {"instances": [1]}', "application/x-www-form-urlencoded").status_code == 200
    assert post(one, b'{"instances": [1,}', "application/x-www-form-urlencoded").status_code == 400
    (call,) = one.replica.calls
    assert (call.path, call.headers["content-type"]) == ("/predict", "application/json")


def test_raw_predict_passes_bytes_both_ways_untouched(one):
    response = post(one, b"[1, not json", path="/v1/endpoints/digits/rawPredict")
    (call,) = one.replica.calls
    assert (call.path, call.body) == ("/invocations", b"[1, not json")
    assert response.content == b'{"predictions": [1]}'
    assert response.headers["x-modeldrop-version"] == "v1"


def test_the_models_code_sees_headers_but_no_secrets(one):
    post(one, b"x", "text/plain", **{"X-Tenant": "7", "Cookie": "s=1", "X-Modeldrop-Key": "me"})
    seen = one.replica.calls[0].headers
    assert (seen["x-tenant"], seen["x-modeldrop-key"]) == ("7", "me")
    assert not {"authorization", "cookie"} & seen.keys()


# --- bad input never reaches a replica ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "where", "says_what"),
    [
        (b'{"instances": [1,]}', "body", "line 1, column 17"),
        (b'{"instances":\n [NaN]}', "body", "line 2, column 3"),
        (b"\xff\xfe", "body", "not JSON"),
        (b"", "body", "empty"),
        (b"[[1, 2]]", "body", "no JSON object"),
        (b"5", "body", "no JSON object"),
        (b"[" * 100_000, "body", "not JSON"),
        (b'{"instances": 5}', "instances", "no list"),
        (b'{"instances": {"a": 1}}', "instances", "no list"),
    ],
)
def test_a_malformed_body_names_its_place_and_counts_against_nobody(one, body, where, says_what):
    response = post(one, body)
    assert (response.status_code, code_of(response)) == (400, "bad_request")
    assert response.json()["error"]["where"] == where
    assert says_what in response.json()["error"]["message"]
    assert one.replica.calls == []
    assert one.traffic("v1").requests == 0


# --- keys --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", ["", "Bearer nonsense", "Basic abc", "Bearer \xe9"])
def test_without_a_valid_key_every_path_is_401(one, value):
    client = one.client()
    for path in ("/v1/endpoints/digits/predict", "/v1/endpoints/no:predict", "/metrics", "/openapi.json", "/", "/x"):
        response = client.post(path, content=b"{}", headers={"Authorization": value.encode("latin-1")})
        assert (response.status_code, code_of(response)) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", ["predict:other", "deploy"])
def test_a_key_without_the_scope_learns_no_names(one, scope):
    client = one.client(scope)
    for name in ("digits", "no-such-endpoint"):
        response = predict(client, name=name)
        assert (response.status_code, code_of(response)) == (403, "forbidden")


@pytest.mark.parametrize("scope", ["predict:*", "admin"])
def test_wider_scopes_predict_too(one, scope):
    assert predict(one.client(scope)).status_code == 200


def test_a_key_revoked_in_the_registry_is_refused_within_moments_without_a_refresh(one):
    client = one.client("predict:digits")
    assert predict(client).status_code == 200
    (key,) = list_keys(one.registry)
    revoke(one.registry, lambda: datetime.now(UTC), key.id)
    until(lambda: predict(client).status_code == 401)


def test_a_refresh_makes_a_revocation_seen_at_once(one):
    client = one.client("predict:digits")
    (key,) = list_keys(one.registry)
    revoke(one.registry, lambda: datetime.now(UTC), key.id)
    one.gateway.refresh(key.id)
    response = predict(client)
    assert response.status_code == 401
    assert "revoked" in response.json()["error"]["message"]


# --- what isn't there --------------------------------------------------------------------------------------------
def test_an_unknown_endpoint_is_404(one):
    response = predict(one.client("predict:*"), name="nope")
    assert (response.status_code, code_of(response)) == (404, "not_found")


def test_predict_takes_only_post_and_get(one):
    response = one.client("predict:digits").put("/v1/endpoints/digits/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


def test_get_says_who_would_answer_and_asks_no_model(one):
    [replica] = one.replicas["v1"]
    response = one.client("predict:digits").get("/v1/endpoints/digits/predict", headers={"X-Modeldrop-Key": "user-1"})
    assert response.json() == {
        "endpoint": "digits",
        "model_id": "digits",
        "version_id": "v1",
        "deployment": "v1",
        "digest": replica.digest,
    }
    assert (replica.calls, one.traffic("v1").requests) == ([], 0)


def test_who_would_answer_needs_the_same_scope_and_a_replica_that_answers(one):
    assert one.client("predict:others").get("/v1/endpoints/digits/predict").status_code == 403
    one.replicas["v1"].pop().close()
    response = one.client("predict:digits").get("/v1/endpoints/digits/predict")
    assert (response.status_code, code_of(response)) == (503, "no_answer")


def test_an_endpoint_without_a_split_says_what_it_awaits(world):
    world.set_split({})
    response = predict(world.client("predict:digits"))
    assert (response.status_code, code_of(response)) == (503, "not_serving_yet")
    assert response.headers["retry-after"]
    assert "awaited" in response.json()["error"]["message"]


def test_metrics_tell_an_admin_the_totals(one):
    predict(one.client("predict:digits"))
    text = one.client("admin").get("/metrics").text
    assert 'modeldrop_requests_total{deployment="v1",endpoint="digits"} 1.0' in text
    assert 'modeldrop_latency_seconds_count{deployment="v1",endpoint="digits"} 1.0' in text
    assert one.client("predict:*").get("/metrics").status_code == 403
