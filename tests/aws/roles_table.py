"""What AWS's services do with a stack's roles, which no call of a function shows: each line with what causes it.

A line's cause is a property of the template, or a call that a function was seen to make. A line whose cause isn't there
with all optional parameters on, or that no statement of a role needs, is a mistake of this table's: a test says so.

The sources are AWS's managed policies of these names, and the developer guide of SageMaker: "SageMaker Roles",
"Prerequisites" of automatic scaling, "SageMaker API Permissions".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import jmespath

from tests.aws.roles_calls import Need
from tests.aws.roles_iam import role_of
from tests.aws.roles_recorder import Call
from tests.aws.stack import Stack

FUNCTION, MAPPING = "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"
Resources = Callable[[Stack, Mapping[str, Any]], Sequence[str]]


@dataclass(frozen=True)
class Seen:
    """A call that a function makes, as service.Operation, and what its request must say as a JMESPath."""

    what: str
    says: str = "@"


@dataclass(frozen=True)
class Property:
    """A property of every resource of a kind, as a JMESPath that is true of it."""

    kind: str
    says: str


@dataclass(frozen=True)
class Line:
    what: str  # is done, by whom
    cause: Property | Seen
    actions: Sequence[str]
    resources: Resources
    role: str = ""  # its logical id; "" for the role of the function that the cause is of
    given: Property | None = None  # what must be in the template, too
    context: tuple[tuple[str, str], ...] = ()


def anything(_stack: Stack, _found: Mapping[str, Any]) -> Sequence[str]:
    """The action knows no resource, or one that nobody knows before."""
    return ["*"]


def _log_stream(stack: Stack, function: Mapping[str, Any]) -> Sequence[str]:
    group = stack.resolve(function["LoggingConfig"]["LogGroup"])
    return [_arn("logs", f"log-group:{group}:log-stream:2026/01/01/[$LATEST]0")]


def _source(stack: Stack, mapping: Mapping[str, Any]) -> Sequence[str]:
    return [stack.resolve(mapping["EventSourceArn"])]


def _key(stack: Stack, _: Mapping[str, Any]) -> Sequence[str]:
    return [stack.resolve({"Fn::GetAtt": ["Key", "Arn"]})]


def _alarm(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [_arn("cloudwatch", f"alarm:TargetTracking-{asked['ResourceId']}-AlarmHigh-0")]


def _service_linked_role(_: Stack, _asked: Mapping[str, Any]) -> Sequence[str]:
    service = "sagemaker.application-autoscaling.amazonaws.com"
    role = f"role/aws-service-role/{service}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    return [_arn("iam", role, region="")]


def _woken_queue(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [asked["Target"]["Arn"]]


def _model_objects(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [f"arn:aws:s3:::{_model_uri(asked)}model.mar"]


def _model_bucket(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [f"arn:aws:s3:::{_model_uri(asked).split('/')[0]}"]


def _model_uri(asked: Mapping[str, Any]) -> str:
    uri: str = asked["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"]
    return uri.removeprefix("s3://")


def _image(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    host, name = asked["PrimaryContainer"]["Image"].split("/", 1)
    return [f"arn:aws:ecr:{host.split('.')[3]}:{host.split('.')[0]}:repository/{name.split(':')[0].split('@')[0]}"]


def _endpoint_log(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [_arn("logs", f"log-group:/aws/sagemaker/Endpoints/{asked['EndpointName']}:log-stream:main/i-0")]


def _captured(_: Stack, asked: Mapping[str, Any]) -> Sequence[str]:
    return [f"arn:aws:s3:::{asked['DataCaptureConfig']['DestinationS3Uri'].removeprefix('s3://')}x/main/0.jsonl"]


def _arn(service: str, rest: str, *, region: str = "us-east-1", account: str = "123456789012") -> str:
    return f"arn:aws:{service}:{region}:{account}:{rest}"


_ENCRYPTED_QUEUE = Property("AWS::SQS::Queue", "KmsMasterKeyId")
_ENCRYPTED_BUCKET = Property(
    "AWS::S3::Bucket",
    "BucketEncryption.ServerSideEncryptionConfiguration[].ServerSideEncryptionByDefault.KMSMasterKeyID",
)
_ENCRYPTED_TABLE = Property("AWS::DynamoDB::Table", "SSESpecification.KMSMasterKeyId")
_GRANTS = (("kms:GrantIsForAWSResource", "true"),)

TABLE: Sequence[Line] = (
    # --- Lambda, with a function's role (AWSLambdaBasicExecutionRole, …SQSQueueExecutionRole, …VPCAccessExecutionRole,
    # AWSXRayDaemonWriteAccess: its sampling rules are the daemon's, which Lambda doesn't ask for) ---------------------
    Line(
        "Lambda writes a function's log",
        Property(FUNCTION, "LoggingConfig.LogGroup"),
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        _log_stream,
    ),
    Line(
        "Lambda's poller takes messages",
        Property(MAPPING, "EventSourceArn"),
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
        _source,
    ),
    Line(
        "Lambda's poller decrypts them",
        Property(MAPPING, "EventSourceArn"),
        ("kms:Decrypt",),
        _key,
        given=_ENCRYPTED_QUEUE,
    ),
    Line(
        "Lambda sends traces",
        Property(FUNCTION, "TracingConfig.Mode == 'Active'"),
        ("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        anything,
    ),
    Line(
        "Lambda has a network interface",
        Property(FUNCTION, "VpcConfig.SubnetIds"),
        (
            "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        ),
        anything,
    ),
    # --- services that encrypt for who calls them ---------------------------------------------------------------------
    Line("SQS encrypts", Seen("sqs.SendMessage"), ("kms:Decrypt", "kms:GenerateDataKey"), _key, given=_ENCRYPTED_QUEUE),
    Line("S3 encrypts", Seen("s3.PutObject"), ("kms:GenerateDataKey",), _key, given=_ENCRYPTED_BUCKET),
    Line("S3 decrypts", Seen("s3.GetObject"), ("kms:Decrypt",), _key, given=_ENCRYPTED_BUCKET),
    Line("DynamoDB opens its table's key", Seen("dynamodb.*"), ("kms:Decrypt",), _key, given=_ENCRYPTED_TABLE),
    Line(
        "SageMaker keeps an endpoint's disks encrypted",
        Seen("sagemaker.CreateEndpointConfig", "KmsKeyId"),
        ("kms:CreateGrant",),
        _key,
        context=_GRANTS,
    ),
    # --- Application Auto Scaling, for who registers a target ("Prerequisites": Permissions; what it wants of SageMaker
    # our own calls need, too) --------------------------
    Line(
        "it makes its own role, once in an account",
        Seen("application-autoscaling.RegisterScalableTarget"),
        ("iam:CreateServiceLinkedRole",),
        _service_linked_role,
        context=(("iam:AWSServiceName", "sagemaker.application-autoscaling.amazonaws.com"),),
    ),
    Line(
        "it makes the alarms of target tracking",
        Seen("application-autoscaling.PutScalingPolicy"),
        ("cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"),
        _alarm,
    ),
    Line(
        "it deletes them with the target",
        Seen("application-autoscaling.DeregisterScalableTarget"),
        ("cloudwatch:DeleteAlarms",),
        _alarm,
    ),
    # --- EventBridge Scheduler, with the role that a schedule names ---------------------------------------------------
    Line("a timer fires", Seen("scheduler.CreateSchedule"), ("sqs:SendMessage",), _woken_queue, role="ScheduleRole"),
    Line(
        "SQS encrypts what it sends",
        Seen("scheduler.CreateSchedule"),
        ("kms:Decrypt", "kms:GenerateDataKey"),
        _key,
        role="ScheduleRole",
        given=_ENCRYPTED_QUEUE,
    ),
    # --- SageMaker, with the role that a model names ("SageMaker Roles": CreateModel API) -----------------------------
    Line(
        "it downloads the sealed bytes",
        Seen("sagemaker.CreateModel", "PrimaryContainer.ModelDataSource"),
        ("s3:GetObject",),
        _model_objects,
        role="ModelRole",
    ),
    Line(
        "it lists them, for the model's data is a prefix",
        Seen("sagemaker.CreateModel", "PrimaryContainer.ModelDataSource.S3DataSource.S3DataType == 'S3Prefix'"),
        ("s3:ListBucket",),
        _model_bucket,
        role="ModelRole",
    ),
    Line(
        "S3 decrypts them",
        Seen("sagemaker.CreateModel", "PrimaryContainer.ModelDataSource"),
        ("kms:Decrypt",),
        _key,
        role="ModelRole",
        given=_ENCRYPTED_BUCKET,
    ),
    Line(
        "it pulls the image",
        Seen("sagemaker.CreateModel", "PrimaryContainer.Image"),
        ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        _image,
        role="ModelRole",
    ),
    Line(
        "it logs in to ECR",
        Seen("sagemaker.CreateModel", "PrimaryContainer.Image"),
        ("ecr:GetAuthorizationToken",),
        anything,
        role="ModelRole",
    ),
    Line(
        "it writes the containers' logs",
        Seen("sagemaker.CreateEndpoint"),
        ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        _endpoint_log,
        role="ModelRole",
    ),
    Line(
        "it counts what the instances do",
        Seen("sagemaker.CreateEndpoint"),
        ("cloudwatch:PutMetricData",),
        anything,
        role="ModelRole",
        context=(("cloudwatch:namespace", "/aws/sagemaker/Endpoints"),),
    ),
    Line(
        "it has network interfaces",
        Seen("sagemaker.CreateModel", "VpcConfig"),
        (
            "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
        ),
        anything,
        role="ModelRole",
    ),
    Line(
        "it keeps requests and answers",
        Seen("sagemaker.CreateEndpointConfig", "DataCaptureConfig.EnableCapture"),
        ("s3:PutObject",),
        _captured,
        role="ModelRole",
    ),
    Line(
        "S3 encrypts them",
        Seen("sagemaker.CreateEndpointConfig", "DataCaptureConfig.EnableCapture"),
        ("kms:GenerateDataKey",),
        _key,
        role="ModelRole",
        given=_ENCRYPTED_BUCKET,
    ),
)  # fmt: skip

# Where a statement says `*` and an action of it could name its resource: why it can't here.
UNNAMED: Mapping[str, str] = {
    "ec2:*NetworkInterface*": "they aren't there yet and aren't tagged by us; AWS's own policy for Lambda says *",
    "ec2:*PrivateIpAddresses": "as the interfaces",
    "cloudwatch:PutMetricData": "a namespace is no resource of it (a dataset is): the statement's condition names that",
}


def behind(line: Line, stack: Stack, calls: Sequence[tuple[str, Call]]) -> Iterator[tuple[str, Need]]:
    """Yield whose role must allow what, by a line; `calls` are those seen, each with the role of its function."""
    if line.given and not list(_having(line.given, stack)):
        return
    for role, found in _causes(line, stack, calls):
        for action, resource in product(line.actions, line.resources(stack, found)):
            yield line.role or role, Need(action, resource, line.context, why=line.what)


def _causes(line: Line, stack: Stack, calls: Sequence[tuple[str, Call]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match line.cause:
        case Seen(what, says):
            for role, call in calls:
                if fnmatchcase(f"{call.service}.{call.operation}", what) and jmespath.search(says, call.asked):
                    yield role, call.asked
        case Property() as wanted:
            for name, properties in _having(wanted, stack):
                yield role_of(stack, properties.get("FunctionName", {}).get("Ref", name)), properties


def _having(wanted: Property, stack: Stack) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, one in stack.template["Resources"].items():
        if one["Type"] == wanted.kind and jmespath.search(wanted.says, one["Properties"]):
            yield name, one["Properties"]
