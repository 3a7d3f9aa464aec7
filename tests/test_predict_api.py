"""Predict through Chalice as API Gateway calls it: who answered, all three routes, bytes, errors, scopes."""

import json
import logging

import pytest

from chalicelib.domain.invocation import Busy, NoAnswer, TimedOut
from chalicelib.pipeline.predict import MAX_BODY
from tests.predict_world import GatewayCaller, PredictWorld, reply


@pytest.fixture
def world():
    return PredictWorld()


@pytest.fixture
def caller(world):
    return GatewayCaller(world)


# --- who answered ------------------------------------------------------------------------------------------------
def test_a_prediction_says_who_answered_in_headers_and_body(caller):
    answer = caller.predict()
    served_by = {"model": "digits", "version": "v1", "digest": "sha256:v1", "deployment": "v1"}
    assert answer.status == 200
    assert answer.body == {"predictions": [1], "served_by": served_by}
    for name, value in served_by.items():
        assert answer.headers[f"x-modeldrop-{name}"] == value
    assert answer.headers["x-modeldrop-endpoint"] == "digits"
    assert answer.headers["content-type"] == "application/json"


def test_the_callers_own_request_id_is_kept_and_passed_on_else_the_gateways(caller, world):
    assert caller.predict(x_request_id="mine-1").headers["x-modeldrop-request-id"] == "mine-1"
    assert caller.predict(x_request_id="two words").headers["x-modeldrop-request-id"] == "from-gateway"
    assert [call.attributes["trace"] for _, call, _ in world.invoker.calls] == ["mine-1", "from-gateway"]


def test_a_container_that_says_no_digest_is_given_none(caller, world):
    world.invoker.answers["v1"] = reply(digest="")
    answer = caller.predict()
    assert "x-modeldrop-digest" not in answer.headers
    assert answer.body["served_by"]["version"] == "v1"


def test_numbers_that_were_not_finite_are_counted_in_a_header(caller, world):
    world.invoker.answers["v1"] = reply(b'{"predictions": [null]}', nonfinite="1")
    assert caller.predict().headers["x-modeldrop-nonfinite"] == "1"
    world.invoker.answers["v1"] = reply()
    assert "x-modeldrop-nonfinite" not in caller.predict().headers


def test_what_a_strangers_container_says_of_itself_can_set_no_header_of_ours(caller, world):
    world.invoker.answers["v1"] = reply(digest="a\r\nSet-Cookie: b", nonfinite="1\n2")
    answer = caller.predict()
    assert "x-modeldrop-digest" not in answer.headers
    assert "x-modeldrop-nonfinite" not in answer.headers


# --- routes and contracts ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["digits/predict", "digits:predict", "digits%3Apredict"])
def test_both_forms_of_predict_answer_alike(caller, path):
    answer = caller.call("POST", f"/v1/endpoints/{path}", {"instances": [1]}, content_type="application/json")
    assert answer.status == 200
    assert answer.body["served_by"]["deployment"] == "v1"


@pytest.mark.parametrize("path", ["digits/rawPredict", "digits:rawPredict"])
@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", "image/png", "", "a/b+json"])
def test_raw_bytes_pass_unchanged_both_ways_whatever_their_type(caller, world, path, content_type):
    body = bytes(range(256)) + b'{"instances": '
    world.invoker.answers["v1"] = lambda call: reply(call.body[::-1], content_type=call.content_type)
    answer = caller.call("POST", f"/v1/endpoints/{path}", body, content_type=content_type, accept="x/y")
    assert (answer.status, answer.content) == (200, body[::-1])
    assert answer.headers["content-type"] == (content_type or "application/octet-stream")
    (_, call, _) = world.invoker.calls[0]
    assert (call.content_type, call.accept, dict(call.attributes)) == (content_type, "x/y", {"trace": "from-gateway"})


