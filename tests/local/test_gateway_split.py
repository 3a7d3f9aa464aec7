"""The split as callers meet it: weights, sticky keys, and a canary or stable replica that fails them."""

import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from chalicelib.domain.split import assign, bucket
from chalicelib.pipeline.records import Records
from tests.local.gateway_world import Replica, World, code_of, predict, says, until

KEYS = [f"user-{n}" for n in range(40)]


@pytest.fixture
def world():
    world = World(upstream_timeout=1.0)
    yield world
    world.close()


@pytest.fixture
def two(world):
    """A stable deployment and a canary at 50 %."""
    world.stable, world.canary = world.add_replica("v1"), world.add_replica("v2")
    world.set_split({"v1": 50, "v2": 50})
    return world


def drop(call):
    call.drop = True


def version_of(response):
    return response.headers["x-modeldrop-version"]


def key_for(world, deployment):
    """Return a caller's key that the split gives to this deployment."""
    split = Records(world.registry).endpoint("digits").value.split
    return next(key for key in map(str, range(1000)) if assign(split, bucket(key, split.salt)) == deployment)


# --- the split ---------------------------------------------------------------------------------------------------
def test_a_key_stays_with_its_version(two):
    client = two.client("predict:digits")
    rounds = [{key: version_of(predict(client, **{"X-Modeldrop-Key": key})) for key in KEYS} for _ in range(2)]
    assert rounds[0] == rounds[1]
    assert set(rounds[0].values()) == {"v1", "v2"}


def test_keys_only_move_to_the_canary_while_its_weight_grows_and_all_go_back(two):
    client = two.client("predict:digits")

    def on_canary():
        return {key for key in KEYS if version_of(predict(client, **{"X-Modeldrop-Key": key})) == "v2"}

    half = on_canary()
    two.set_split({"v1": 20, "v2": 80})
    assert on_canary() > half
    two.set_split({"v1": 100, "v2": 0})
    assert on_canary() == set()


def test_without_a_key_both_get_their_share(two):
    client = two.client("predict:digits")
    seen = Counter(version_of(predict(client)) for _ in range(200))
    assert 50 <= seen["v2"] <= 150  # 7 standard deviations


def test_a_new_split_is_in_force_when_refresh_returns(two):
    client = two.client("predict:digits")
    for weights in ({"v1": 100, "v2": 0}, {"v1": 0, "v2": 100}, {"v1": 100, "v2": 0}):
        two.set_split(weights)
        expected = max(weights, key=weights.get)
        assert {version_of(predict(client)) for _ in range(10)} == {expected}


def test_replicas_of_a_deployment_share_the_requests_in_flight(world):
    both = threading.Barrier(2, timeout=20)

    def meet(call):
        both.wait()
        says("v1")(call)

    for _ in range(2):
        world.add_replica("v1", meet)
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    with ThreadPoolExecutor(2) as pool:  # neither is answered before both replicas have one
        statuses = [r.status_code for r in pool.map(lambda _: predict(client), range(2))]
    assert statuses == [200, 200]
    assert [len(replica.calls) for replica in world.replicas["v1"]] == [1, 1]


# --- a canary that fails its callers -----------------------------------------------------------------------------
def test_callers_of_a_canary_without_replicas_are_answered_by_stable_and_it_counts(two):
    two.replicas["v2"].pop().close()
    client = two.client("predict:digits")
    key = key_for(two, "v2")
    answered = [predict(client, **{"X-Modeldrop-Key": key}) for _ in range(5)]
    assert {(r.status_code, version_of(r)) for r in answered} == {(200, "v1")}
    assert (two.traffic("v2").requests, two.traffic("v2").errors) == (5, 5)
    assert (two.traffic("v1").requests, two.traffic("v1").errors) == (5, 0)
    until(lambda: ("digits", "v2") in two.troubles)


def test_callers_of_a_canary_that_drops_connections_are_answered_by_stable(two):
    two.canary.act = drop
    client = two.client("predict:digits")
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda _: predict(client), range(100)))
    assert {(r.status_code, version_of(r)) for r in answered} == {(200, "v1")}
    assert two.traffic("v2").errors == two.traffic("v2").requests > 0
    assert two.traffic("v1").errors == 0


def test_no_request_fails_while_a_canary_crashes_under_load(two):
    client = two.client("predict:digits")
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(predict, client) for _ in range(300)]
        until(lambda: len(two.canary.calls) > 10)
        two.canary.act = drop
        two.canary.close()  # its socket stays listed: nobody has noticed yet
    assert {answer.result().status_code for answer in answers} == {200}
    assert two.traffic("v2").errors > 0


def test_stable_stands_in_even_for_a_canary_that_has_all_traffic(two):
    two.set_split({"v1": 0, "v2": 100})
    two.canary.act = drop
    assert version_of(predict(two.client("predict:digits"))) == "v1"


