"""The template's stack in moto, with the real handlers behind its queues, its schedule and its API.

Moto keeps buckets, queues, rules, table, roles and timers. What AWS would do by itself is a method here: `deliver`
polls the queues for the functions, `fire_timers` is EventBridge Scheduler, `schedule` the rule that fires every 15
minutes, `call` API Gateway, `delete` what CloudFormation asks the custom resource. A handler runs in this process with
exactly the environment that the template gives its function, and Lambda's own variables.
"""

import base64
import importlib.util
import io
import json
import os
import random
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import boto3
from moto.cloudformation import cloudformation_backends
from moto.cloudformation.parsing import clean_json
from moto.core import DEFAULT_ACCOUNT_ID
from moto.events.models import EventBus

from chalicelib import wiring
from tests.aws.lean_moto import slim
from tests.aws.translated import CODE, decided, for_moto
from tests.event_check import check_document

FUNCTIONS = Path(__file__).parents[2] / "functions"
REGION = "us-east-1"
IMAGE = f"{DEFAULT_ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/modeldrop:1"
PARAMETERS: Mapping[str, str] = {
    "ServingImage": IMAGE,
    "ImageRepositories": f"arn:aws:ecr:{REGION}:{DEFAULT_ACCOUNT_ID}:repository/modeldrop",
}
# Every optional part of the stack at once.
ALL_ON: Mapping[str, str] = {
    **PARAMETERS,
    "OwnKey": "yes",
    "ModelSubnets": "subnet-1,subnet-2",
    "ModelSecurityGroups": "sg-1",
    "FunctionSubnets": "subnet-1,subnet-2",
    "FunctionSecurityGroups": "sg-1",
    "PrivateApi": "yes",
    "VpcEndpointId": "vpce-1",
    "DataCapture": "10",
    "Tracing": "yes",
    "ArchiveDays": "7",
    "AccessLogs": "yes",
    "AlarmEmail": "operator@example.com",
    "AlarmTopicArn": f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:alarms",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": "testing"}
# moto's CloudFormation makes a bus, but gives a !Ref to it no name.
EventBus.physical_resource_id = property(lambda bus: bus.name)
slim()
_CALL = timedelta(milliseconds=100)  # of the clock
_KEPT = {"PATH", "HOME", "TMPDIR", "LANG"}  # of this process, for Python's own sake


@dataclass(frozen=True)
class Mapped:
    """A queue that feeds a function, as the template maps it."""

    function: str  # its logical id
    queue_url: str
    queue_arn: str
    batch: int
    partial: bool  # ReportBatchItemFailures


@dataclass(frozen=True)
class Mishaps:
    """What happens to messages on their way, by chance: `seed` makes it the same each time."""

    seed: int = 0
    drop: float = 0.0
    double: float = 0.0
    shuffle: bool = False


class Context:
    """What Lambda tells a handler."""

    def __init__(self, name: str, timeout: int) -> None:
        self.function_name = name
        self.function_version = "$LATEST"
        self.memory_limit_in_mb = 1769
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT_ID}:function:{name}"
        self.aws_request_id = str(uuid.uuid4())
        self._timeout = timeout

    def get_remaining_time_in_millis(self) -> int:
        return self._timeout * 1000


class _Warm:
    """Whose functions are warm: the wiring is this process's, and knows one stack."""

    stack: "Stack | None" = None


