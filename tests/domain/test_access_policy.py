"""A key's policy allows what its scopes allow, route by route, and nothing outside of its API."""

import re
from fnmatch import fnmatchcase

import pytest
from chalice import Chalice

from chalicelib import api, predict_api
from chalicelib.domain.access_policy import api_arn, policy_of
from chalicelib.domain.errors import Rejected
from chalicelib.domain.scopes import allows, dark_scope, predict_scope, uploads

STAGE = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/"
CALLED = STAGE + "GET/v1/whoami"
SCOPES = [
    [], ["deploy"], ["admin"], ["predict:*"], ["predict:digits"], ["predict:digits", "predict:faces"],
    ["deploy", "predict:faces"], ["dark:digits"], ["dark:*", "predict:faces"],
    ["upload:digits"], ["upload:*", "deploy"],
]  # fmt: skip
NEEDS = {"read": "deploy", "upload": "deploy", "deploy": "deploy", "admin": "admin"}


def routes():
    """Return (method, path template, scope) of every route that AWS asks its authorizer about."""
    app = Chalice("control-api")
    operations = [route.operation for table in (api.routes.table, predict_api.routes.table) for route in table]
    app.register_blueprint(api.routes)
    app.register_blueprint(predict_api.routes)
    assert {(o.method, o.path) for o in operations} == {(m, path) for path, ms in app.routes.items() for m in ms}
    return [(o.method, o.path, o.scope) for o in operations if o.scope != "hook"]


def allowed(policy, method, path):
    """Say whether IAM would let the call through: `*` and `?` fit any text."""
    (statement,) = policy["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "execute-api:Invoke")
    called = f"{STAGE}{method}{path}"
    return any(fnmatchcase(called, pattern.replace("[", "[[]")) for pattern in statement["Resource"])


def filled(path, name):
    """Return a path with an endpoint's name and any other values."""
    named = path.replace("{name}", name)
    return re.sub(r"{\w+}", "anything", named)


@pytest.mark.parametrize("scopes", SCOPES, ids=" ".join)
@pytest.mark.parametrize(("method", "path", "scope"), routes())
def test_the_policy_and_the_scopes_agree_on_every_route(scopes, method, path, scope):
    policy = policy_of("k1", scopes, CALLED)
    for name in ("digits", "faces", "other"):
        if scope == "predict":
            verbs = [":predict", ":rawPredict"] if path.endswith("{name}") else [""]
            # Which of them a call needs, its headers say: the route looks.
            expected = allows(scopes, predict_scope(name)) or allows(scopes, dark_scope(name))
            got = {allowed(policy, method, filled(path, name) + verb) for verb in verbs}
        else:
            looks = scope in {"read", "upload"} and uploads(scopes)
            expected = not scope or looks or allows(scopes, NEEDS[scope])
            got = {allowed(policy, method, filled(path, name))}
        assert got == {expected}


@pytest.mark.parametrize("scopes", SCOPES, ids=" ".join)
def test_a_policy_names_its_own_api_and_stage_in_every_resource(scopes):
    (statement,) = policy_of("k1", scopes, CALLED)["policyDocument"]["Statement"]
    assert statement["Resource"]
    assert all(resource.startswith(STAGE) for resource in statement["Resource"])


def test_the_policy_is_the_same_whatever_route_was_called_first():
    scopes = ["deploy", "predict:digits"]
    policies = [
        policy_of("k1", scopes, STAGE + called) for called in ("GET/v1/keys", "POST/v1/endpoints/x/predict", "GET/")
    ]
    assert policies[0] == policies[1] == policies[2]


def test_who_calls_is_told_to_the_routes():
    policy = policy_of("k1", ("deploy", "predict:digits"), CALLED)
    assert policy["principalId"] == "k1"
    assert policy["context"] == {"key_id": "k1", "scopes": "deploy predict:digits"}


def test_a_name_that_begins_like_another_is_another():
    policy = policy_of("k1", ["predict:digits"], CALLED)
    assert not allowed(policy, "POST", "/v1/endpoints/digits2/predict")
    assert not allowed(policy, "POST", "/v1/endpoints/digits/rollouts")
    assert not allowed(policy, "POST", "/v1/endpoints/x/digits/predict")


@pytest.mark.parametrize("arn", ["", "*", "arn:aws:execute-api:*/*/GET/", "arn:aws:execute-api:r:1:a", "x/y/GET/z"])
def test_what_is_no_methods_arn_makes_no_policy(arn):
    with pytest.raises(Rejected, match="no ARN"):
        api_arn(arn)
