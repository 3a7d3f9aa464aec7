"""The table of the AWS path on moto, and what DynamoDB does and moto doesn't: one call at a time, tokens, clashes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config
from moto import mock_aws

REGION = "eu-west-1"


def make_table(client, name: str) -> str:
    """Make a table with the keys and the TTL attribute that the template gives it; return its name."""
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True})
    return name


@contextmanager
def mocked_client() -> Iterator:
    """Yield a DynamoDB client of a moto of its own, safe to share among threads."""
    with mock_aws():
        config = Config(retries={"mode": "standard", "total_max_attempts": 3})
        client = boto3.client(
            "dynamodb", region_name=REGION, aws_access_key_id="k", aws_secret_access_key="s", config=config
        )
        one_at_a_time(client)
        yield client
        client.close()


def one_at_a_time(client) -> None:
    """Let calls wait for each other: moto's transactions are all or none only if nobody else calls meanwhile."""
    lock = threading.Lock()

    def begin(**_):
        lock.acquire()

    def end(**_):
        lock.release()

    events = client.meta.events
    events.register("before-call.dynamodb", begin)
    events.register("after-call.dynamodb", end)
    events.register("after-call-error.dynamodb", end)
