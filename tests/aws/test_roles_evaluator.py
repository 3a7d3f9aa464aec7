"""What roles are held by: that it denies what IAM denies, knows what a call needs, and finds what nobody needs."""

import pytest

from tests.aws.roles_calls import Need, needs
from tests.aws.roles_iam import allowed, statement, unneeded
from tests.aws.roles_recorder import Call

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/md-1"
ROLE = "arn:aws:iam::123456789012:role/model"
READ = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:Get*Tagging"], "Resource": "arn:aws:s3:::drop/*"}
PASS = {
    "Effect": "Allow",
    "Action": "iam:PassRole",
    "Resource": ROLE,
    "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
}
DENY = {
    "Effect": "Deny",
    "Action": "s3:*",
    "Resource": "*",
    "Condition": {"ArnNotEquals": {"aws:PrincipalArn": ["arn:aws:iam::123456789012:role/ours"]}},
}


@pytest.mark.parametrize(
    ("action", "resource", "context", "is_allowed"),
    [
        ("s3:GetObject", "arn:aws:s3:::drop/a/b", {}, True),
        ("S3:getobject", "arn:aws:s3:::drop/a", {}, True),
        ("s3:GetObjectTagging", "arn:aws:s3:::drop/a", {}, True),
        ("s3:GetObject", "arn:aws:s3:::drop", {}, False),
        ("s3:GetObject", "arn:aws:s3:::dropped/a", {}, False),
        ("s3:PutObject", "arn:aws:s3:::drop/a", {}, False),
        ("iam:PassRole", ROLE, {"iam:PassedToService": "sagemaker.amazonaws.com"}, True),
        ("iam:PassRole", ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}, False),
        ("iam:PassRole", ROLE, {}, False),
    ],
)
def test_a_statement_allows_what_it_names_when_its_conditions_hold(action, resource, context, is_allowed):
    said = [statement("role", READ), statement("role", PASS)]
    assert allowed(Need(action, resource, tuple(context.items())), said) is is_allowed


@pytest.mark.parametrize(("who", "is_allowed"), [("ours", True), ("theirs", False)])
def test_a_deny_of_the_bucket_counts_more_than_the_roles_allow(who, is_allowed):
    need = Need("s3:GetObject", "arn:aws:s3:::drop/a", (("aws:PrincipalArn", f"arn:aws:iam::123456789012:role/{who}"),))
    assert allowed(need, [statement("role", READ)], [statement("bucket", DENY)]) is is_allowed


def test_what_it_cannot_evaluate_is_an_error_and_no_guess():
    with pytest.raises(NotImplementedError):
        statement("role", {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})
    numeric = {**READ, "Condition": {"NumericLessThan": {"s3:max-keys": "10"}}}
    with pytest.raises(NotImplementedError):
        allowed(Need("s3:GetObject", "arn:aws:s3:::drop/a"), [statement("role", numeric)])


def test_an_action_or_a_resource_without_which_all_is_allowed_is_unneeded():
    wide = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"],
    }
    said = [statement("one", wide), statement("two", READ)]
    found = unneeded(said, [Need("s3:GetObject", "arn:aws:s3:::a/x"), Need("s3:GetObject", "arn:aws:s3:::drop/x")])
    assert {*found} == {"one : s3:PutObject", "one : arn:aws:s3:::b/*", "two : s3:Get*Tagging"}


VERSION = {"Bucket": "drop", "Key": "a/b", "VersionId": "1"}
CALLS = [
    ("s3", "GetObject", {"Bucket": "drop", "Key": "a/b"}, "", {("s3:GetObject", "arn:aws:s3:::drop/a/b")}),
    ("s3", "GetObject", VERSION, "", {("s3:GetObjectVersion", "arn:aws:s3:::drop/a/b")}),
    (
        "s3", "GetObject", {"Bucket": "drop", "Key": "a"}, "NoSuchKey",
        {("s3:GetObject", "arn:aws:s3:::drop/a"), ("s3:ListBucket", "arn:aws:s3:::drop")},
    ),
    (
        "s3", "CopyObject", {"Bucket": "store", "Key": "c", "CopySource": VERSION}, "",
        {
            ("s3:GetObjectVersion", "arn:aws:s3:::drop/a/b"), ("s3:GetObjectVersionTagging", "arn:aws:s3:::drop/a/b"),
            ("s3:PutObject", "arn:aws:s3:::store/c"), ("s3:PutObjectTagging", "arn:aws:s3:::store/c"),
        },
    ),
    (
        "s3", "DeleteObjects", {"Bucket": "store", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b"}]}}, "",
        {("s3:DeleteObject", "arn:aws:s3:::store/a"), ("s3:DeleteObject", "arn:aws:s3:::store/b")},
    ),
    (
        "dynamodb", "TransactWriteItems",
        {"TransactItems": [{"Put": {"TableName": "md-1"}}, {"Delete": {"TableName": "md-1"}}]}, "",
        {("dynamodb:PutItem", TABLE), ("dynamodb:DeleteItem", TABLE)},
    ),
    (
        "sqs", "SendMessage", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/md-1-uploads"}, "",
        {("sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:md-1-uploads")},
    ),
    (
        "scheduler", "CreateSchedule", {"Name": "n", "GroupName": "g", "Target": {"RoleArn": ROLE}}, "",
        {("scheduler:CreateSchedule", "arn:aws:scheduler:us-east-1:123456789012:schedule/g/n"), ("iam:PassRole", ROLE)},
    ),
    (
        "sagemaker", "CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{}]}, "",
        {
            ("sagemaker:CreateEndpoint", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"),
            ("sagemaker:CreateEndpoint", "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c"),
            ("sagemaker:AddTags", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"),
        },
    ),
    ("sagemaker", "ListEndpoints", {}, "", {("sagemaker:ListEndpoints", "*")}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "asked", "error", "wanted"), CALLS, ids=[f"{c[1]}-{c[3]}" for c in CALLS]
)
def test_a_call_needs_every_action_that_it_takes_on_every_resource(service, operation, asked, error, wanted):
    found = needs(Call("a function", service, operation, asked, error))
    assert {(need.action, need.resource) for need in found} == wanted


def test_a_call_that_the_kept_sources_do_not_know_is_an_error():
    with pytest.raises(LookupError, match="dump_iam_map"):
        [*needs(Call("a function", "s3", "RestoreObject", {"Bucket": "drop", "Key": "a"}))]
