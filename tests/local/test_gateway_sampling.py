"""The gateway looks at what a few answers are built of, while two deployments answer, and callers don't notice."""

import json

import pytest

from chalicelib.local.gateway.sampling import PAUSE
from tests.local.gateway_world import World, predict, says, until


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


def answering(version, predictions, content_type="application/json"):
    def act(call):
        says(version)(call)
        call.answer_headers["Content-Type"] = content_type
        call.answer = json.dumps({"predictions": predictions}).encode()

    return act


def test_what_both_sides_answer_is_counted_by_how_it_is_built(world):
    world.add_replica("v1", answering("v1", [[0.1, 0.9]]))
    world.add_replica("v2", answering("v2", [{"label": "cat"}]))
    world.set_split({"v1": 50, "v2": 50})
    client = world.client("predict:digits")

    def both():
        predict(client)
        return world.traffic("v1").marks and world.traffic("v2").marks

    until(both)
    assert list(world.traffic("v1").marks) == ["structure {predictions: n * [2 * number]}"]
    assert list(world.traffic("v2").marks) == ["structure {predictions: n * {label: text}}"]


def test_one_deployment_alone_is_not_looked_at(world):
    world.add_replica("v1", answering("v1", [1]))
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    for _ in range(5):
        predict(client)
    world.add_replica("v2", answering("v2", [1]))
    world.set_split({"v1": 100, "v2": 0})
    until(lambda: predict(client) and world.traffic("v1").marks)
    assert sum(world.traffic("v1").marks.values()) < 5


def test_of_many_answers_only_a_few_are_looked_at(world):
    world.add_replica("v1", answering("v1", [1]))
    world.add_replica("v2", answering("v2", [1]))
    world.set_split({"v1": 100, "v2": 0})
    client = world.client("predict:digits")
    asked = [predict(client) for _ in range(100)]
    taken = sum(answer.elapsed.total_seconds() for answer in asked)
    until(lambda: world.traffic("v1").marks)
    assert sum(world.traffic("v1").marks.values()) <= 2 + 5 * taken / PAUSE / 4


def test_an_answer_that_is_no_json_passes_unchanged_and_unseen(world):
    world.add_replica("v1", answering("v1", [1], content_type="text/plain"))
    world.set_split({"v1": 100, "v2": 0})
    client = world.client("predict:digits")
    assert predict(client).text == '{"predictions": [1]}'
    world.gateway.stop(5)
    assert world.traffic("v1").marks == {}