@dataclass
class Stack:
    """One stack. Make it with `create`, while moto mocks AWS."""

    id: str
    parameters: Mapping[str, str]
    now: datetime
    mishaps: Mishaps = field(default_factory=Mishaps)
    failures: list[BaseException] = field(default_factory=list)  # of handlers: their messages came again
    delivered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # function, a message's content
    meanwhile: list[Callable[[], None]] = field(default_factory=list)  # what happens before queues are polled
    _clients: dict[str, Any] = field(default_factory=dict)
    _environments: dict[str, dict[str, str]] = field(default_factory=dict)
    _handlers: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @classmethod
    def create(cls, parameters: Mapping[str, str] | None = None, *, name: str = "modeldrop") -> Self:
        given = {**PARAMETERS, **(parameters or {})}
        _put_placeholder_code()
        cloudformation = boto3.client("cloudformation", REGION)
        told = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a kind of resource that moto doesn't know is a warning
            made = cloudformation.create_stack(
                StackName=name, TemplateBody=json.dumps(for_moto(given)), Parameters=told
            )
        stack = cls(made["StackId"], given, datetime.now(UTC))
        stack._make_the_rest()
        stack.now = datetime.now(UTC)
        return stack

    # --- what AWS does ------------------------------------------------------------------------------------------------
    def put(self, key: str, body: bytes) -> None:
        """Put an object into the drop bucket, as an uploader does."""
        self.client("s3").put_object(Bucket=self.drop, Key=key, Body=body)

    def deliver(self) -> int:
        """Poll each queue once, as Lambda's pollers do; return how many messages were taken."""
        for happens in self.meanwhile:
            happens()
        taken = [(mapped, message) for mapped in self.mappings for message in self._receive(mapped)]
        for mapped, messages in self._batches(taken):
            self._feed(mapped, messages)
        return len(taken)

    def settle(self, rounds: int = 200) -> None:
        """Deliver until the queues are empty."""
        for _ in range(rounds):
            if not self.deliver():
                return
        raise AssertionError(f"the queues aren't empty after {rounds} rounds: {self.failures[-3:]}")

    def timers(self) -> dict[str, datetime]:
        """Return when each timer that waits fires."""
        scheduler = self.client("scheduler")
        names = [s["Name"] for s in scheduler.list_schedules(GroupName=self.prefix)["Schedules"]]
        return {name: _moment(scheduler.get_schedule(GroupName=self.prefix, Name=name)) for name in names}

    def fire_timers(self, now: datetime) -> list[str]:
        """Set the clock to `now`, send what every due timer has to say and delete it, as EventBridge Scheduler does."""
        self.now = max(self.now, now)
        due = [name for name, at in self.timers().items() if at <= self.now]
        scheduler = self.client("scheduler")
        for name in due:
            schedule = scheduler.get_schedule(GroupName=self.prefix, Name=name)
            self._send(schedule["Target"]["Arn"], schedule["Target"]["Input"])
            assert schedule["ActionAfterCompletion"] == "DELETE"
            scheduler.delete_schedule(GroupName=self.prefix, Name=name)
        return due

    def schedule(self) -> None:
        """Fire the rule of every 15 minutes: a re-sync."""
        event = {"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
        self.invoke("ReSyncFunction", event)

    def run(self, until: Callable[[], bool], *, most: timedelta = timedelta(hours=3), sync: bool = False) -> None:
        """Let time pass, timer after timer (and with `sync`, the re-sync between them), until it is so."""
        end, next_sync = self.now + most, self.now
        while True:
            self.settle()
            if until():
                return
            coming = min([*self.timers().values(), *([next_sync] if sync else [])], default=end)
            assert coming < end, f"nothing happens any more, or not within {most}: {self.failures[-3:]}"
            self.fire_timers(coming)
            if sync and self.now >= next_sync:
                self.schedule()
                next_sync = self.now + timedelta(minutes=15)

    def delete(self) -> dict[str, Any]:
        """Ask the teardown as CloudFormation does when the stack is deleted, with no time to wait; return its answer.

        What has to go before it is gone by then: no queue feeds a function any more, and nothing re-syncs.
        """
        answer: dict[str, Any] = self.invoke("TeardownFunction", {"RequestType": "Delete"}, seconds=1)
        return answer

    def listen(self) -> Callable[[], list[dict[str, Any]]]:
        """Subscribe to the bus as a CI system does; return what gives the events so far, in order."""
        sqs, events = self.client("sqs"), self.client("events")
        url = sqs.create_queue(QueueName=f"{self.prefix}-listener")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = json.dumps({"source": ["modeldrop"]})
        events.put_rule(Name="listener", EventBusName=self.prefix, EventPattern=pattern)
        events.put_targets(Rule="listener", EventBusName=self.prefix, Targets=[{"Id": "queue", "Arn": arn}])
        told: list[dict[str, Any]] = []

        def heard() -> list[dict[str, Any]]:
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                told.extend(json.loads(message["Body"]) for message in messages)
            for event in told:
                check_document(event["detail"])
            return told

        return heard

    def invoke(self, function: str, event: Any, *, seconds: int = 0) -> Any:
        """Call a function's handler in its environment; what it raises is kept in `failures` and raised.

        A call takes a while: a clock that stood still would let a wait of less than a second last for ever.
        """
        self.now += _CALL
        with self._running(function) as handler:
            try:
                return handler(event, Context(self.physical(function), seconds or self._timeout(function)))
            except Exception as error:
                self.failures.append(error)
                raise

    def cold_start(self) -> None:
        """Forget every warm function: the next call imports its handler anew, and makes its clients."""
        self._handlers.clear()
        for kept in vars(wiring).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()
        _Warm.stack = self

    # --- what it is made of -------------------------------------------------------------------------------------------
    def client(self, service: str) -> Any:
        """Return a client of the test's own; the functions make theirs."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=REGION)
        return self._clients[service]

    def resolve(self, value: Any) -> Any:
        """Return a value of the template with its intrinsic functions resolved."""
        return clean_json(value, self._made.resource_map)

    def physical(self, logical: str) -> str:
        return str(self.resolve({"Ref": logical}))

    def environment(self, function: str) -> dict[str, str]:
        """Return the variables that the template gives a function, as the stack resolved them."""
        if function not in self._environments:
            told = self.client("lambda").get_function_configuration(FunctionName=self.physical(function))
            said = told["Environment"]["Variables"]
            self._environments[function] = {key: str(value) for key, value in said.items()}  # moto keeps numbers
        return self._environments[function]

    @property
    def prefix(self) -> str:
        """What every name begins with."""
        return self.physical("Bus")

    @property
    def drop(self) -> str:
        return self.physical("DropBucket")

    @property
    def store(self) -> str:
        return self.physical("StoreBucket")

    @cached_property
    def template(self) -> Mapping[str, Any]:
        """The translated template as this stack's parameters decide it."""
        return decided(self.parameters)

    @cached_property
    def mappings(self) -> Sequence[Mapped]:
        return [self._mapped(made) for _, made in self._of_type("AWS::Lambda::EventSourceMapping")]

    def of_type(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the resolved properties of each resource of a type."""
        yield from (self.resolve(properties) for _, properties in self._of_type(kind))

    def _of_type(self, kind: str) -> Iterator[tuple[str, Any]]:
        made = self.template["Resources"].items()
        yield from ((logical, one["Properties"]) for logical, one in made if one["Type"] == kind)

    @property
    def _made(self) -> Any:
        return cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].get_stack(self.id)

    def _mapped(self, properties: Mapping[str, Any]) -> Mapped:
        arn = self.resolve(properties["EventSourceArn"])
        return Mapped(
            function=properties["FunctionName"]["Ref"],
            queue_url=self._url(arn),
            queue_arn=arn,
            batch=properties["BatchSize"],
            partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        )

    def _url(self, arn: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=arn.rsplit(":", 1)[1])["QueueUrl"])

    # --- making -------------------------------------------------------------------------------------------------------
    def _make_the_rest(self) -> None:
        """Make by API, from the template's own values, what moto's CloudFormation can't."""
        scheduler, s3, sqs = self.client("scheduler"), self.client("s3"), self.client("sqs")
        for group in self.of_type("AWS::Scheduler::ScheduleGroup"):
            scheduler.create_schedule_group(Name=group["Name"], Tags=group["Tags"])
        for bucket in self.of_type("AWS::S3::Bucket"):
            _apply_bucket(s3, bucket)
        for policy in self.of_type("AWS::SQS::QueuePolicy"):
            for url in policy["Queues"]:
                sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy["PolicyDocument"])})
        for archive in self.of_type("AWS::Events::Archive"):
            said = archive | {"EventPattern": json.dumps(archive["EventPattern"])}
            said |= {"EventSourceArn": said.pop("SourceArn"), "RetentionDays": int(said["RetentionDays"])}
            self.client("events").create_archive(**said)
        for alarm in self.of_type("AWS::CloudWatch::Alarm"):
            self.client("cloudwatch").put_metric_alarm(**alarm)

    # --- messages -----------------------------------------------------------------------------------------------------
    def _send(self, queue_arn: str, body: str) -> None:
        self.client("sqs").send_message(QueueUrl=self._url(queue_arn), MessageBody=body)

    def _receive(self, mapped: Mapped) -> Sequence[dict[str, Any]]:
        answer = self.client("sqs").receive_message(
            QueueUrl=mapped.queue_url,
            MaxNumberOfMessages=10,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _batches(self, taken: Sequence[tuple[Mapped, dict[str, Any]]]) -> Iterator[tuple[Mapped, list[dict[str, Any]]]]:
        """Yield what is delivered, after the mishaps, in batches as large as the mapping allows."""
        chance = self._chance
        kept = [pair for pair in taken if chance.random() >= self.mishaps.drop or self._lose(*pair)]
        kept += [pair for pair in kept if chance.random() < self.mishaps.double]
        if self.mishaps.shuffle:
            chance.shuffle(kept)
        for mapped in self.mappings:
            mine = [message for fed, message in kept if fed == mapped]
            yield from ((mapped, mine[at : at + mapped.batch]) for at in range(0, len(mine), mapped.batch))

    @cached_property
    def _chance(self) -> random.Random:
        return random.Random(self.mishaps.seed)

    def _lose(self, mapped: Mapped, message: Mapping[str, Any]) -> bool:
        """Drop a message that an AWS service sent; False, for it isn't kept. Ours are kept: SQS loses nothing."""
        if "wake_up" in message["Body"]:
            return True
        self._done(mapped, message)
        return False

    def _done(self, mapped: Mapped, message: Mapping[str, Any]) -> None:
        self.client("sqs").delete_message(QueueUrl=mapped.queue_url, ReceiptHandle=message["ReceiptHandle"])

    def _feed(self, mapped: Mapped, messages: Sequence[dict[str, Any]]) -> None:
        event = {"Records": [_record(mapped, message) for message in messages]}
        self.delivered.extend((mapped.function, json.loads(message["Body"])) for message in messages)
        failed = {message["MessageId"] for message in messages}
        try:
            answer = self.invoke(mapped.function, event)
        except Exception:  # noqa: BLE001 - as Lambda: all of the batch comes again; `failures` has it
            answer = None
        else:
            told = (answer or {}).get("batchItemFailures", []) if mapped.partial else []
            failed = {item["itemIdentifier"] for item in told}
        for message in messages:
            if message["MessageId"] not in failed:
                self._done(mapped, message)
            else:
                self._show_again(mapped, message)

    def _show_again(self, mapped: Mapped, message: Mapping[str, Any]) -> None:
        """Let the visibility timeout pass."""
        self.client("sqs").change_message_visibility(
            QueueUrl=mapped.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )

    # --- functions ----------------------------------------------------------------------------------------------------
    def _timeout(self, function: str) -> int:
        return int(self.template["Resources"][function]["Properties"]["Timeout"])

    @contextmanager
    def _running(self, function: str) -> Iterator[Callable[..., Any]]:
        """Give the handler, imported once, with the function's environment in place of ours."""
        name = self.physical(function)
        lambdas = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        }
        before = dict(os.environ)
        environment = self.environment(function)
        os.environ.clear()
        os.environ.update({k: v for k, v in before.items() if k in _KEPT} | CREDENTIALS | lambdas | environment)
        wiring_clock, wiring.clock = wiring.clock, lambda: self.now
        try:
            yield self._handler(function)
        finally:
            wiring.clock = wiring_clock
            os.environ.clear()
            os.environ.update(before)

    def _handler(self, function: str) -> Callable[..., Any]:
        if _Warm.stack is not self:
            self.cold_start()
        if function not in self._handlers:
            self._handlers[function] = _imported(self.code_of(function))
        return self._handlers[function]

    @staticmethod
    def code_of(function: str) -> Path:
        """Return the file of a function's handler, as the template names it."""
        from tests.aws.translated import parsed  # noqa: PLC0415

        return FUNCTIONS.parent / parsed()["Resources"][function]["Properties"]["CodeUri"] / "app.py"


