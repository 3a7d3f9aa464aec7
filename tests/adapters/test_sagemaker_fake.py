"""The fake is as strict as SageMaker: what it refuses, with which words, and how long things take."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.fakes_sagemaker import Fate
from tests.fakes_sagemaker_runtime import Answer
from tests.fakes_sagemaker_world import deployment, world

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/models"


@pytest.fixture
def at():
    found = world()
    found.aws.hosting.forgets_new_configs = False
    return found


@pytest.fixture
def sagemaker(at):
    return at.clients.sagemaker


def refused(call, **asked) -> str:
    with pytest.raises(ClientError) as caught:
        call(**asked)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def model(sagemaker, name="m"):
    source = {"S3DataSource": {"S3Uri": "s3://store/a/v1/", "S3DataType": "S3Prefix", "CompressionType": "None"}}
    container = {"Image": "image:1", "ModelDataSource": source}
    return sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)


def config(sagemaker, name="c", **more):
    variant = {
        "VariantName": "main",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        **more,
    }
    return sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def endpoint(at, name="e"):
    model(at.clients.sagemaker)
    config(at.clients.sagemaker)
    return at.clients.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="c")


def status(sagemaker):
    return sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"]


def test_a_second_one_of_a_name_is_refused_whatever_its_case(at, sagemaker):
    endpoint(at)
    said = "ValidationException: Cannot create already existing"
    role = {"PrimaryContainer": {"Image": "i"}, "ExecutionRoleArn": ROLE}
    assert refused(sagemaker.create_model, ModelName="M", **role) == f'{said} model "{ARN}:model/m".'
    variant = {"VariantName": "main", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    again = refused(sagemaker.create_endpoint_config, EndpointConfigName="C", ProductionVariants=[variant])
    assert again == f'{said} endpoint configuration "{ARN}:endpoint-config/c".'
    again = refused(sagemaker.create_endpoint, EndpointName="E", EndpointConfigName="c")
    assert again == f'{said} endpoint "{ARN}:endpoint/e".'


def test_what_is_not_there_is_told_by_its_arn(sagemaker):
    said = "ValidationException: Could not find"
    assert refused(sagemaker.describe_model, ModelName="x") == f'{said} model "{ARN}:model/x".'
    assert refused(sagemaker.delete_endpoint, EndpointName="x") == f'{said} endpoint "{ARN}:endpoint/x".'
    missing = refused(sagemaker.create_endpoint, EndpointName="e", EndpointConfigName="x")
    assert missing == f'{said} endpoint configuration "{ARN}:endpoint-config/x".'


def test_a_config_just_made_is_not_found_once(at, sagemaker):
    at.aws.hosting.forgets_new_configs = True
    model(sagemaker)
    config(sagemaker)
    assert "Could not find" in refused(sagemaker.create_endpoint, EndpointName="e", EndpointConfigName="c")
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")


def test_an_endpoint_in_progress_is_neither_deleted_nor_changed(at, sagemaker):
    endpoint(at)
    said = f'ValidationException: Cannot update in-progress endpoint "{ARN}:endpoint/e".'
    wanted = [{"VariantName": "main", "DesiredInstanceCount": 2}]
    resize = {"EndpointName": "e", "DesiredWeightsAndCapacities": wanted}
    assert refused(sagemaker.delete_endpoint, EndpointName="e") == said
    assert refused(sagemaker.update_endpoint_weights_and_capacities, **resize) == said
    at.clock.tick(seconds=240)
    sagemaker.update_endpoint_weights_and_capacities(**resize)
    assert status(sagemaker) == "Updating"
    assert refused(sagemaker.delete_endpoint, EndpointName="e") == said
    at.clock.tick(seconds=120)
    (variant,) = sagemaker.describe_endpoint(EndpointName="e")["ProductionVariants"]
    assert (status(sagemaker), variant["CurrentInstanceCount"]) == ("InService", 2)


def test_a_deletion_lasts_and_a_failed_endpoint_can_only_be_deleted(at, sagemaker):
    at.aws.fate = lambda _: Fate(ends="Failed")
    endpoint(at)
    at.clock.tick(seconds=240)
    update = {"EndpointName": "e", "EndpointConfigName": "c"}
    assert "can only be deleted" in refused(sagemaker.update_endpoint, **update)
    assert "Cannot create already existing" in refused(sagemaker.create_endpoint, **update)
    sagemaker.delete_endpoint(EndpointName="e")
    assert status(sagemaker) == "Deleting"
    assert "in use" in refused(sagemaker.delete_endpoint_config, EndpointConfigName="c")
    at.clock.tick(seconds=90)
    assert "Could not find" in refused(sagemaker.describe_endpoint, EndpointName="e")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ModelName": "x" * 64}, "at 'ModelName' failed to satisfy constraint: Member must have length less than"),
        ({"ModelName": "a_b"}, "at 'ModelName' failed to satisfy constraint: Member must satisfy regular expression"),
        ({"ExecutionRoleArn": "a role of twenty characters"}, "at 'ExecutionRoleArn' failed"),
        ({"Tags": [{"Key": "k", "Value": "v" * 257}]}, "at 'Tags.1.member.Value' failed"),
        ({"Tags": [{"Key": "k", "Value": "a;b"}]}, "at 'Tags.1.member.Value' failed"),
    ],
)
def test_the_limits_of_botocores_model_hold(sagemaker, asked, said):
    whole = {"ModelName": "m", "PrimaryContainer": {"Image": "i"}, "ExecutionRoleArn": ROLE, **asked}
    assert said in refused(sagemaker.create_model, **whole)


def test_numbers_and_types_are_held_too(sagemaker):
    model(sagemaker)
    with pytest.raises(ClientError, match="less than or equal to 3600"):
        config(sagemaker, ContainerStartupHealthCheckTimeoutInSeconds=3601)
    with pytest.raises(ClientError, match="satisfy enum value set"):
        config(sagemaker, InstanceType="ml.m7.huge")


def test_only_an_endpoint_that_serves_is_invoked(at):
    invoke = at.clients.runtime.invoke_endpoint
    said = "ValidationError: Endpoint e of account 123456789012 not found."
    assert refused(invoke, EndpointName="e", Body=b"{}") == said
    endpoint(at)
    assert refused(invoke, EndpointName="e", Body=b"{}") == said
    at.clock.tick(seconds=240)
    answer = invoke(EndpointName="e", Body=b'{"instances": [1, 2]}', CustomAttributes="trace=1")
    assert json.loads(answer["Body"].read()) == {"predictions": [0.0, 0.0]}
    assert answer["CustomAttributes"] == "digest=sha256:v1;nonfinite=0"


@pytest.mark.parametrize("attributes", ["x" * 1025, "é"])
def test_custom_attributes_are_1024_of_ascii(at, attributes):
    endpoint(at)
    at.clock.tick(seconds=240)
    with pytest.raises((ClientError, UnicodeEncodeError)):
        at.clients.runtime.invoke_endpoint(EndpointName="e", Body=b"{}", CustomAttributes=attributes)


def test_a_models_error_keeps_its_status_and_words(at):
    endpoint(at)
    at.clock.tick(seconds=240)
    at.aws.container = lambda call: Answer(b"bad shape", status=422)
    with pytest.raises(at.clients.runtime.exceptions.ModelError) as caught:
        at.clients.runtime.invoke_endpoint(EndpointName="e", Body=b"{}")
    told = caught.value.response
    assert (told["OriginalStatusCode"], told["OriginalMessage"]) == (422, "bad shape")
    assert told["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/e")


def test_listings_come_in_pages(at, sagemaker):
    for number in range(5):
        model(sagemaker, f"md-{number}")
    model(sagemaker, "other")
    first = sagemaker.list_models(NameContains="md-")
    assert (len(first["Models"]), "NextToken" in first) == (2, True)
    pages = sagemaker.get_paginator("list_models").paginate(NameContains="md-")
    assert [m["ModelName"] for page in pages for m in page["Models"]] == [f"md-{n}" for n in range(5)]


def test_a_scalable_target_wants_an_endpoint_in_service(at):
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling = at.clients.scaling
    assert "No scalable target registered for service namespace: sagemaker, resource ID: endpoint/e/variant/main" in (
        refused(scaling.deregister_scalable_target, **target)
    )
    endpoint(at)
    assert "isn't in service" in refused(scaling.register_scalable_target, **target, MinCapacity=1, MaxCapacity=2)
    at.clock.tick(seconds=240)
    assert "cannot be less" in refused(scaling.register_scalable_target, **target, MinCapacity=3, MaxCapacity=2)
    scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)
    wanted = [{"VariantName": "main", "DesiredInstanceCount": 1}]
    resize = at.clients.sagemaker.update_endpoint_weights_and_capacities
    assert "not between 2 and 3" in refused(resize, EndpointName="e", DesiredWeightsAndCapacities=wanted)


def test_clients_that_a_handler_makes_by_itself_meet_it_and_moto_beside_it(at, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    at.started(deployment())
    with mock_aws(), at.aws.installed():
        own = boto3.client("sagemaker", region_name="us-east-1")
        assert [e["EndpointStatus"] for e in own.list_endpoints()["Endpoints"]] == ["InService"]
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="store")
        assert [b["Name"] for b in boto3.client("s3", region_name="us-east-1").list_buckets()["Buckets"]] == ["store"]
