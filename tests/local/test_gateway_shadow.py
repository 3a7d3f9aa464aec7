"""A shadow behind a real gateway: it is asked what callers were answered, and whatever it does, no caller can tell."""

import json
import threading
from dataclasses import replace

import pytest

from chalicelib.domain.shadow import AGREED, COMPARED, DROPPED, LARGE, Shadow, Shadowing
from chalicelib.local.gateway.shadowing import MOST, THREADS
from chalicelib.pipeline.records import Records
from tests.local.gateway_world import World, predict, says, until

KEEP = Shadow(share=100, keep_disagreements=True)


def answering(version, *predictions):
    def act(call):
        says(version)(call)
        call.answer = json.dumps({"predictions": predictions}).encode()

    return act


@pytest.fixture
def kept():
    return {}


@pytest.fixture
def world(kept):
    world = World(keep=kept.__setitem__)
    world.add_replica("v1", answering("v1", "cat"))
    yield world
    world.close()


def shadow(world, act, how=None):
    """Have v2 shadow v1, and return its replica."""
    replica = world.add_replica("v2", act)
    world.set_split({"v1": 100})
    stored = Records(world.registry).endpoint("digits")
    value = replace(stored.value, shadow=Shadowing("v2", "r-1", how or Shadow(share=100)))
    world.registry.commit([replace(stored, value=value).write])
    world.gateway.refresh("digits")
    return replica


def calls(world, times=1, **more):
    client = world.client("predict:digits")
    return [predict(client, **more) for _ in range(times)]


def of_v1(answers):
    return {(a.status_code, a.headers["x-modeldrop-version"], a.json()["predictions"][0]) for a in answers} == {
        (200, "v1", "cat")
    }


def marks(world):
    return world.traffic("v2").marks


def test_a_shadow_is_asked_the_same_and_its_answer_never_leaves(world):
    replica = shadow(world, answering("v2", "dog"))
    answers = calls(world, 5, **{"X-Request-Id": "caller-1"})
    assert of_v1(answers)
    until(lambda: marks(world).get(COMPARED, 0) + marks(world).get(DROPPED, 0) == 5)
    asked = replica.calls[0]
    assert (asked.path, json.loads(asked.body)) == ("/predict", {"instances": [[1, 2]]})
    assert AGREED not in marks(world)
    assert not any("v2" in header + value for a in answers for header, value in a.headers.items())
    assert not any("dog" in a.text for a in answers)
    assert "authorization" not in asked.headers


def test_an_answer_that_agrees_is_counted_as_agreeing_and_as_no_traffic_of_callers(world):
    shadow(world, answering("v2", "cat"))
    calls(world)
    until(lambda: marks(world).get(AGREED) == 1)
    assert world.traffic("v2").requests == 1
    assert world.traffic("v1").requests == 1
    totals = {deployment: traffic.requests for (_, deployment), (traffic, _) in world.gateway.counters.totals().items()}
    assert totals == {"v1": 1}


def test_while_a_shadow_hangs_every_live_request_is_answered_and_what_waits_is_bounded(world):
    done = threading.Event()
    shadow(world, lambda _: done.wait(60))
    answers = calls(world, 3 * (THREADS + MOST))
    assert of_v1(answers)  # not one of the shadow's requests has ended by now
    assert world.traffic("v2").requests == 0
    assert marks(world)[DROPPED] >= len(answers) - THREADS - MOST
    done.set()


def drop(call):
    call.drop = True


def fail(call):
    call.status = 500


@pytest.mark.parametrize("act", [drop, fail])
def test_a_shadow_that_crashes_or_fails_is_counted_and_nobody_else_notices(world, act):
    shadow(world, act)
    assert of_v1(calls(world, 3))
    until(lambda: world.traffic("v2").requests + marks(world).get(DROPPED, 0) == 3)
    seen = world.traffic("v2")
    assert seen.errors == seen.requests >= 1
    assert COMPARED not in marks(world)


def test_a_shadow_that_is_not_there_is_counted_as_not_answering(world):
    shadow(world, answering("v2", "cat")).close()
    world.replicas.pop("v2")
    assert of_v1(calls(world))
    until(lambda: world.traffic("v2").errors == 1)


def test_only_the_share_that_was_asked_for_is_copied(world):
    replica = shadow(world, answering("v2", "cat"), Shadow(share=1))
    calls(world, 60)
    assert len(replica.calls) <= 10  # of 60 requests 0.6 are expected


def test_a_large_request_is_not_copied_and_counted(world):
    replica = shadow(world, answering("v2", "cat"))
    assert of_v1(calls(world, instances=[["x" * 900_000]]))
    until(lambda: marks(world).get(LARGE) == 1)
    assert replica.calls == []


def test_disagreements_are_kept_only_where_that_was_asked_for(world, kept):
    shadow(world, answering("v2", "dog"))
    calls(world)
    until(lambda: marks(world).get(COMPARED) == 1)
    assert kept == {}


def test_a_kept_disagreement_says_who_answered_what(world, kept):
    shadow(world, answering("v2", "dog"), KEEP)
    calls(world, 3, **{"X-Request-Id": "caller-1"})
    until(lambda: kept)
    [(key, body)] = kept.items()  # a repeated request has one place
    assert key.startswith("_disagreements/r-1/")
    example = json.loads(body)
    assert example["why"] == "expected class cat, got dog"
    assert json.loads(example["request"]) == {"instances": [[1, 2]]}
    assert (json.loads(example["live"])["predictions"], json.loads(example["shadow"])["predictions"]) == (
        ["cat"],
        ["dog"],
    )


def test_without_a_shadow_nothing_is_copied(world):
    replica = shadow(world, answering("v2", "dog"))
    world.set_split({"v1": 100})
    stored = Records(world.registry).endpoint("digits")
    world.registry.commit([replace(stored, value=replace(stored.value, shadow=None)).write])
    world.gateway.refresh("digits")
    assert of_v1(calls(world, 3))
    assert replica.calls == []
