"""What SageMaker is asked to make, and what is refused before it is asked."""

from dataclasses import replace

import pytest

from chalicelib.adapters.sagemaker_requests import check, config_request, model_request
from chalicelib.domain.errors import Rejected
from tests.fakes_sagemaker_world import HOSTING, deployment

TAGS = {"modeldrop:stack": "0123abcd"}


def model(asked=None, **hosting):
    return model_request("md-x", asked or deployment(), replace(HOSTING, **hosting), TAGS)


def config(asked=None, **hosting):
    return config_request("md-x", asked or deployment(), replace(HOSTING, **hosting), TAGS)


def variant(asked=None, **hosting):
    (found,) = config(asked, **hosting)["ProductionVariants"]
    return found


def test_a_model_reads_the_sealed_prefix_as_it_lies_and_nothing_else():
    source = {"S3Uri": "s3://store/digits/v1/x/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    assert model()["PrimaryContainer"]["ModelDataSource"] == {"S3DataSource": source}


def test_a_model_has_no_network_unless_the_operator_says_so():
    assert model()["EnableNetworkIsolation"] is True
    assert model(isolated=False)["EnableNetworkIsolation"] is False


def test_a_model_lies_in_the_operators_network_when_there_is_one():
    assert "VpcConfig" not in model()
    found = model(subnets=("subnet-1",), security_groups=("sg-1",))
    assert found["VpcConfig"] == {"Subnets": ("subnet-1",), "SecurityGroupIds": ("sg-1",)}


def test_a_models_environment_is_what_its_drop_was_allowed_and_its_own_name():
    asked = deployment(environment={"TOP_K": "5", "MODELDROP_MODEL_NAME": "impostor"})
    assert model(asked)["PrimaryContainer"]["Environment"] == {"TOP_K": "5", "MODELDROP_MODEL_NAME": "digits"}


def test_everything_is_tagged():
    assert model()["Tags"] == config()["Tags"] == [{"Key": "modeldrop:stack", "Value": "0123abcd"}]


@pytest.mark.parametrize(("asked", "given"), [(1, 60), (180.5, 180), (7200, 3600)])
def test_patience_is_held_to_what_sagemaker_takes(asked, given):
    found = variant(deployment(start_timeout_s=asked))
    assert found["ContainerStartupHealthCheckTimeoutInSeconds"] == given
    assert found["ModelDataDownloadTimeoutInSeconds"] == given


def test_a_deployment_begins_with_its_least_replicas():
    assert variant(deployment(replicas=2, max_replicas=4))["InitialInstanceCount"] == 2


def test_an_instance_type_is_the_deployments_own_or_the_operators():
    assert variant()["InstanceType"] == "ml.m5.large"
    assert variant(deployment(instance_type="ml.g5.xlarge"))["InstanceType"] == "ml.g5.xlarge"


@pytest.mark.parametrize(
    ("kind", "encrypted"),
    [
        ("ml.m5.large", True),
        ("ml.c6i.xlarge", True),
        ("ml.inf2.xlarge", True),
        ("ml.g5.xlarge", False),
        ("ml.g4dn.xlarge", False),
        ("ml.m5d.large", False),
        ("ml.r7gd.medium", False),
        ("ml.p4de.24xlarge", False),
        ("ml.p6-b200.48xlarge", False),
        ("ml.trn1n.32xlarge", False),
    ],
)
def test_a_key_is_only_given_to_volumes_that_take_one(kind, encrypted):
    assert ("KmsKeyId" in config(deployment(instance_type=kind), kms_key="key-1")) is encrypted


def test_nothing_is_captured_unless_the_operator_says_so():
    assert "DataCaptureConfig" not in config()
    found = config(capture_percent=10, capture_to="s3://store/_captured/", kms_key="key-1")["DataCaptureConfig"]
    assert (found["InitialSamplingPercentage"], found["KmsKeyId"]) == (10, "key-1")


@pytest.mark.parametrize(
    ("asked", "hosting", "said"),
    [
        (deployment(replicas=5), {}, "digits/v1 wants 5 instances, the operator allows 4"),
        (deployment(max_replicas=3), {"max_instances": 2}, "digits/v1 wants 3 instances, the operator allows 2"),
        (deployment(instance_type="ml.p5.48xlarge"), {}, "allows ml.m5.large, not ml.p5.48xlarge"),
        (deployment(), {"allowed_images": ("other/*",)}, "is not among AllowedImages"),
    ],
)
def test_what_is_past_a_bound_is_rejected(asked, hosting, said):
    with pytest.raises(Rejected, match=said) as caught:
        check(asked, replace(HOSTING, **hosting))
    assert caught.value.code == "past_bound"


def test_what_the_operator_listed_is_allowed():
    kinds, images = ("ml.m5.large", "ml.g5.xlarge"), ("123456789012.dkr.ecr.*/serving:*",)
    listed = replace(HOSTING, allowed_instance_types=kinds, allowed_images=images)
    check(deployment(replicas=4, instance_type="ml.g5.xlarge"), listed)


@pytest.mark.parametrize(
    ("kind", "ami", "asked"),
    [
        ("ml.g5.xlarge", "newest", "newest"),
        ("ml.p5.48xlarge", "newest", "newest"),
        ("ml.g5.xlarge", "", None),
        ("ml.m5.large", "newest", None),
    ],
)
def test_the_drivers_of_gpu_instances_are_those_that_the_operator_chose(kind, ami, asked):
    assert variant(instance_type=kind, allowed_instance_types=(kind,), ami=ami).get("InferenceAmiVersion") == asked