@pytest.mark.parametrize(
    ("content_type", "body", "contract"),
    [
        ("application/json", b'{"instances": [1]}', "instances"),
        ("", b'{"instances": [1]}', "instances"),
        ("application/x-www-form-urlencoded", b'{"instances": [1]}', "instances"),
        ("application/json", b'{"rows": 1}', None),
        ("text/csv", b"1,2", None),
        ("application/octet-stream", b"\x00\xff", None),
    ],
)
def test_the_deployment_is_told_how_the_body_is_meant(caller, world, content_type, body, contract):
    assert caller.predict(body, content_type=content_type).status == 200
    (_, call, _) = world.invoker.calls[0]
    assert call.attributes.get("contract") == contract
    assert call.body == body


def test_a_models_own_contract_is_answered_without_our_member(caller, world):
    world.invoker.answers["v1"] = reply(b'{"label": 3}')
    assert caller.predict({"rows": 1}).body == {"label": 3}


@pytest.mark.parametrize("path", ["digits", "digits:explain", "digits:", "digits:predict:", ":predict:x"])
def test_another_verb_is_not_found_and_told_what_there_is(caller, world, path):
    answer = caller.call("POST", f"/v1/endpoints/{path}", {"instances": [1]}, content_type="application/json")
    assert (answer.status, answer.code) == (404, "not_found")
    assert ":predict or :rawPredict" in answer.body["error"]["message"]
    assert world.invoker.calls == []


def test_showing_an_endpoint_and_calling_it_share_a_path(world):
    answer = GatewayCaller(world, "deploy").call("GET", "/v1/endpoints/digits")
    assert (answer.status, answer.body["name"]) == (200, "digits")


# --- errors ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (NoAnswer("deployment v1 gave no answer: gone; try again"), (503, "no_answer", "1")),
        (TimedOut("deployment v1 did not answer within 25 s"), (504, "timed_out", None)),
        (Busy("SageMaker takes no more calls for now; try again"), (503, "busy", "1")),
    ],
)
def test_no_answer_is_said_in_our_form_with_when_to_come_again(caller, world, problem, said):
    world.invoker.answers["v1"] = problem
    answer = caller.predict()
    assert (answer.status, answer.code, answer.headers.get("retry-after")) == said
    assert answer.body["error"]["message"] == str(problem)
    assert answer.headers["x-modeldrop-endpoint"] == "digits"
    assert answer.headers["x-modeldrop-request-id"] == "from-gateway"


def test_what_the_cloud_said_is_logged_and_not_told(caller, world, caplog):
    def act(_):
        raise NoAnswer("deployment v1 gave no answer: SageMaker says ValidationError") from KeyError("account 1234")

    world.invoker.answers["v1"] = act
    caller.app.log = logging.getLogger("test_predict_api")
    assert "1234" not in caller.predict().content.decode()
    (line,) = caplog.records
    assert "SageMaker says ValidationError" in line.message
    assert "1234" in str(line.exc_info[1])


@pytest.mark.parametrize("status", [400, 418, 500, 503])
def test_a_models_own_error_keeps_its_status_and_body(caller, world, status):
    world.invoker.answers["v1"] = reply(b'{"error": {"code": "mine"}}', status)
    answer = caller.predict()
    assert (answer.status, answer.code) == (status, "mine")
    assert answer.headers["x-modeldrop-deployment"] == "v1"
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_bad_json_is_refused_with_its_place_before_any_deployment_sees_it(caller, world):
    answer = caller.predict(b'{"instances": [1,]}')
    assert (answer.status, answer.code) == (400, "bad_request")
    assert "line 1, column" in answer.body["error"]["message"]
    assert caller.predict(b'{"instances": 1}').body["error"]["where"] == "instances"
    assert world.invoker.calls == []


def test_an_unknown_endpoint_is_not_found(world):
    answer = GatewayCaller(world, "predict:*").predict(name="nobody")
    assert (answer.status, answer.code) == (404, "not_found")
    assert "'nobody'" in answer.body["error"]["message"]


def test_an_endpoint_without_deployments_says_what_is_awaited(world):
    world.set_split({}, name="early", rollout="r9")
    answer = GatewayCaller(world, "predict:early").predict(name="early")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "not_serving_yet", "5")
    assert "r9" in answer.body["error"]["message"]