def test_a_canary_never_stands_in_for_stable(two):
    two.set_split({"v1": 100, "v2": 0})
    two.replicas["v1"].pop().close()
    response = predict(two.client("predict:digits"))
    assert (response.status_code, code_of(response)) == (503, "no_answer")
    assert two.canary.calls == []


def test_a_canarys_500_is_its_answer_and_is_counted(two):
    def fail(call):
        call.status = 500

    two.set_split({"v1": 0, "v2": 100})
    two.canary.act = fail
    assert predict(two.client("predict:digits")).status_code == 500
    assert (two.traffic("v2").errors, two.traffic("v1").requests) == (1, 0)


def test_a_canary_that_does_not_answer_in_time_is_a_504_and_an_error(two):
    release = threading.Event()
    two.set_split({"v1": 0, "v2": 100})
    two.canary.act = lambda call: release.wait(30) and None
    response = predict(two.client("predict:digits"))
    release.set()
    assert (response.status_code, code_of(response)) == (504, "timed_out")
    assert two.traffic("v2").errors == 1


def test_nonfinite_answers_and_4xx_are_counted_apart_from_errors(two):
    two.set_split({"v1": 0, "v2": 100})
    client = two.client("predict:digits")

    def nan(call):
        call.answer_headers |= {"X-Modeldrop-Nonfinite": "2"}

    def reject(call):
        call.status = 422

    for act in (nan, reject):
        two.canary.act = act
        predict(client)
    seen = two.traffic("v2")
    assert (seen.requests, seen.nonfinite, seen.rejected, seen.errors) == (2, 1, 1, 0)
    assert sum(seen.latencies) == 2
    until(lambda: two.troubles == [("digits", "v2")])


# --- a stable replica that goes away -----------------------------------------------------------------------------
def test_a_stable_replica_that_comes_back_is_waited_for(world):
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(predict, client)
        until(lambda: world.lookups > 2)
        world.add_replica("v1")
        assert answer.result().status_code == 200
    assert world.traffic("v1").errors == 0


def test_a_replica_that_drops_is_retried_on_another(world):
    world.add_replica("v1", drop)
    world.add_replica("v1")
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    first = world.replicas["v1"][0]
    while not first.calls:
        assert predict(client).status_code == 200
    assert world.traffic("v1").errors == len(first.calls)


def test_a_request_that_breaks_every_replica_is_not_tried_for_ever(world):
    replica = world.add_replica("v1", drop)
    world.set_split({"v1": 100})
    response = predict(world.client("predict:digits"))
    assert (response.status_code, code_of(response)) == (503, "no_answer")
    assert response.headers["retry-after"] == "1"
    assert len(replica.calls) == 2
    assert world.traffic("v1").errors == 2


def test_a_replica_restarted_on_the_same_socket_is_found_again(world):
    replica = world.add_replica("v1")
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    assert predict(client).status_code == 200
    replica.close()
    with ThreadPoolExecutor(1) as pool:
        seen = world.lookups
        answer = pool.submit(predict, client)
        until(lambda: world.lookups > seen + 2)
        world.replicas["v1"] = [Replica(replica.socket_path)]
        assert answer.result().status_code == 200


def test_a_kept_connection_that_the_replica_closed_costs_nobody_anything(world):
    def answer_then_close(call):
        says("v1")(call)
        call.hang_up = True

    replica = world.add_replica("v1", answer_then_close)
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    assert [predict(client).status_code for _ in range(20)] == [200] * 20
    assert world.traffic("v1").errors == 0
    assert replica.connections > 1


def test_connections_to_replicas_are_kept(world):
    replica = world.add_replica("v1")
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    for _ in range(20):
        predict(client)
    assert replica.connections == 1


def test_a_socket_that_nobody_listens_on_is_one_error_and_then_503(world):
    world.replicas["v1"] = []
    world.extra_sockets = [Path(world.folder / "nobody.sock")]
    world.set_split({"v1": 100})
    response = predict(world.client("predict:digits"))
    assert response.status_code == 503
    assert (world.traffic("v1").requests, world.traffic("v1").errors) == (1, 1)


# --- callers who leave -------------------------------------------------------------------------------------------
def test_a_caller_who_leaves_ends_the_replicas_connection_and_harms_nobody_else(world):
    release = threading.Event()
    replica = world.add_replica("v1", lambda call: b"slow" in call.body and release.wait(30))
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    leaving = world.client("predict:digits")
    leaving.timeout = httpx.Timeout(20, read=0.6)
    with pytest.raises(httpx.ReadTimeout):
        leaving.post("/v1/endpoints/digits/predict", json={"instances": ["slow"]})
    until(lambda: any(has_ended(connection) for connection in list(replica.open)))
    release.set()
    assert [predict(client, [n]).json()["predictions"] for n in range(5)] == [[1]] * 5
    assert replica.connections == 2  # the left one's was not used again
    assert world.traffic("v1").errors == 0


def has_ended(connection):
    """Say whether the other side closed it."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