def _imported(path: Path) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(f"functions_{path.parent.name}_app", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler  # type: ignore[no-any-return]


def _record(mapped: Mapped, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as Lambda's poller hands it over."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(said) for name, said in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapped.queue_arn,
        "awsRegion": REGION,
    }


def _attribute(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's attribute as Lambda's poller hands it over: bytes in base64."""
    if "BinaryValue" not in said:
        return {"dataType": said["DataType"], "stringValue": said["StringValue"]}
    return {"dataType": said["DataType"], "binaryValue": base64.b64encode(said["BinaryValue"]).decode()}


def _moment(schedule: Mapping[str, Any]) -> datetime:
    return datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)


def _put_placeholder_code() -> None:
    """Put a zip where the translated template says that code lies: moto looks, and never runs it."""
    bucket, key = CODE.removeprefix("s3://").split("/")
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("app.py", "")
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())


def _apply_bucket(s3: Any, bucket: Mapping[str, Any]) -> None:
    """Apply a bucket's properties by the calls that CloudFormation makes of them."""
    name = bucket["BucketName"]
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=bucket["VersioningConfiguration"])
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=bucket["PublicAccessBlockConfiguration"])
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": _lifecycle(bucket)})
    if bucket.get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {}).get("EventBridgeEnabled"):
        s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )


def _lifecycle(bucket: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return lifecycle rules as S3's API says what CloudFormation says in other words."""
    return [_lifecycle_rule(rule) for rule in bucket["LifecycleConfiguration"]["Rules"]]


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"ID": rule["Id"], "Status": rule["Status"]}
    [tag] = rule.get("TagFilters", [None])
    said["Filter"] = {"Tag": tag} if tag else {"Prefix": ""}
    if "ExpirationInDays" in rule:
        said["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "ExpiredObjectDeleteMarker" in rule:
        said["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    for name in {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} & set(rule):
        said[name] = rule[name]
    return said
