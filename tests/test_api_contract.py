"""Whatever is sent to a documented route, the answer is a documented one and never a failure of ours."""

import json
from urllib.parse import quote, urlencode

import jsonschema
import schemathesis
from hypothesis import HealthCheck, settings

from chalicelib import api
from chalicelib.answers import ANSWERS
from chalicelib.openapi import document
from tests.api_caller import Caller, registered, rejected, rolling
from tests.fakes_pipeline import fake_ports

DOCUMENT = document([route.operation for route in api.routes.table], ANSWERS)
NO_SUCH_METHOD = {"405": DOCUMENT["paths"]["/v1/models"]["get"]["responses"]["400"]}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


def a_used_platform():
    ports = fake_ports()
    rejected(ports, "faces/2/")
    registered(ports, "digits/1")
    rolling(ports, "digits/2")
    return Caller(ports)


def address(case):
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    return f"{path}?{urlencode(case.query, doseq=True)}" if case.query else path


def sent(case):
    if isinstance(case.body, bytes):
        return case.body
    return None if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body, default=repr).encode()


@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_documented_one(case):
    answer = a_used_platform().call(case.method, address(case), sent(case))
    documented = DOCUMENT["paths"][case.path].get(case.method.lower(), {}).get("responses", NO_SUCH_METHOD)
    assert str(answer.status) in documented
    schema = documented[str(answer.status)]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.body, {**schema, "components": DOCUMENT["components"]})
