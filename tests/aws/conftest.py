"""AWS in this process: moto for all but SageMaker, the strict fake for that, and stacks of the template in it."""

import os

import pytest
from moto import mock_aws

from tests.aws.aws_world import World, in_the_fake
from tests.aws.stack import CREDENTIALS, REGION

# botocore asks every handler even when one has answered, so moto must not even look at what the fake answers.
FAKED = [r"https://(api|runtime)\.sagemaker\.", r"https://application-autoscaling\."]


@pytest.fixture
def world(monkeypatch):
    """Yield a world in which `world.stack()` makes stacks."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    with mock_aws(config={"core": {"passthrough": {"urls": FAKED}}}), in_the_fake() as made:
        assert isinstance(made, World)
        yield made
