"""Beside predictions: an endpoint's rate, the document of all that AWS answers, callers kept apart, and metrics."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest
from aws_lambda_powertools import Metrics
from chalice import Chalice
from chalice.local import LocalChalice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import api, predict_api
from chalicelib.pipeline.predict import SPLIT_TTL
from tests.predict_world import GatewayCaller, PredictWorld, reply

NUMBERS = st.one_of(st.none(), st.integers(), st.floats(), st.just(10**400))
ANY_JSON = st.one_of(NUMBERS, NUMBERS.map(lambda rate: {"per_second": rate}), st.lists(NUMBERS, max_size=2))
SAMPLES = Path(__file__).parents[1] / "events"


@pytest.fixture
def world():
    return PredictWorld(rate=1)


@pytest.fixture
def admin(world):
    return GatewayCaller(world, "admin")


def set_rate(caller, body, name="digits"):
    return caller.call("PUT", f"/v1/endpoints/{name}/rate", body, content_type="application/json")


def shown(caller):
    return caller.call("GET", "/v1/endpoints/digits").body["rate"]


# --- the operator's rate -----------------------------------------------------------------------------------------
def test_a_rate_is_shown_and_holds_and_can_be_taken_back(world, admin):
    assert shown(admin) is None
    assert set_rate(admin, {"per_second": 3}).body["rate"] == 3
    assert shown(admin) == 3
    assert [admin.predict().status for _ in range(4)] == [200, 200, 200, 429]
    assert set_rate(admin, {"per_second": None}).body["rate"] is None
    world.now += SPLIT_TTL
    assert [admin.predict().status for _ in range(2)] == [200, 429]


def test_who_sends_too_much_is_told_so_in_our_form(admin):
    admin.predict()
    refused = admin.predict()
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "rate_exceeded", "1")
    assert "takes 1 requests a second" in refused.body["error"]["message"]


@pytest.mark.parametrize(
    "body", [{}, {"per_second": 0}, {"per_second": -1}, {"per_second": "x"}, {"per_second": 1, "burst": 2}, []]
)
def test_a_rate_that_is_none_is_refused_with_the_field(admin, body):
    answer = set_rate(admin, body)
    assert (answer.status, answer.code) == (400, "bad_request")
    assert answer.body["error"]["where"]
    assert shown(admin) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=40), ANY_JSON.map(json.dumps).map(str.encode)))
def test_whatever_is_sent_as_a_rate_is_a_rate_or_a_mistake_of_the_senders(admin, body):
    answer = set_rate(admin, body)
    assert answer.status in (200, 400)
    assert admin.predict().status in (200, 429)


def test_only_an_admin_sets_rates(world):
    for scopes in ("deploy", "predict:digits", "predict:*"):
        assert set_rate(GatewayCaller(world, scopes), {"per_second": 3}).code == "forbidden"


def test_an_endpoint_that_is_not_there_has_no_rate(admin):
    assert set_rate(admin, {"per_second": 3}, name="nobody").code == "not_found"


def test_a_rollout_leaves_the_rate_as_it_is(world, admin):
    set_rate(admin, {"per_second": 3})
    world.open_rollout()
    assert shown(admin) == 3


# --- the document ------------------------------------------------------------------------------------------------
@pytest.fixture
def document(admin):
    api.bind(lambda: admin.world.ports, beside=predict_api.OPERATIONS)
    yield GatewayCaller.call(admin, "GET", "/openapi.json").body
    api.bind(lambda: admin.world.ports)


def test_the_document_lists_what_aws_answers_with_both_forms_of_predict(admin, document):
    answered = {(method, path) for path, methods in admin.app.routes.items() for method in methods}
    one_segment = {("POST", "/v1/endpoints/{name}")}
    two_forms = {("POST", f"/v1/endpoints/{{name}}:{verb}") for verb in ("predict", "rawPredict")}
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented == (answered - one_segment) | two_forms


def test_the_documented_ids_are_unique_and_the_rates_answer_is_as_documented(admin, document):
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    schema = document["paths"]["/v1/endpoints/{name}/rate"]["put"]["responses"]["200"]["content"]["application/json"]
    answer = set_rate(admin, {"per_second": 2}).body
    jsonschema.validate(answer, {**schema["schema"], "components": document["components"]})


def test_the_page_for_people_lists_the_rate():
    page = (Path(api.__file__).parents[1] / "docs" / "api.md").read_text()
    assert "| `PUT /v1/endpoints/{name}/rate` | admin |" in page


# --- callers apart -----------------------------------------------------------------------------------------------
def test_callers_at_the_same_time_never_get_each_others_answers():
    world = PredictWorld()
    together = threading.Barrier(4, timeout=30)

    def act(call):
        together.wait()
        return reply(call.body, content_type="text/plain")

    world.invoker.answers["v1"] = act
    app = LocalChalice("control-api")
    callers = [GatewayCaller(world, "predict:digits", f"k{n}", app) for n in range(4)]

    def rounds(n):
        path = "/v1/endpoints/digits/rawPredict"
        answers = [callers[n].call("POST", path, f"{n}-{i}".encode(), x_request_id=f"r{n}-{i}") for i in range(25)]
        return [(a.content.decode(), a.headers["x-modeldrop-request-id"]) for a in answers]

    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(rounds, range(4)))
    assert answered == [[(f"{n}-{i}", f"r{n}-{i}") for i in range(25)] for n in range(4)]


def test_both_blueprints_may_be_on_several_apps():
    for _ in range(2):
        app = Chalice("control-api")
        app.register_blueprint(api.routes)
        app.register_blueprint(predict_api.routes)
        assert set(app.routes["/v1/endpoints/{name}"]) == {"GET", "POST"}


# --- API Gateway's own events ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["api-predict", "api-raw-predict"])
def test_the_sample_events_are_answered(world, name):
    event = json.loads((SAMPLES / f"{name}.json").read_text())
    answer = GatewayCaller(world).app(event, None)
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is True
    assert answer["headers"]["X-Modeldrop-Request-Id"] == event["requestContext"]["requestId"]
    (_, call, _) = world.invoker.calls[0]
    assert call.content_type == event["headers"]["Content-Type"]


# --- metrics -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ((200, {"X-Modeldrop-Endpoint": "digits", "X-Modeldrop-Deployment": "v1"}), ("digits", 0)),
        ((500, {"X-Modeldrop-Endpoint": "digits", "X-Modeldrop-Deployment": "v1"}), ("digits", 1)),
        ((504, {"X-Modeldrop-Endpoint": "digits"}), ("digits", 1)),
        ((404, {"X-Modeldrop-Endpoint": "made-up"}), (None, 0)),
        ((403, {"X-Modeldrop-Endpoint": "made-up"}), (None, 0)),
        ((200, {}), (None, 0)),
        ((500, {}), (None, 1)),
    ],
)
def test_answers_are_counted_by_endpoints_that_are_there(answer, counted):
    metrics = Metrics(namespace="Modeldrop", service="api")
    metrics.clear_metrics()
    predict_api.measure({"statusCode": answer[0], "headers": answer[1]}, metrics)
    said = metrics.serialize_metric_set()
    metrics.clear_metrics()
    assert (said.get("endpoint"), said["Failures"], said["Requests"]) == (counted[0], [counted[1]], [1])
