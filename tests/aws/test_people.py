"""What the three policies for people allow and what they don't, decided as IAM does over the template's own text.

Beside the evaluator: a tag's value takes the place of its variable, and `Null` asks whether the principal has the tag.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.aws.roles_calls import Need
from tests.aws.roles_iam import Statement, allowed, statement
from tests.aws.stack import PARAMETERS
from tests.aws.translated import decided

RESOURCES = decided(PARAMETERS)["Resources"]
_TAG = re.compile(r"\$\{aws:PrincipalTag/([\w:]+)\}")


def policy(name: str, tags: Mapping[str, str]) -> list[Statement]:
    """Return the statements of a policy for a principal with these tags."""
    said = RESOURCES[name]["Properties"]["PolicyDocument"]["Statement"]
    text = _TAG.sub(lambda found: tags.get(found[1], ""), json.dumps([flat(one) for one in said]))
    return [statement(name, one) for each in json.loads(text) for one in asked_of(each, tags)]


def flat(said: Any) -> Any:
    """Return a value with names of resources in place of what CloudFormation would put there."""
    match said:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [name, "Arn"]} | {"Fn::GetAtt": name}:
            return f"arn:{str(name).removesuffix('.Arn')}"
        case {"Fn::Sub": str(text)}:
            arns = re.sub(r"\$\{(\w+)\.Arn\}", r"arn:\1", text)
            return re.sub(r"\$\{(?!!)([\w:]+)\}", r"\1", arns).replace("${!", "${")
        case dict():
            return {key: flat(value) for key, value in said.items()}
        case list():
            return [flat(value) for value in said]
    return said


def asked_of(said: dict[str, Any], tags: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the statement without its question for tags, if the answer is the one that it asks for."""
    nulls = said.get("Condition", {}).pop("Null", {})
    if all((key.rpartition("/")[2] not in tags) == (value == "true") for key, value in nulls.items()):
        yield said


def may(statements: list[Statement], action: str, resource: str, **context: str) -> bool:
    asked = tuple((key.replace("_", ":"), value) for key, value in context.items())
    return allowed(Need(action, resource, asked), statements)


DROP = "arn:DropBucket"


@pytest.mark.parametrize(
    ("action", "key", "expected"),
    [
        ("s3:PutObject", "digits/v1/model.mar", True),
        ("s3:AbortMultipartUpload", "digits/v1/model.mar", True),
        ("s3:GetObject", "digits/v1/_report.txt", True),
        ("s3:PutObject", "digits2/v1/model.mar", False),
        ("s3:PutObject", "letters/v1/model.mar", False),
        ("s3:GetObject", "letters/v1/model.mar", False),
        ("s3:PutObject", "_reports/letters.json", False),
        ("s3:DeleteObject", "digits/v1/model.mar", False),
        ("s3:PutObjectTagging", "digits/v1/model.mar", False),
    ],
)
def test_a_dropper_writes_and_reads_one_models_folder(action, key, expected):
    assert may(policy("DropperPolicy", {"modeldrop:model": "digits"}), action, f"{DROP}/{key}") is expected


@pytest.mark.parametrize(
    ("prefix", "expected"), [("digits/", True), ("digits/v1/", True), ("letters/", False), ("", False)]
)
def test_a_dropper_lists_one_models_folder(prefix, expected):
    statements = policy("DropperPolicy", {"modeldrop:model": "digits"})
    assert may(statements, "s3:ListBucket", DROP, s3_prefix=prefix) is expected


@pytest.mark.parametrize("key", ["digits/v1/model.mar", "/v1/model.mar"])
def test_a_dropper_without_a_tag_may_nothing(key):
    statements = policy("DropperPolicy", {})
    assert not may(statements, "s3:PutObject", f"{DROP}/{key}")
    assert not may(statements, "s3:ListBucket", DROP, s3_prefix="/")


def test_a_caller_reads_one_key_and_nothing_else():
    statements = policy("CallerPolicy", {"modeldrop:key": "shop"})
    secrets = "arn:AWS::Partition:secretsmanager:AWS::Region:AWS::AccountId:secret:Bus/keys/"
    asked = {
        name: may(statements, "secretsmanager:GetSecretValue", f"{secrets}{name}-AbCdEf") for name in ("shop", "me")
    }
    assert asked == {"shop": True, "me": False}
    assert not may(statements, "secretsmanager:PutSecretValue", f"{secrets}shop-AbCdEf")


@pytest.mark.parametrize("name", ["DropperPolicy", "CallerPolicy", "OperatorPolicy"])
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sagemaker:InvokeEndpoint", "arn:AWS::Partition:sagemaker:AWS::Region:AWS::AccountId:endpoint/Bus-digits"),
        ("s3:PutObject", "arn:StoreBucket/digits/v1/a/model.mar"),
        ("s3:PutObject", f"{DROP}/letters/v1/model.mar"),
        ("dynamodb:PutItem", "arn:Table"),
        ("iam:TagRole", "arn:role"),
    ],
)
def test_nobody_calls_a_model_past_the_api_nor_writes_sealed_bytes_or_records(name, action, resource):
    tags = {"modeldrop:model": "digits", "modeldrop:key": "shop"}
    assert not may(policy(name, tags), action, resource)


def test_an_operator_makes_the_first_key_and_keeps_it():
    statements = policy("OperatorPolicy", {})
    secret = "arn:AWS::Partition:secretsmanager:AWS::Region:AWS::AccountId:secret:Bus/keys/shop-AbCdEf"
    assert may(statements, "lambda:InvokeFunction", "arn:ApiFunction")
    assert may(statements, "secretsmanager:CreateSecret", secret)
    assert may(statements, "secretsmanager:PutSecretValue", secret)
    assert not may(statements, "secretsmanager:GetSecretValue", secret)
