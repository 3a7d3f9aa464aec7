"""Each function calls only what its own role allows, and its role allows only what it calls.

The whole path is driven twice, with all optional parameters off and with all on. See roles_calls for what isn't known
of the calls, roles_iam for what isn't evaluated of the statements, roles_table for what services do with the roles.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from moto import mock_aws, settings

from tests.aws.aws_world import in_the_fake
from tests.aws.conftest import FAKED
from tests.aws.roles_calls import ACTIONS, Need, needs
from tests.aws.roles_drive import BOUNDS, Drive
from tests.aws.roles_iam import Statement, allowed, bucket_statements, role_of, role_statements, unneeded
from tests.aws.roles_recorder import Call, Recorder
from tests.aws.roles_table import TABLE, UNNAMED, Line, behind
from tests.aws.stack import CREDENTIALS, REGION, Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OFF: Mapping[str, str] = {"Bounds": BOUNDS}
ON: Mapping[str, str] = {
    **OFF,
    "OwnKey": "yes",
    "InstanceType": "ml.m5.large",  # without a disk of its own, so that SageMaker encrypts one with the key
    "ModelSubnets": "subnet-1,subnet-2",
    "ModelSecurityGroups": "sg-1",
    "FunctionSubnets": "subnet-3",
    "FunctionSecurityGroups": "sg-2",
    "PrivateApi": "yes",
    "VpcEndpointId": "vpce-1",
    "AllowedImages": "123456789012.dkr.ecr.us-east-1.amazonaws.com/theirs:*",
    "DataCapture": "10",
    "AccessLogs": "yes",
    "AlarmEmail": "people@example.org",
    "AlarmTopicArn": f"arn:aws:sns:{REGION}:123456789012:alarms",
    "Tracing": "yes",
}


@dataclass
class Driven:
    """A stack after the drive, and what its functions called."""

    stack: Stack
    recorder: Recorder

    @cached_property
    def functions(self) -> Mapping[str, str]:
        """The functions' logical ids, by their names in AWS."""
        made = self.stack.template["Resources"].items()
        kind = "AWS::Lambda::Function"
        return {self.stack.physical(name): name for name, one in made if one["Type"] == kind}

    @cached_property
    def statements(self) -> Mapping[str, list[Statement]]:
        """What each role says."""
        made = self.stack.template["Resources"].items()
        return {name: [*role_statements(self.stack, name)] for name, one in made if one["Type"] == "AWS::IAM::Role"}

    @cached_property
    def calls(self) -> Sequence[tuple[str, Call]]:
        """What was called, each with the role of its function."""
        roles = {name: role_of(self.stack, function) for name, function in self.functions.items()}
        return [(roles[call.function], call) for call in self.recorder.calls]

    @cached_property
    def called(self) -> Mapping[str, set[Need]]:
        """What the calls need of each role."""
        found: dict[str, set[Need]] = {role: set() for role in self.statements}
        for role, call in self.calls:
            found[role].update(self.by(role, need) for need in needs(call))
        return found

    def served(self, lines: Sequence[Line] = TABLE) -> Mapping[str, set[Need]]:
        """What services need of each role, by lines of the table."""
        found: dict[str, set[Need]] = {role: set() for role in self.statements}
        for line in lines:
            for role, need in behind(line, self.stack, self.calls):
                found[role].add(self.by(role, need))
        return found

    def by(self, role: str, need: Need) -> Need:
        """Return a need with what IAM knows of every request of a role's."""
        arn = self.stack.resolve({"Fn::GetAtt": [role, "Arn"]})
        every = {"aws:PrincipalArn": arn, "aws:PrincipalAccount": arn.split(":")[4], "aws:SecureTransport": "true"}
        return Need(need.action, need.resource, (*need.context, *every.items()), need.why)

    def spare(self, lines: Sequence[Line] = TABLE) -> set[str]:
        """Return every action and resource that neither a call nor a line needs."""
        served = self.served(lines)
        roles = self.statements.items()
        return {spare for role, said in roles for spare in unneeded(said, self.called[role] | served[role])}


