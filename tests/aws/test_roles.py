"""Each function calls only what its own role allows, and its role allows only what it calls.

The whole path is driven twice, with all optional parameters off and with all on. See roles_calls for what isn't known
of the calls, roles_iam for what isn't evaluated of the statements, roles_table for what services do with the roles.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pytest
from moto import mock_aws

from tests.aws.aws_world import in_the_fake
from tests.aws.conftest import FAKED
from tests.aws.roles_calls import Need, needs
from tests.aws.roles_drive import BOUNDS, Drive
from tests.aws.roles_iam import Statement, allowed, bucket_statements, role_of, role_statements
from tests.aws.roles_recorder import Recorder
from tests.aws.stack import CREDENTIALS, REGION, Stack

pytestmark = pytest.mark.slow

OFF: Mapping[str, str] = {"Bounds": BOUNDS}
ON: Mapping[str, str] = {
    **OFF,
    "OwnKey": "yes",
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
        """What each function's role says."""
        names = self.functions.values()
        return {name: [*role_statements(self.stack, role_of(self.stack, name))] for name in names}

    @cached_property
    def needed(self) -> Mapping[str, set[Need]]:
        """What each function's calls need."""
        found: dict[str, set[Need]] = {name: set() for name in self.functions.values()}
        for call in self.recorder.calls:
            found[self.functions[call.function]].update(needs(call))
        return found

    def by(self, function: str, need: Need) -> Need:
        """Return a need with what IAM knows of every request of a function's."""
        role = self.stack.resolve({"Fn::GetAtt": [role_of(self.stack, function), "Arn"]})
        account = role.split(":")[4]
        every = {"aws:PrincipalArn": role, "aws:PrincipalAccount": account, "aws:SecureTransport": "true"}
        return Need(need.action, need.resource, (*need.context, *every.items()), need.why)


@pytest.fixture(scope="module", params=[OFF, ON], ids=["all off", "all on"])
def driven(request: pytest.FixtureRequest) -> Iterator[Driven]:
    """Yield a stack after the whole path, with optional parameters off or on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION}.items():
            patch.setenv(name, value)
        aws = mock_aws(config={"core": {"passthrough": {"urls": FAKED}}})
        with aws, in_the_fake() as world, Recorder().installed() as recorder:
            drive = Drive(world, world.stack(request.param))
            drive.all(large_objects=request.param is OFF)
            assert not drive.stack.failures
            yield Driven(drive.stack, recorder)


def test_every_call_of_a_function_is_allowed_by_its_own_role(driven: Driven) -> None:
    buckets = [*bucket_statements(driven.stack)]
    denied = {
        f"{function}: {need.why} needs {need.action} on {need.resource}"
        for function, needed in driven.needed.items()
        for need in needed
        if not allowed(driven.by(function, need), driven.statements[function], buckets)
    }
    assert not denied, "\n".join(sorted(denied))


def test_every_function_is_driven(driven: Driven) -> None:
    assert {name for name, needed in driven.needed.items() if not needed} == set()