def test_a_body_too_large_is_refused_with_what_to_do(caller, world):
    answer = caller.call("POST", "/v1/endpoints/digits/rawPredict", b"x" * (MAX_BODY + 1))
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert str(MAX_BODY) in answer.body["error"]["message"]
    assert caller.call("POST", "/v1/endpoints/digits/rawPredict", b"x" * MAX_BODY).status == 200
    assert len(world.invoker.calls) == 1


def test_an_answer_too_large_is_said_before_it_is_cut(caller, world):
    world.invoker.answers["v1"] = reply(b"x" * (MAX_BODY + 1), content_type="text/plain")
    answer = caller.predict()
    assert (answer.status, answer.code) == (502, "answer_too_large")
    world.invoker.answers["v1"] = reply(b"x" * MAX_BODY, content_type="text/plain")
    assert len(caller.predict().content) == MAX_BODY


def test_the_largest_body_and_answer_fit_a_function_s_six_mebibytes(caller, world):
    world.invoker.answers["v1"] = reply(b"\x00" * MAX_BODY, content_type="application/octet-stream")
    event = caller.event("POST", "/v1/endpoints/digits/rawPredict", b"\x00" * MAX_BODY)
    answer = caller.app(event, None)
    assert len(json.dumps(event)) < 6_291_456
    assert len(json.dumps(answer)) < 6_291_456


# --- scopes ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scopes", ["predict:digits", "predict:*", "admin", "predict:other predict:digits"])
def test_a_key_with_the_scope_may_call(world, scopes):
    assert GatewayCaller(world, scopes).predict().status == 200


@pytest.mark.parametrize("scopes", ["predict:other", "deploy", "", "predict:digit", "predict:digits2"])
@pytest.mark.parametrize("path", ["digits/predict", "digits/rawPredict", "digits:predict", "digits:rawPredict"])
def test_a_key_without_it_may_not_and_learns_nothing(world, scopes, path):
    answer = GatewayCaller(world, scopes).call("POST", f"/v1/endpoints/{path}", b"{}")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "'predict:digits'" in answer.body["error"]["message"]
    assert world.invoker.calls == []


def test_a_key_without_the_scope_can_t_tell_endpoints_that_are_from_those_that_are_not(world):
    stranger = GatewayCaller(world, "predict:other")
    there, not_there = stranger.predict().body, stranger.predict(name="nobody").body
    assert there["error"]["message"].replace("digits", "nobody") == not_there["error"]["message"]


# --- who is asked for by name ------------------------------------------------------------------------------------
DARK, ALIAS = {"X_Modeldrop_Version": "v2"}, {"X_Modeldrop_Alias": "blue"}


@pytest.fixture
def dark(world):
    """v2 runs beside v1 without a share of the traffic."""
    world.set_split({"v1": 100, "v2": 0}, promoted="v1", aliases={"blue": "v2"})
    return world


@pytest.mark.parametrize(
    ("scopes", "headers"), [("dark:digits", DARK), ("dark:*", DARK), ("admin", DARK), ("predict:digits", ALIAS)]
)
def test_a_version_without_traffic_answers_who_may_ask_for_it(dark, scopes, headers):
    answer = GatewayCaller(dark, scopes).predict(**headers)
    assert (answer.status, answer.headers["x-modeldrop-deployment"]) == (200, "v2")


@pytest.mark.parametrize(
    ("scopes", "headers"),
    [("predict:digits", DARK), ("predict:* deploy", DARK), ("dark:digits", ALIAS), ("dark:*", {})],
)
def test_each_way_of_calling_has_a_scope_of_its_own(dark, scopes, headers):
    answer = GatewayCaller(dark, scopes).predict(**headers)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert dark.invoker.calls == []


def test_a_request_that_names_two_is_refused(dark):
    answer = GatewayCaller(dark, "dark:digits predict:digits").predict(**DARK, **ALIAS)
    assert (answer.status, answer.code) == (400, "bad_request")
