"""The OpenAPI document: it says every route, and answers are as it says."""

import re
from pathlib import Path

import jsonschema
import pytest
from chalice import Chalice

from chalicelib import api
from chalicelib.local.webhooks import api as webhook_api
from tests.api_caller import Caller, registered, rejected, rolling, uploading
from tests.fakes_pipeline import fake_ports

DOCUMENT = api.show_document()


@pytest.fixture
def caller():
    caller = Caller(fake_ports())
    uploading(caller.ports, "faces/1/", "saved_model.pb")
    rejected(caller.ports, "faces/2/")
    rejected(caller.ports, "not legal/2/")
    registered(caller.ports, "digits/1")
    rolling(caller.ports, "digits/2")
    caller.post("/v1/keys", {"name": "ci", "scopes": ["deploy"]})
    return caller


def test_each_route_is_in_the_document_and_each_documented_one_is_a_route():
    app = Chalice("control-api")
    app.register_blueprint(api.routes)
    answered = {(method, path) for path, methods in app.routes.items() for method in methods}
    by_gateway = {(o.method, o.path) for o in api.PREDICT}
    documented = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert documented == answered | by_gateway


def test_the_page_for_people_lists_the_same_routes():
    page = (Path(api.__file__).parents[1] / "docs" / "api.md").read_text()
    listed = set(re.findall(r"^\| `(GET|POST|PUT|DELETE) (/\S+)` \|", page, re.MULTILINE))
    only_on_aws = {("PUT", "/v1/endpoints/{name}/rate")}
    table = (*api.routes.table, *webhook_api.routes.table)  # the second on one machine only
    assert listed == {(route.operation.method, route.operation.path) for route in table} | only_on_aws


def test_a_path_variable_fills_a_whole_segment():
    for route in api.routes.table:
        assert all(re.fullmatch(r"{\w+}|[^{}]+", segment) for segment in route.operation.path.split("/") if segment)


def test_no_reference_of_the_document_leads_nowhere():
    references = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert references == references & DOCUMENT["components"]["schemas"].keys()


def test_operation_ids_are_unique():
    ids = [o["operationId"] for methods in DOCUMENT["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))


PATHS = [
    "/v1/models",
    "/v1/models/digits",
    "/v1/models/digits/versions",
    "/v1/models/faces/versions",
    "/v1/models/faces/versions/1",
    "/v1/models/digits/versions/1",
    "/v1/drops",
    "/v1/endpoints",
    "/v1/endpoints/digits",
    "/v1/endpoints/digits/rollout",
    "/v1/rollouts",
    "/v1/rollouts?endpoint=digits",
    "/v1/keys",
    "/v1/whoami",
    "/openapi.json",
]


def schema_of(template, method, status):
    answer = DOCUMENT["paths"][template][method]["responses"][str(status)]
    return {**answer["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}


def template_of(path):
    return next(t for t in sorted(DOCUMENT["paths"]) if re.fullmatch(re.sub(r"{\w+}", "[^/]+", t), path.split("?")[0]))


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_as_the_document_says(caller, path):
    answer = caller.get(path)
    assert answer.status == 200
    jsonschema.validate(answer.body, schema_of(template_of(path), "get", 200))


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort", "rollback"])
def test_the_answer_of_a_change_is_as_the_document_says(caller, verb):
    answer = caller.post(f"/v1/endpoints/digits/{verb}")
    assert answer.status == 202
    jsonschema.validate(answer.body, schema_of(f"/v1/endpoints/{{name}}/{verb}", "post", 202))


def test_an_error_is_as_the_document_says(caller):
    answer = caller.get("/v1/models/nobody")
    jsonschema.validate(answer.body, schema_of("/v1/models/{model_id}", "get", 404))
