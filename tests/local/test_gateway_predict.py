"""Predict through a real HTTPS gateway to real replicas on Unix sockets."""

import json

import pytest

from tests.local.gateway_world import World, code_of, predict, says


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


def test_both_spellings_of_the_route_predict(one):
    client = one.client("predict:digits")
    for path in ("/v1/endpoints/digits/predict", "/v1/endpoints/digits:predict", "/v1/endpoints/digits%3Apredict"):
        assert client.post(path, json={"instances": [1]}).status_code == 200
    assert {call.path for call in one.replica.calls} == {"/predict"}
    assert json.loads(one.replica.calls[0].body) == {"instances": [1]}
