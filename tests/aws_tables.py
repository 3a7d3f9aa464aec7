"""The table of the AWS path on moto, with what DynamoDB does and moto doesn't, and processes that die at a call."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from moto import mock_aws
from moto.core.models import botocore_stubber

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


class Wire:
    """What lies between a client and moto's DynamoDB: what DynamoDB does and moto doesn't, and answers that get lost.

    Calls wait for each other: moto's transactions are all or none only if nobody else calls meanwhile. And a
    ClientRequestToken that took effect is answered as it was then: moto knows no tokens, DynamoDB does for ten minutes.
    """

    def __init__(self):
        self.lost = 0  # so many of the next answers to transactions, which took effect all the same
        self.tokens: list[str] = []  # of every transaction that was sent, repeats too
        self._answers: dict[str, object] = {}
        self._lock = threading.Lock()

    def __call__(self, request, event_name, **_):
        with self._lock:
            if event_name.endswith(".TransactWriteItems"):
                return self._transact(request)
            return botocore_stubber("before-send", request)

    def _transact(self, request):
        token = json.loads(request.body)["ClientRequestToken"]
        self.tokens.append(token)
        answer = self._answers.get(token) or botocore_stubber("before-send", request)
        if answer.status_code == 200:
            self._answers[token] = answer
        if self.lost:
            self.lost -= 1
            raise ReadTimeoutError(endpoint_url=request.url)
        return answer


@contextmanager
def mocked_client(wire: Wire | None = None) -> Iterator:
    """Yield a DynamoDB client of a moto of its own, safe to share among threads."""
    with mock_aws():
        config = Config(retries={"mode": "standard", "total_max_attempts": 3})
        client = boto3.client(
            "dynamodb", region_name=REGION, aws_access_key_id="k", aws_secret_access_key="s", config=config
        )
        client.meta.events.unregister("before-send", botocore_stubber)  # the wire asks it
        client.meta.events.register("before-send.dynamodb", wire or Wire())
        yield client
        client.close()


class Died(Exception):
    """The process ended here."""


class Calls:
    """Numbers every outgoing call of a client and of what is `counted`, and ends the process at those that `dies` says.

    `dies(number, "before" or "after")` is asked at each call.
    """

    def __init__(self, client):
        self._events = client.meta.events
        self.reset()

    def __enter__(self):
        self._events.register("before-call.dynamodb", self.begin)
        self._events.register("after-call.dynamodb", self.end)
        return self

    def __exit__(self, *_):
        self._events.unregister("before-call.dynamodb", self.begin)
        self._events.unregister("after-call.dynamodb", self.end)

    def reset(self, dies=lambda number, when: False):
        self.made, self._dies = 0, dies

    def begin(self, **_):
        self.made += 1
        if self._dies(self.made, "before"):
            raise Died

    def end(self, **_):
        if self._dies(self.made, "after"):
            raise Died

    def counted(self, thing):
        return _Counted(thing, self)


class _Counted:
    """Any port: its calls are numbered with those of the client."""

    def __init__(self, thing, calls):
        self._thing, self._calls = thing, calls

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self._calls.begin()
            answer = getattr(self._thing, name)(*args, **kwargs)
            self._calls.end()
            return answer

        return call
