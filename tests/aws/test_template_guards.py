"""What the template promises and moto doesn't hold: the rule's pattern, buckets' guards, what each role may name."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.events.models import EventPattern

from chalicelib.domain.refs import is_ours
from tests.aws.stack import ALL_ON
from tests.aws.translated import LEFT_OUT, LEFT_OUT_RESOURCES, for_moto, parsed, translated

# Each "*" in a statement, and why it can't name its resource.
WILDCARDS = {
    ("ModelRole", "LogInToEcr"): "ecr:GetAuthorizationToken has no resource",
    ("ModelRole", "PutMetrics"): "cloudwatch:PutMetricData has no resource; held to SageMaker's namespaces",
    ("ModelRole", "HaveInterfaces"): "interfaces get their names from EC2; Describe has no resource",
    ("UseVpc", "HaveInterfaces"): "interfaces get their names from EC2; Describe has no resource",
    ("Trace", "Trace"): "X-Ray has no resources",
    ("AdvanceRole", "SeeScaling"): "Application Auto Scaling's Describe has no resource",
    ("ReSyncRole", "FindModels"): "SageMaker's lists have no resource",
    ("TeardownRole", "FindModels"): "SageMaker's lists have no resource",
    ("OperatorPolicy", "SeeNumbers"): "these lists and queries of numbers have no resource",
    ("Key", "TheAccountDecidesByIam"): "a key's policy names itself so",
    ("Key", "EventBridgeSendsToQueues"): "a key's policy names itself so",
    ("Key", "EventBridgeKeepsTheBus"): "a key's policy names itself so",
    ("Key", "TheServicesThatKeepOurData"): "a key's policy names itself so",
    ("Key", "SageMakerStartsInstances"): "a key's policy names itself so",
}
_POLICIES = ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument")


def resources() -> dict[str, Any]:
    return dict(parsed()["Resources"])


def of_type(kind: str) -> dict[str, Any]:
    return {name: made["Properties"] for name, made in resources().items() if made["Type"] == kind}


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every statement below a value, those that depend on a condition too."""
    match value:
        case {"Effect": _, "Action": _}:
            yield value
        case dict():
            for item in value.values():
                yield from statements(item)
        case list():
            for item in value:
                yield from statements(item)


def is_wildcard(resource: Any) -> bool:
    return resource == "*" or (isinstance(resource, list) and "*" in resource)


# --- the rule ---------------------------------------------------------------------------------------------------------
def pattern() -> EventPattern:
    said = resources()["UploadsRule"]["Properties"]["EventPattern"]
    [name] = said["detail"]["bucket"]["name"]
    return EventPattern.load(json.dumps(said | {"detail": said["detail"] | {"bucket": {"name": [str(name)]}}}))


PATTERN = pattern()
BUCKET = str(resources()["UploadsRule"]["Properties"]["EventPattern"]["detail"]["bucket"]["name"][0])


def wakes(key: str, kind: str = "Object Created", bucket: str = BUCKET) -> bool:
    event = {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": bucket}, "object": {"key": key}}}
    return PATTERN.matches_event(event)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("digits/1/model.mar", True),
        ("digits/1/saved/assets/vocabulary.txt", True),
        ("digits/1/_manifest.json", True),
        ("digits/1/my_report.json", True),
        ("model.mar", True),
        ("_report.json", True),
        ("digits/1/_report.json", False),
        ("digits/1/_report.txt", False),
        ("_reports/digits.json", False),
        ("_reports/a/b.json", False),
        ("digits/_reports/x", True),
    ],
)
def test_the_rule_takes_what_people_put_and_leaves_out_what_we_write(key: str, expected: bool) -> None:
    assert wakes(key) is expected


SEGMENT = st.sampled_from(["digits", "1", "_reports", "_report.json", "_report.txt", "x_report.json", "a b", "ü", ""])


@given(st.lists(SEGMENT, min_size=1, max_size=5).map("/".join))
def test_nothing_of_ours_wakes_us_and_little_else_is_left_out(key: str) -> None:
    if is_ours(key):
        assert not wakes(key)
    elif not wakes(key):
        # Deeper than a version's own files: EventBridge can't count slashes. The next event or re-sync finds those.
        assert key.endswith(("/_report.json", "/_report.txt"))
        assert key.count("/") > 2


@pytest.mark.parametrize(
    "kind", ["Object Deleted", "Object Tags Added", "Object ACL Updated", "Object Restore Completed"]
)
def test_the_rule_takes_no_other_events(kind: str) -> None:
    assert not wakes("digits/1/model.mar", kind)
    assert not wakes("digits/1/model.mar", bucket="another")


# --- permissions ------------------------------------------------------------------------------------------------------
def test_a_wildcard_stands_only_where_no_resource_can_be_named() -> None:
    found = {
        (name, statement.get("Sid", ""))
        for name, made in resources().items()
        for statement in statements([made["Properties"].get(kind) for kind in (*_POLICIES, "Policies")])
        if is_wildcard(statement.get("Resource"))
    }
    assert found == set(WILDCARDS)