@pytest.fixture(
    scope="module",
    params=[pytest.param(OFF, id="all off"), pytest.param(ON, id="all on")],
)
def driven(request: pytest.FixtureRequest) -> Iterator[Driven]:
    """Yield a stack after the whole path, with optional parameters off or on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION}.items():
            patch.setenv(name, value)
        aws = mock_aws(config={"core": {"passthrough": {"urls": FAKED}}})
        with aws, in_the_fake() as world, Recorder().installed() as recorder:
            drive = Drive(world, world.stack(request.param), recorder)
            drive.all()
            assert not drive.stack.failures
            yield Driven(drive.stack, recorder)


def test_every_call_of_a_function_is_allowed_by_its_own_role(driven: Driven) -> None:
    assert not denied(driven, driven.called)


def test_what_services_do_with_a_role_is_allowed_by_it(driven: Driven) -> None:
    assert not denied(driven, driven.served())


def denied(driven: Driven, needed: Mapping[str, set[Need]]) -> str:
    buckets = [*bucket_statements(driven.stack)]
    found = {
        f"{role}: {need.why} needs {need.action} on {need.resource}"
        for role, several in needed.items()
        for need in several
        if not allowed(need, driven.statements[role], buckets)
    }
    return "\n".join(sorted(found))


def test_a_role_allows_nothing_that_is_not_needed(driven: Driven) -> None:
    assert not driven.spare(), "\n".join(sorted(driven.spare()))


def test_every_line_of_the_table_has_its_cause_and_is_needed(driven: Driven, request: pytest.FixtureRequest) -> None:
    if "all on" not in request.node.name:
        pytest.skip("a line may be of an optional parameter")
    without = driven.spare([])
    for line in TABLE:
        assert list(behind(line, driven.stack, driven.calls)), f"{line.what}: nothing causes it"
        assert driven.spare([line]) < without, f"{line.what}: no statement needs it"


def test_no_statement_says_any_resource_where_it_could_name_one(driven: Driven) -> None:
    wide = [(role, one) for role, said in driven.statements.items() for one in said if "*" in one.resources]
    named = {f"{one.where}: {action}" for _, one in wide for action in one.actions if ACTIONS[action]["resources"]}
    assert not {said for said in named if not any(fnmatchcase(said.split(": ")[1], kept) for kept in UNNAMED)}


def test_every_reason_for_any_resource_is_of_a_statement(driven: Driven, request: pytest.FixtureRequest) -> None:
    if "all on" not in request.node.name:
        pytest.skip("a statement may be of an optional parameter")
    actions = {a for said in driven.statements.values() for one in said if "*" in one.resources for a in one.actions}
    assert not [kept for kept in UNNAMED if not any(fnmatchcase(action, kept) for action in actions)]


def test_no_role_has_an_action_with_a_wildcard_or_may_change_roles(driven: Driven) -> None:
    actions = {action for said in driven.statements.values() for one in said for action in one.actions}
    assert not {action for action in actions if "*" in action or "?" in action}
    assert {action for action in actions if action.startswith("iam:")} == {
        "iam:PassRole",
        "iam:CreateServiceLinkedRole",
    }


def test_the_store_lets_those_write_who_do_and_no_others(driven: Driven, request: pytest.FixtureRequest) -> None:
    [said] = [one for one in bucket_statements(driven.stack) if one.where == "StoreBucketPolicy OnlyOurFunctionsWrite"]
    [(_, key, let_in)] = said.conditions
    served = driven.served()
    writers = {
        value
        for role, called in driven.called.items()
        for need in called | served[role]
        for name, value in need.context
        if name == key and need.action in said.actions and need.resource.startswith(said.resources[0].removesuffix("*"))
    }
    assert writers <= set(let_in)
    assert writers == set(let_in) or "all on" not in request.node.name


def test_every_function_is_driven(driven: Driven) -> None:
    assert {name for name in driven.functions.values() if not driven.called[role_of(driven.stack, name)]} == set()


# --- S3 asked with credentials of the roles ---------------------------------------------------------------------------
# Nothing of these is any function's to do.
OUTSIDE: Mapping[str, Mapping[str, Any]] = {
    "put_object": {"Key": "digits/1/model.mar", "Body": b""},
    "delete_object": {"Key": "digits/1/model.mar"},
    "delete_bucket_policy": {},
}


def test_moto_lets_a_role_do_with_s3_what_its_function_did_and_nothing_else(driven: Driven) -> None:
    """moto compares resources for S3 alone; see LEFT_OUT of `translated` for why not the buckets' own policies."""
    clients = {role: acting_as(driven, role) for role in {role for role, one in driven.calls if one.service == "s3"}}
    kinds = {(role, one.operation): (role, one) for role, one in driven.calls if "UploadId" not in one.asked}
    asked = [(role, one) for role, one in kinds.values() if one.service == "s3" and not one.error]
    assert {role for role, _ in asked} == set(clients)
    with enforced():
        codes = {f"{role}: {one}": code_of(clients[role], xform_name(one.operation), one.asked) for role, one in asked}
        outside = {
            f"{role}: {operation}": code_of(client, operation, {"Bucket": driven.stack.drop, **more})
            for role, client in clients.items()
            for operation, more in OUTSIDE.items()
        }
    assert not {what for what, code in codes.items() if code == "AccessDenied"}
    # The API signs uploads to the drop, and a signed request may do what its signer may.
    assert {what for what, code in outside.items() if code != "AccessDenied"} == {"ApiRole: put_object"}


def acting_as(driven: Driven, role: str) -> Any:
    """Return a client with a role's own statements of S3, made by API: those of its CloudFormation moto can't read."""
    iam, sts = boto3.client("iam", region_name=REGION), boto3.client("sts", region_name=REGION)
    made = iam.create_role(RoleName=f"as-{role}", AssumeRolePolicyDocument="{}")["Role"]
    said = [
        {"Effect": one.effect, "Action": list(one.actions), "Resource": list(one.resources)}
        for one in driven.statements[role]
        if one.actions[0].startswith("s3:")
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": said})
    iam.put_role_policy(RoleName=f"as-{role}", PolicyName="own", PolicyDocument=document)
    given = sts.assume_role(RoleArn=made["Arn"], RoleSessionName="a-function")["Credentials"]
    return boto3.client(
        "s3",
        region_name=REGION,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


@contextmanager
def enforced() -> Iterator[None]:
    """Have moto ask IAM about every request."""
    before = settings.INITIAL_NO_AUTH_ACTION_COUNT
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    try:
        yield
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = before


def code_of(client: Any, operation: str, asked: Mapping[str, Any]) -> str:
    """Return the code of the error that came back, "" without one."""
    try:
        getattr(client, operation)(**asked)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""
