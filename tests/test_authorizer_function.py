"""The authorizer as API Gateway calls it: a policy for a valid key, else the one word for 401."""

import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from chalicelib import wiring
from chalicelib.pipeline.keys import make_key, revoke
from tests.aws_tables import REGION, make_table

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "MODELDROP_TABLE": "md-1-records",
    "MODELDROP_STORE_BUCKET": "md-1-store",
}


class Context:
    function_name = "authorizer"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:authorizer"
    aws_request_id = "r-1"


@pytest.fixture
def handler(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        make_table(boto3.client("dynamodb"), ENVIRONMENT["MODELDROP_TABLE"])
        wiring.settings.cache_clear()
        wiring.ports.cache_clear()
        spec = importlib.util.spec_from_file_location("authorizer_app", ROOT / "functions/authorizer/app.py")
        app = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        yield app.handler
    wiring.settings.cache_clear()
    wiring.ports.cache_clear()


def key_of(*scopes):
    return make_key(wiring.ports("authorizer").registry, lambda: datetime.now(UTC), name="app", scopes=scopes)


def event(secret):
    sample = json.loads((ROOT / "events/authorizer-token.json").read_text())
    return sample | {"authorizationToken": f"Bearer {secret}"}


def test_a_valid_key_gets_a_policy_for_the_api_that_was_called(handler):
    key, secret = key_of("predict:digits")
    answer = handler(event(secret), Context())
    (statement,) = answer["policyDocument"]["Statement"]
    assert event(secret)["methodArn"] in statement["Resource"]
    assert answer["context"] == {"key_id": key.id, "scopes": "predict:digits"}


@pytest.mark.parametrize("of", ["nobody", "revoked", "another's id"])
def test_any_other_is_answered_401_by_the_one_word(handler, of):
    key, secret = key_of("predict:digits")
    registry = wiring.ports("authorizer").registry
    if of == "revoked":
        revoke(registry, lambda: datetime.now(UTC), key.id)
    sent = {"nobody": "md_000000000000_x", "revoked": secret, "another's id": secret[:-1] + "!"}[of]
    with pytest.raises(Exception, match=r"^Unauthorized$") as refused:
        handler(event(sent), Context())
    assert type(refused.value) is Exception


def test_no_secret_is_written_to_the_log(handler, caplog):
    _, secret = key_of("predict:digits")
    handler(event(secret), Context())
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        handler(event(secret + "x"), Context())
    logged = [(record.message, record.reason) for record in caplog.records]
    assert logged == [("refused a caller", "this API key does not exist; ask the operator for one")]
    assert secret not in "".join(str(vars(record)) for record in caplog.records)