def test_no_action_is_a_wildcard_but_in_a_denial_and_the_keys_own_policy() -> None:
    for name, made in resources().items():
        for statement in statements(made["Properties"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if statement["Effect"] == "Allow" and (name, statement.get("Sid")) != ("Key", "TheAccountDecidesByIam"):
                assert not [action for action in actions if "*" in action], name


def test_nobody_but_the_api_and_the_fleet_may_invoke_an_endpoint() -> None:
    allowed = {
        name
        for name, made in resources().items()
        for statement in statements(made["Properties"])
        if "sagemaker:InvokeEndpoint" in statement["Action"] and statement["Effect"] == "Allow"
    }
    assert {"ApiRole"} <= allowed <= {"ApiRole", "AdvanceRole", "ShadowRole", "RegisterRole", "ReSyncRole"}


def test_a_role_may_be_passed_only_to_the_service_that_it_is_for() -> None:
    for made in of_type("AWS::IAM::Role").values():
        for statement in statements(made):
            if statement["Action"] == "iam:PassRole":
                assert set(statement["Condition"]["StringEquals"]) == {"iam:PassedToService"}


def test_every_function_has_a_role_that_only_lambda_takes() -> None:
    for name, made in of_type("AWS::Serverless::Function").items():
        trust = resources()[made["Role"]["Fn::GetAtt"][0]]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert [statement["Principal"] for statement in trust] == [{"Service": "lambda.amazonaws.com"}], name


# --- data -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["DropBucket", "StoreBucket"])
def test_a_bucket_is_guarded_and_outlives_the_stack(name: str) -> None:
    bucket = resources()[name]
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["BucketEncryption"]
    [policy] = [p for p in of_type("AWS::S3::BucketPolicy").values() if p["Bucket"] == {"Ref": name}]
    [tls] = [s for s in policy["PolicyDocument"]["Statement"] if s["Sid"] == "OnlyOverTls"]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert rules["abort-what-nobody-finishes"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_only_what_is_sealed_expires_from_the_drop() -> None:
    rules = resources()["DropBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    [expiring] = [rule for rule in rules if "ExpirationInDays" in rule]
    assert expiring["TagFilters"] == [{"Key": "modeldrop:sealed", "Value": "true"}]


def test_nothing_expires_from_the_model_store_but_what_was_replaced() -> None:
    rules = resources()["StoreBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert not [rule for rule in rules if "ExpirationInDays" in rule or "ExpirationDate" in rule]


def test_every_queue_is_encrypted_and_reached_by_tls_only() -> None:
    queues = set(of_type("AWS::SQS::Queue"))
    told = {
        queue["Ref"]
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
        if [s for s in policy["PolicyDocument"]["Statement"] if s["Sid"] == "OnlyOverTls" and s["Effect"] == "Deny"]
    }
    assert told == queues


def test_no_service_but_our_own_rules_may_send_to_a_queue() -> None:
    rules = {"Uploads": "UploadsRule", "Rollouts": "EndpointsRule"}
    allowed = [
        (queue["Ref"].removesuffix("Queue"), statement)
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert {queue for queue, _ in allowed} == set(rules)
    for queue, statement in allowed:
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rules[queue], "Arn"]}}}


def test_every_function_has_an_alarm_on_its_errors() -> None:
    watched = {
        dimension["Value"].get("Ref")
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Dimensions"]
        if (alarm["MetricName"], dimension["Name"]) == ("Errors", "FunctionName")
    }
    assert watched == set(of_type("AWS::Serverless::Function"))


def test_every_dead_queue_has_an_alarm_on_its_depth_and_on_its_age() -> None:
    watched = {
        (dimension["Value"]["Fn::GetAtt"][0], alarm["MetricName"])
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Dimensions"]
        if dimension["Name"] == "QueueName"
    }
    dead = {queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0] for queue in queues_with_redrive()}
    assert len(dead) == 4
    for queue in dead:
        assert {(queue, "ApproximateNumberOfMessagesVisible"), (queue, "ApproximateAgeOfOldestMessage")} <= watched


def queues_with_redrive() -> list[dict[str, Any]]:
    return [queue for queue in of_type("AWS::SQS::Queue").values() if "RedrivePolicy" in queue]


# --- names, and what moto is given ------------------------------------------------------------------------------------
_NAMES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Rule": "Name",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::ScheduleGroup": "Name",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Events::Archive": "ArchiveName",
    "AWS::ApiGateway::RestApi": "Name",
}


def test_every_name_carries_the_stacks_own_prefix() -> None:
    for logical, made in translated()["Resources"].items():
        if made["Type"] in _NAMES:
            name = made["Properties"][_NAMES[made["Type"]]]
            assert name == {"Ref": "Bus"} or "${Bus}" in name["Fn::Sub"], logical


def test_what_moto_is_not_given_is_listed_with_its_reason() -> None:
    everything, given_to_moto = translated()["Resources"], for_moto(ALL_ON)["Resources"]
    missing = set(everything) - set(given_to_moto)
    assert {everything[name]["Type"] for name in missing if name not in LEFT_OUT_RESOURCES} == set(LEFT_OUT)
    assert set(LEFT_OUT_RESOURCES) <= missing
