"""What SageMaker is asked to make for a deployment: pure, from the deployment and the operator's settings.

Limits are those of AWS's API reference (CreateModel, CreateEndpointConfig): environment values of 1,024 characters,
start and download timeouts of 60 to 3,600 s, no KmsKeyId on instances with storage of their own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from chalicelib.domain.deployment import Deployment
from chalicelib.domain.errors import Rejected

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        CreateEndpointConfigInputTypeDef,
        CreateModelInputTypeDef,
        ProductionVariantTypeDef,
        TagTypeDef,
    )

_HAS_GPU = re.compile(r"ml\.[gp]\d")
VARIANT = "main"
_LEAST_TIMEOUT, _MOST_TIMEOUT = 60, 3600
# Families whose instances bring storage of their own, which SageMaker encrypts by itself.
_OWN_STORAGE = re.compile(r"ml\.(?:[a-z]+\d+[a-z]*d[a-z]*|g[567]e?|gr6|p[56]\S*|trn\d\S*)\..+")


@dataclass(frozen=True)
class Hosting:
    """What the operator set for all deployments of a stack; nothing of it can be set from a drop."""

    stack: str  # unique: the stack's name and a short id
    store: str  # bucket
    role: str  # ARN that models run under
    image: str
    instance_type: str
    allowed_images: Sequence[str] = ()  # patterns with `*`; none: `image` alone
    allowed_instance_types: Sequence[str] = ()  # none: `instance_type` alone
    max_instances: int = 4  # of one deployment
    isolated: bool = True
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    kms_key: str = ""  # of the instances' volumes and of what is captured
    capture_percent: int = 0  # of requests, with their answers
    capture_to: str = ""  # s3:// URI
    ami: str = ""  # of GPU instances: SageMaker's own choice has drivers of years ago; "" leaves it the choice
    requests_per_instance: float = 600.0  # a minute: what autoscaling aims at


def check(deployment: Deployment, hosting: Hosting) -> None:
    """Raise Rejected for what may not be started; before anything is made."""
    wanted, most = _most(deployment), hosting.max_instances
    if wanted > most:
        raise Rejected(f"{deployment.ref} wants {wanted} instances, the operator allows {most}", code="past_bound")
    if not any(fnmatchcase(hosting.image, pattern) for pattern in (hosting.allowed_images or (hosting.image,))):
        raise Rejected(f"image {hosting.image} is not among AllowedImages; add it there", code="past_bound")
    kind, kinds = instance_type(deployment, hosting), hosting.allowed_instance_types or (hosting.instance_type,)
    if kind not in kinds:
        allowed = ", ".join(kinds)
        raise Rejected(f"{deployment.ref}: the operator allows {allowed}, not {kind}", code="past_bound")


def instance_type(deployment: Deployment, hosting: Hosting) -> str:
    return deployment.resources.instance_type or hosting.instance_type


def model_request(
    name: str, deployment: Deployment, hosting: Hosting, tags: Mapping[str, str]
) -> "CreateModelInputTypeDef":
    """Ask for the sealed bytes as they lie in the store: a prefix, not an archive."""
    request: CreateModelInputTypeDef = {
        "ModelName": name,
        "ExecutionRoleArn": hosting.role,
        "EnableNetworkIsolation": hosting.isolated,
        "PrimaryContainer": {
            "Image": hosting.image,
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": f"s3://{hosting.store}/{deployment.store_prefix}",
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
            "Environment": {**deployment.resources.environment, "MODELDROP_MODEL_NAME": deployment.ref.model_id},
        },
        "Tags": tag_list(tags),
    }
    if hosting.subnets:
        request["VpcConfig"] = {"Subnets": hosting.subnets, "SecurityGroupIds": hosting.security_groups}
    return request


def config_request(
    name: str, deployment: Deployment, hosting: Hosting, tags: Mapping[str, str]
) -> "CreateEndpointConfigInputTypeDef":
    request: CreateEndpointConfigInputTypeDef = {
        "EndpointConfigName": name,
        "ProductionVariants": [_variant(name, deployment, hosting)],
        "Tags": tag_list(tags),
    }
    if hosting.kms_key and not _OWN_STORAGE.fullmatch(instance_type(deployment, hosting)):
        request["KmsKeyId"] = hosting.kms_key
    if hosting.capture_percent:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": hosting.capture_percent,
            "DestinationS3Uri": hosting.capture_to,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
        if hosting.kms_key:
            request["DataCaptureConfig"]["KmsKeyId"] = hosting.kms_key
    return request


def tag_list(tags: Mapping[str, str]) -> "list[TagTypeDef]":
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _variant(name: str, deployment: Deployment, hosting: Hosting) -> "ProductionVariantTypeDef":
    patience = int(min(max(deployment.resources.start_timeout_s, _LEAST_TIMEOUT), _MOST_TIMEOUT))
    kind = instance_type(deployment, hosting)
    variant: ProductionVariantTypeDef = {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": kind,  # type: ignore[typeddict-item]  # the operator's list
        "InitialInstanceCount": deployment.resources.replicas,
        "ModelDataDownloadTimeoutInSeconds": patience,
        "ContainerStartupHealthCheckTimeoutInSeconds": patience,
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }
    if hosting.ami and _HAS_GPU.match(kind):
        variant["InferenceAmiVersion"] = hosting.ami  # type: ignore[typeddict-item]  # the operator's word
    return variant


def _most(deployment: Deployment) -> int:
    return max(deployment.resources.replicas, deployment.resources.max_replicas)
